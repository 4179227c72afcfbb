use proptest::prelude::*;

use super::*;

fn share(partition: i32, [start, next, end]: [u64; 3], written: u64) -> Share {
    let at = |value| Offset::ZERO.plus(value);
    let topic = TopicName::new("orders").unwrap();
    let id = TopicPartition { topic, partition: PartitionIndex::new(partition).unwrap() };
    Share { id, start: at(start), next: at(next), end: at(end), written }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn arguments(pairs: &[(&str, &str)]) -> Arguments {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect()
}

fn checkpoint(shares: &[Share]) -> Checkpoint {
    Checkpoint {
        version: VERSION,
        replay_id: "r-1".to_owned(),
        saved_at: "2026-11-23T10:00:00Z".to_owned(),
        complete: false,
        arguments: arguments(&[("TOPIC", "orders"), ("--from", "-1h")]),
        topics: texts(&[("orders", "id-1")]),
        sink: SinkMark::File { bytes: 77 },
        partitions: shares.iter().map(PartitionMark::new).collect(),
    }
}

#[test]
fn a_checkpoint_is_read_back_as_it_was_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("point");
    let shares = vec![share(0, [5, 9, 20], 3), share(1, [0, 0, 0], 0)];
    let first = checkpoint(&shares);
    first.save(&path).unwrap();
    let mut second = first.clone();
    second.sink = SinkMark::Topic { next: BTreeMap::from([(0, 9)]) };
    second.save(&path).unwrap();
    let read = Checkpoint::load(&path).unwrap();
    assert_eq!(read, second);
    assert_eq!(read.shares().unwrap(), shares);
    let files: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["point"], "nothing is left beside it");
}

#[test]
fn a_save_that_fails_leaves_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("point");
    let saved = checkpoint(&[share(0, [0, 1, 2], 1)]);
    saved.save(&path).unwrap();
    // Something is in the way of the file that is written first.
    fs::create_dir(directory.path().join("point.tmp")).unwrap();
    assert!(matches!(checkpoint(&[]).save(&path), Err(CheckpointError::Io { .. })));
    assert_eq!(Checkpoint::load(&path).unwrap(), saved);
}

#[test]
fn one_run_at_a_time_goes_on_with_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("point");
    let saved = checkpoint(&[]);
    let first = saved.save(&path).unwrap();
    assert!(matches!(Checkpoint::lock(&path), Err(CheckpointError::Busy { .. })));
    // The next one takes its place before it is let go.
    let second = saved.save(&path).unwrap();
    drop(first);
    assert!(matches!(Checkpoint::lock(&path), Err(CheckpointError::Busy { .. })));
    drop(second);
    let third = Checkpoint::lock(&path).unwrap();
    assert!(matches!(Checkpoint::lock(&path), Err(CheckpointError::Busy { .. })));
    // Its owner can still save.
    drop((saved.save(&path).unwrap(), third));
    drop(Checkpoint::lock(&path).unwrap());
}

#[test]
fn what_differs_is_named() {
    let saved = checkpoint(&[]);
    saved.check(&saved.arguments, &saved.topics).unwrap();
    let other = arguments(&[("TOPIC", "orders"), ("--from", "-2h"), ("--key", "a")]);
    let error = saved.check(&other, &texts(&[("orders", "id-2")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the checkpoint belongs to another replay: --from was -1h, is -2h; --key was not given, is a; \
         topic orders was created again since, or is another broker's"
    );
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("point");
    assert!(matches!(Checkpoint::load(&path), Err(CheckpointError::Missing { .. })));
    let good = serde_json::to_string(&checkpoint(&[share(0, [0, 5, 9], 2)])).unwrap();
    for (text, expected) in [
        (String::new(), "is not a checkpoint"),
        ("{}".to_owned(), "is not a checkpoint"),
        (good.replace(r#""version":1"#, r#""version":2"#), "has format 2, this version reads 1"),
        (good[..good.len() / 2].to_owned(), "is not a checkpoint"),
        // Further than the end; more written than read.
        (good.replace(r#""next":5"#, r#""next":10"#), "cannot be"),
        (good.replace(r#""written":2"#, r#""written":6"#), "cannot be"),
        (good.replace(r#""start":0"#, r#""start":-1"#), "below zero"),
    ] {
        fs::write(&path, &text).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(bytes: Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("point");
        fs::write(&path, bytes).unwrap();
        prop_assert!(Checkpoint::load(&path).is_err());
    }

    #[test]
    fn any_progress_survives_the_file(
        marks in prop::collection::vec((0u64..1 << 40, 0u64..1 << 20, 0u64..1 << 20, 0u64..100), 0..5)
    ) {
        let shares: Vec<Share> = (0i32..)
            .zip(marks)
            .map(|(partition, (start, read, left, written))| {
                share(partition, [start, start + read, start + read + left], written.min(read))
            })
            .collect();
        let text = serde_json::to_vec(&checkpoint(&shares)).unwrap();
        let read: Checkpoint = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(read.shares().unwrap(), shares);
    }
}
