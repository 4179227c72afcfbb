use proptest::prelude::*;
use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName};

use super::{DeadLetterFacts, FactsError, dead_letter_topic, is_fact};
use crate::delivery::policy::Cause;

fn facts() -> DeadLetterFacts {
    DeadLetterFacts {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::new(3).unwrap(),
        offset: Offset::new(42).unwrap(),
        group: GroupId::new("payments/eu").unwrap(),
        attempts: 5,
        cause: Cause::MaxAttempts,
        reason: ("DEPENDENCY".to_owned(), "the bank does not answer".to_owned()),
        first_failure: Timestamp::from_millis(1_000),
        last_failure: Timestamp::from_millis(337_000),
        original_timestamp: Timestamp::from_millis(900),
        redrives: 1,
        sequence: 7,
        truncated: false,
    }
}

fn read(headers: &[(String, String)]) -> Result<DeadLetterFacts, FactsError> {
    DeadLetterFacts::read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

#[test]
fn the_names_are_kafkas_where_kafka_has_one() {
    let headers = facts().headers();
    let value = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let expected = [
        ("__dlq.errors.topic", "orders"),
        ("__dlq.errors.partition", "3"),
        ("__dlq.errors.offset", "42"),
        ("__dlq.errors.group", "payments/eu"),
        ("__dlq.errors.delivery.count", "5"),
        ("__dlq.errors.message", "the bank does not answer"),
        ("__dlq.errors.disposition", "MAX_ATTEMPTS"),
        ("__dlq.errors.id", "payments/eu/orders/3/7"),
    ];
    for (name, said) in expected {
        assert_eq!(value(name), Some(said), "{name}");
    }
    assert!(headers.iter().all(|(name, _)| is_fact(name.as_bytes())) && !is_fact(b"trace"));
}

#[test]
fn a_record_that_is_no_dead_letter_or_a_broken_one_is_named() {
    assert_eq!(read(&[]), Err(FactsError::Missing { name: "topic" }));
    let broken = |name: &str, value: &str| {
        let mut headers = facts().headers();
        headers.push((name.to_owned(), value.to_owned()));
        read(&headers).unwrap_err().to_string()
    };
    assert!(broken("__dlq.errors.offset", "-1").contains("__dlq.errors.offset"));
    assert!(broken("__dlq.errors.disposition", "BORED").contains("disposition"));
    assert!(broken("__dlq.errors.id", "7").contains("__dlq.errors.id"));
}

#[test]
fn a_groups_dead_letters_have_a_topic_of_its_name_if_that_can_be() {
    let topic = |group: &str| dead_letter_topic(&GroupId::new(group).unwrap());
    assert_eq!(topic("payments").unwrap().as_str(), "dlq.payments");
    let refused = topic("payments/eu").unwrap_err().to_string();
    assert!(refused.contains("dlq.payments/eu") && refused.contains("name another"), "{refused}");
    assert!(topic(&"g".repeat(250)).is_err());
}

proptest! {
    #[test]
    fn facts_are_read_back_whatever_else_the_record_says(
        attempts in any::<u16>(),
        cause in 1..=6u8,
        reason in ("\\PC{0,20}", "\\PC{0,20}"),
        times in any::<(i64, i64, i64)>(),
        redrives in any::<u8>(),
        sequence in any::<u64>(),
        truncated in any::<bool>(),
        own in prop::collection::vec(("[a-z_.]{0,20}", "\\PC{0,20}"), 0..5),
    ) {
        let facts = DeadLetterFacts {
            attempts,
            cause: Cause::from_number(cause).unwrap(),
            reason,
            first_failure: Timestamp::from_millis(times.0),
            last_failure: Timestamp::from_millis(times.1),
            original_timestamp: Timestamp::from_millis(times.2),
            redrives,
            sequence,
            truncated,
            ..facts()
        };
        let mut headers = own;
        headers.extend(facts.headers());
        prop_assert_eq!(read(&headers), Ok(facts));
    }
}
