//! Groups of both protocols: what they commit is where the next member goes on, and partitions follow the members.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};

use crate::admin::create;
use crate::client::{ANSWER, Kafka, Row, Settings, TIME, equal, take, until};

const PARTITIONS: i32 = 4;
const RECORDS: i32 = 100;
/// Members of classic groups learn of a rebalance with their next heartbeat.
const BRISK: (&str, &str) = ("heartbeat.interval.ms", "300");

/// A topic of four partitions with the numbers up to 100, in turns.
pub(crate) fn fill(kafka: &Kafka, topic: &str) -> Result<()> {
    create(kafka, topic, PARTITIONS, &[("retention.ms", "-1")])?;
    let row = |number: i32| Row {
        timestamp: TIME,
        key: None,
        value: Some(number.to_string().into_bytes()),
        headers: Vec::new(),
    };
    let rows: Vec<(i32, Row)> = (0..RECORDS).map(|number| (number % PARTITIONS, row(number))).collect();
    kafka.send(topic, &rows, &[]).map(drop)
}

/// What a case's name asks of its members. With the consumer protocol the broker says how often they call.
fn settings(case: &str) -> Settings<'static> {
    match case {
        "group-roundrobin" => &[("partition.assignment.strategy", "roundrobin"), BRISK],
        "group-cooperative" => &[("partition.assignment.strategy", "cooperative-sticky"), BRISK],
        "group-consumer-range" => &[("group.protocol", "consumer"), ("group.remote.assignor", "range")],
        name if name.starts_with("group-consumer") => &[("group.protocol", "consumer")],
        _ => &[BRISK],
    }
}

/// The numbers of records, each of which came once.
fn numbers(messages: &[OwnedMessage]) -> Result<BTreeSet<i32>> {
    let number = |message: &OwnedMessage| {
        Ok(std::str::from_utf8(message.payload().context("a record without value")?)?.parse()?)
    };
    let numbers = messages.iter().map(number).collect::<Result<BTreeSet<i32>>>()?;
    ensure!(numbers.len() == messages.len(), "a record came twice");
    Ok(numbers)
}

/// The partitions that a member has after it has looked. librdkafka joins and syncs by itself: members may take
/// turns in one thread.
fn assigned(reader: &BaseConsumer) -> Result<BTreeSet<i32>> {
    if let Some(message) = reader.poll(Duration::from_millis(50)) {
        drop(message?);
    }
    Ok(reader.assignment()?.elements().iter().map(|one| one.partition()).collect())
}

fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}

/// Whether both have some of the partitions, none has another's, and together they have all.
fn shared(one: &BTreeSet<i32>, other: &BTreeSet<i32>) -> bool {
    !one.is_empty() && !other.is_empty() && one.is_disjoint(other) && one | other == all()
}

/// The committed offsets of all partitions.
pub(crate) fn committed(reader: &BaseConsumer, topic: &str) -> Result<Vec<Offset>> {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, PARTITIONS - 1);
    let found = reader.committed_offsets(partitions, ANSWER)?;
    Ok(found.elements().iter().map(|one| one.offset()).collect())
}

pub(crate) fn commit_and_restart(kafka: &Kafka, case: &str) -> Result<()> {
    fill(kafka, case)?;
    let first = kafka.consumer(case, settings(case))?;
    first.subscribe(&[case])?;
    let mut seen = numbers(&take(&first, 40)?)?;
    first.commit_consumer_state(CommitMode::Sync)?;
    // What it had fetched beyond these was neither returned nor committed.
    drop(first);
    let second = kafka.consumer(case, settings(case))?;
    second.subscribe(&[case])?;
    let rest = numbers(&take(&second, 100 - seen.len())?)?;
    ensure!(seen.is_disjoint(&rest), "read twice: {:?}", &seen & &rest);
    seen.extend(rest);
    equal(seen, (0..RECORDS).collect())?;
    second.commit_consumer_state(CommitMode::Sync)?;
    equal(committed(&second, case)?, vec![Offset::Offset(25); 4])
}

pub(crate) fn join_and_leave(kafka: &Kafka, case: &str) -> Result<()> {
    fill(kafka, case)?;
    let (first, second) = (kafka.consumer(case, settings(case))?, kafka.consumer(case, settings(case))?);
    first.subscribe(&[case])?;
    until("one member has all partitions", || Ok(assigned(&first)? == all()))?;
    second.subscribe(&[case])?;
    until("two members share them", || Ok(shared(&assigned(&first)?, &assigned(&second)?)))?;
    drop(first);
    until("the other has all of them", || Ok(assigned(&second)? == all()))
}

/// A static member that comes back within its session has its partitions again, and nobody else moved.
pub(crate) fn static_member(kafka: &Kafka, case: &str) -> Result<()> {
    fill(kafka, case)?;
    let member = |name: &'static str| -> Result<BaseConsumer> {
        let reader = kafka.consumer(case, &[settings(case), &[("group.instance.id", name)]].concat())?;
        reader.subscribe(&[case])?;
        Ok(reader)
    };
    let (one, two) = (member("one")?, member("two")?);
    let (mut before, mut kept) = (BTreeSet::new(), BTreeSet::new());
    until("both have some", || {
        (before, kept) = (assigned(&one)?, assigned(&two)?);
        Ok(shared(&before, &kept))
    })?;
    drop(one);
    let again = member("one")?;
    until("it has its own again", || Ok(assigned(&two)? == kept && assigned(&again)? == before))
}
