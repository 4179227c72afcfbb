use std::fs;

use tidelog_client::{Bytes, Offset, PartitionIndex, Timestamp, TopicName};

use super::*;

fn record(value: &str) -> ConsumerRecord {
    ConsumerRecord {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::ZERO,
        offset: Offset::ZERO,
        timestamp: Timestamp::from_millis(0),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
        leader_epoch: 0,
    }
}

fn open(path: &Path, start: FileStart) -> Result<Writer, Failure> {
    Writer::file(path, start, RecordFormat::Raw)
}

async fn write(writer: &mut Writer, values: &[&str]) {
    for value in values {
        writer.write(&record(value)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_synced_is_in_the_file_and_in_the_mark() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let mut writer = open(&path, FileStart::New).unwrap();
    assert_eq!(writer.mark(), SinkMark::File { bytes: 0 });
    write(&mut writer, &["a", "bc"]).await;
    writer.sync().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nbc\n");
    assert_eq!(writer.mark(), SinkMark::File { bytes: 5 });
}

#[tokio::test]
async fn a_resumed_file_is_cut_back_to_what_the_checkpoint_covers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    fs::write(&path, "a\nbc\nhalf a rec").unwrap();
    let mut writer = open(&path, FileStart::Resume(5)).unwrap();
    write(&mut writer, &["d"]).await;
    writer.sync().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nbc\nd\n");
    assert_eq!(writer.mark(), SinkMark::File { bytes: 7 });
}

#[tokio::test]
async fn a_file_that_is_shorter_or_gone_is_not_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    assert_eq!(open(&path, FileStart::Resume(0)).unwrap_err().exit(), Exit::Conflict);
    fs::write(&path, "abc").unwrap();
    let error = open(&path, FileStart::Resume(4)).unwrap_err();
    assert!(error.message().contains("holds 3 bytes, and its checkpoint covers 4"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
}

#[tokio::test]
async fn an_existing_file_is_only_overwritten_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    fs::write(&path, "precious").unwrap();
    assert_eq!(open(&path, FileStart::New).unwrap_err().exit(), Exit::Conflict);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let mut writer = open(&path, FileStart::Overwrite).unwrap();
    writer.sync().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[tokio::test]
async fn two_replays_never_write_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let mut first = open(&path, FileStart::New).unwrap();
    write(&mut first, &["a"]).await;
    first.sync().await.unwrap();
    for start in [FileStart::Overwrite, FileStart::Resume(0)] {
        assert_eq!(open(&path, start).unwrap_err().exit(), Exit::Conflict);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
    assert!(Writer::file(directory.path(), FileStart::Overwrite, RecordFormat::Raw).is_err());
}
