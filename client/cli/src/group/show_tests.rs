use tidelog_client::{PartitionIndex, TopicName};

use super::*;

#[test]
fn partitions_stand_together_by_topic() {
    let place = |topic: &str, partition| TopicPartition {
        topic: TopicName::new(topic).unwrap(),
        partition: PartitionIndex::new(partition).unwrap(),
    };
    assert_eq!(by_topic(&[]), "-");
    assert_eq!(by_topic(&[place("b", 1), place("a", 0), place("a", 2)]), "a[0,2] b[1]");
}
