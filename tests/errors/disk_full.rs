//! A full disk is not damage: writes fail and say so, reads go on, and when there is room again writes resume
//! without a restart.

use std::fs;
use std::time::Duration;

use futures::StreamExt as _;
use tidelog_client::{Client, ErrorKind, NewTopic, Record};
use tidelog_tests::broker::BrokerCommand;
use tidelog_tests::wait::let_pass;

use crate::assert_one_clear_line;
use crate::start::Mount;

const TOPIC: &str = "orders";
/// What else is on the disk, and goes away later.
const FILLER: usize = 6 << 20;
/// How long a broker may take to notice that there is room again.
const RESUME_DEADLINE: Duration = Duration::from_secs(30);

/// Writes until the disk is full; returns how many records were acknowledged.
async fn fill(client: &Client, from: usize) -> usize {
    let producer = client.producer().retries(false).build().unwrap();
    for number in from.. {
        let record = Record::new(TOPIC).key(number.to_string()).value(vec![b'x'; 20_000]);
        if let Err(error) = producer.send(record).await {
            assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
            assert_eq!(error.error().code(), Some("DISK_FULL"), "{error}");
            assert!(error.is_retryable(), "{error}");
            assert!(!error.may_have_been_written(), "{error}");
            assert_one_clear_line("disk full", &error.to_string(), &["full"]);
            return number;
        }
        assert!(number < 10_000, "the disk does not fill");
    }
    unreachable!("the loop ends by returning");
}

/// The keys that are readable, in order.
async fn read(client: &Client) -> Vec<usize> {
    let mut consumer = client.consumer().topic(TOPIC).until_end().build().await.unwrap();
    let mut keys = Vec::new();
    while let Some(record) = consumer.next().await {
        let key = record.unwrap().key.unwrap();
        keys.push(std::str::from_utf8(&key).unwrap().parse().unwrap());
    }
    keys
}

/// Tries until a record is taken again.
async fn resume(client: &Client, number: usize) {
    let producer = client.producer().retries(false).build().unwrap();
    let resumed = async {
        loop {
            let record = Record::new(TOPIC).key(number.to_string()).value("room again");
            match producer.send(record).await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.error().code(), Some("DISK_FULL"), "{error}"),
            }
            let_pass(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(RESUME_DEADLINE, resumed).await.expect("writes resume when there is room");
}

#[test]
fn on_a_full_disk_writes_fail_reads_go_on_and_writes_resume() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("small");
    fs::create_dir(&place).unwrap();
    let Some(_mounted) = Mount::new(&place, &["-t", "tmpfs", "-o", "size=12m", "tidelog-test"]) else {
        return;
    };
    // The broker's own log must not be on the full disk.
    let data = place.join("data");
    let filler = place.join("filler");
    let log = home.path().join("broker.log");
    let command = BrokerCommand::new(&data).unwrap().log(&log);
    let broker = command.start().unwrap();
    fs::write(&filler, vec![1; FILLER]).unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let total = runtime.block_on(async {
        let client = Client::connect(&broker.url()).await.unwrap();
        let topic = NewTopic::new(TOPIC).partitions(1).config("segment.bytes", "1048576");
        client.admin().create_topic(topic).await.unwrap();
        let stored = fill(&client, 0).await;
        assert!(stored > 20, "only {stored} records fit");
        assert_eq!(read(&client).await, (0..stored).collect::<Vec<_>>(), "reads go on");
        fs::remove_file(&filler).unwrap();
        resume(&client, stored).await;
        let stored = fill(&client, stored + 1).await;
        assert_eq!(read(&client).await, (0..stored).collect::<Vec<_>>());
        stored
    });
    // Full as it is, it is killed, comes back, and has everything.
    let broker = broker.kill9().unwrap().start().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&broker.url()).await.unwrap();
        assert_eq!(read(&client).await, (0..total).collect::<Vec<_>>(), "nothing acknowledged is lost");
    });
}
