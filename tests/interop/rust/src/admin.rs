//! Administration: topics, partitions, configs, records and groups.

use anyhow::{Context as _, Result, ensure};
use futures_executor::block_on;
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{ANSWER, Kafka, Settings, equal, partition, plain, refusal, take, until};
use crate::groups::{committed, fill};

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

/// The one answer among those of a request for one thing.
fn only<T>(answers: Vec<Result<T, (String, RDKafkaErrorCode)>>) -> Result<T> {
    ensure!(answers.len() == 1, "{} answers to one question", answers.len());
    let answer = answers.into_iter().next().context("no answer")?;
    answer.map_err(|(name, code)| anyhow::Error::new(KafkaError::AdminOp(code)).context(name))
}

pub(crate) fn create(kafka: &Kafka, topic: &str, partitions: i32, configs: Settings<'_>) -> Result<()> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let new = configs.iter().fold(new, |new, (name, value)| new.set(name, value));
    only(block_on(kafka.admin.create_topics([&new], &options()))?)?;
    until("the new topic is listed", || listed(kafka, topic))
}

fn listed(kafka: &Kafka, topic: &str) -> Result<bool> {
    let metadata = kafka.admin.inner().fetch_metadata(None, ANSWER)?;
    Ok(metadata.topics().iter().any(|found| found.name() == topic))
}

/// How many partitions the topic has, as its metadata say.
fn partition_count(kafka: &Kafka, topic: &str) -> Result<usize> {
    let metadata = kafka.admin.inner().fetch_metadata(Some(topic), ANSWER)?;
    Ok(metadata.topics().iter().map(|found| found.partitions().len()).sum())
}

pub(crate) fn topics(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 3, &[("retention.ms", "123000")])?;
    equal(partition_count(kafka, case)?, 3)?;
    equal(refusal(create(kafka, case, 3, &[]))?, RDKafkaErrorCode::TopicAlreadyExists)?;
    let delete = || only(block_on(kafka.admin.delete_topics(&[case], &options()))?);
    equal(delete()?, case.to_owned())?;
    until("it is gone", || Ok(!listed(kafka, case)?))?;
    equal(refusal(delete())?, RDKafkaErrorCode::UnknownTopicOrPartition)
}

pub(crate) fn partitions(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 2, &[])?;
    let more = NewPartitions::new(case, 5);
    only(block_on(kafka.admin.create_partitions([&more], &options()))?)?;
    until("five partitions", || Ok(partition_count(kafka, case)? == 5))
}

fn describe(kafka: &Kafka, resource: ResourceSpecifier<'_>) -> Result<ConfigResource> {
    let answers = block_on(kafka.admin.describe_configs([&resource], &options()))?;
    Ok(answers.into_iter().next().context("no answer")??)
}

pub(crate) fn configs(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[("retention.ms", "123000")])?;
    let value = |name: &str| -> Result<(String, bool)> {
        let found = describe(kafka, ResourceSpecifier::Topic(case))?;
        let entry = found.get(name).with_context(|| format!("{name} is missing"))?;
        Ok((entry.value.clone().unwrap_or_default(), entry.is_default))
    };
    equal(value("retention.ms")?, ("123000".to_owned(), false))?;
    equal(value("cleanup.policy")?, ("delete".to_owned(), true))?;
    // Sets these and takes back all others: the only way to alter configs that this client has.
    let alter = |changes: Settings<'_>| -> Result<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(case));
        let change = changes.iter().fold(change, |change, (name, value)| change.set(name, value));
        let answers = block_on(kafka.admin.alter_configs([&change], &options()))?;
        let answer = answers.into_iter().next().context("no answer")?;
        answer.map(drop).map_err(|(_, code)| KafkaError::AdminOp(code).into())
    };
    alter(&[("retention.ms", "456000"), ("cleanup.policy", "compact")])?;
    equal(value("retention.ms")?, ("456000".to_owned(), false))?;
    equal(value("cleanup.policy")?, ("compact".to_owned(), false))?;
    alter(&[("cleanup.policy", "compact")])?;
    equal(value("retention.ms")?, ("604800000".to_owned(), true))?;
    equal(value("cleanup.policy")?, ("compact".to_owned(), false))
}

pub(crate) fn broker_configs(kafka: &Kafka, _: &str) -> Result<()> {
    let metadata = kafka.admin.inner().fetch_metadata(None, ANSWER)?;
    let broker = metadata.brokers().first().context("no broker")?.id();
    let found = describe(kafka, ResourceSpecifier::Broker(broker))?;
    found.get("log.retention.ms").map(drop).context("log.retention.ms is missing")
}

pub(crate) fn delete_records(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[("retention.ms", "-1")])?;
    kafka.produce(case, &plain(20), &[])?;
    let before = partition(case, Offset::Offset(15))?;
    let answer = block_on(kafka.admin.delete_records(&before, &options()))?;
    equal(answer.elements().iter().map(|one| one.offset()).collect(), vec![Offset::Offset(15)])?;
    equal(kafka.consumer("unused", &[])?.fetch_watermarks(case, 0, ANSWER)?, (15, 20))
}

pub(crate) fn groups(kafka: &Kafka, case: &str) -> Result<()> {
    fill(kafka, case)?;
    let admin = &kafka.admin;
    let listed = || -> Result<bool> {
        let found = admin.inner().fetch_group_list(None, ANSWER)?;
        Ok(found.groups().iter().any(|group| group.name() == case))
    };
    let reader = kafka.consumer(case, &[])?;
    reader.subscribe(&[case])?;
    take(&reader, 100)?;
    reader.commit_consumer_state(CommitMode::Sync)?;
    let found = admin.inner().fetch_group_list(Some(case), ANSWER)?;
    let group = found.groups().first().context("it is not described")?;
    equal((group.name(), group.state(), group.members().len()), (case, "Stable", 1))?;
    drop(reader);
    ensure!(listed()?, "it is not listed");

    let visitor = kafka.consumer(case, &[])?;
    equal(committed(&visitor, case)?, vec![Offset::Offset(25); 4])?;
    let mut moved = TopicPartitionList::new();
    moved.add_partition_offset(case, 2, Offset::Offset(7))?;
    visitor.commit(&moved, CommitMode::Sync)?;
    let wanted = [25, 25, 7, 25].map(Offset::Offset);
    equal(committed(&visitor, case)?, wanted.to_vec())?;
    drop(visitor);
    only(block_on(admin.delete_groups(&[case], &options()))?)?;
    ensure!(!listed()?, "it is still listed");
    Ok(())
}
