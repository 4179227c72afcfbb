//! Members of a consumer group (KIP-848): raw Kafka peers, and consumers of the SDK.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::StreamExt as _;
use kafka_wire::consumer_group_heartbeat_request::TopicPartitions;
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_wire_core::Uuid;
use tidelog_client::{Client, Consumer, Offset, Record};
use tidelog_tests::kafka::{Api, Connection};
use tidelog_tests::load::draw;
use tidelog_tests::wait::let_pass;

use crate::members::{Ended, Group, NOT_NOW, SESSION_MS, UNKNOWN_MEMBER, ask};

const HEARTBEAT: Api = Api::flexible(68, 1);
const FENCED_EPOCH: i16 = 110;
const STALE_EPOCH: i16 = 113;
const LEAVES: i32 = -1;

/// A member of a consumer group.
pub(crate) struct ConsumerMember {
    group: Group,
    name: String,
    member_id: String,
    epoch: i32,
    /// What it has; of a group with one topic.
    owned: BTreeSet<i32>,
    topic: Uuid,
    /// An id with which it has to leave still.
    leaving: Option<String>,
    random: u64,
}

impl ConsumerMember {
    pub(crate) fn new(group: Group, name: &str, mut random: u64) -> Self {
        let member_id = new_id(&mut random);
        let (name, owned, topic, leaving) = (name.to_owned(), BTreeSet::new(), Uuid::default(), None);
        Self { group, name, member_id, epoch: 0, owned, topic, leaving, random }
    }

    /// Is a member until the stop.
    pub(crate) async fn live(mut self) -> Result<()> {
        while !self.group.stopped() {
            match self.over_one_connection().await {
                Ok(()) => {}
                Err(Ended::Cut) => let_pass(Duration::from_millis(20)).await,
                Err(Ended::Wrong(error)) => return Err(error.context(format!("member {}", self.name))),
            }
        }
        Ok(())
    }

    async fn over_one_connection(&mut self) -> Result<(), Ended> {
        let mut connection = Connection::open(self.group.broker).await.map_err(|_| Ended::Cut)?;
        self.group.check_offsets(&mut connection).await?;
        self.leave(&mut connection).await?;
        while !self.group.stopped() {
            self.heartbeat(&mut connection).await?;
            if self.epoch > 0 {
                self.commit(&mut connection).await?;
            }
            match draw(&mut self.random, 40) {
                0..3 => self.group.check_offsets(&mut connection).await?,
                3 => {
                    self.become_another();
                    self.leave(&mut connection).await?;
                }
                _ => {}
            }
            let_pass(Duration::from_millis(draw(&mut self.random, 30))).await;
        }
        Ok(())
    }

    fn request(&self, id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest::default();
        (request.group_id, request.member_id) = (self.group.name.into(), id.into());
        request.member_epoch = epoch;
        (request.instance_id, request.rack_id, request.server_assignor) = (None, None, None);
        (request.subscribed_topic_names, request.subscribed_topic_regex) = (None, None);
        (request.rebalance_timeout_ms, request.topic_partitions) = (-1, None);
        request
    }

    /// Tells everything each time, and takes what it is given.
    async fn heartbeat(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let known = self.group.ledger.epoch();
        let mut request = self.request(&self.member_id, self.epoch);
        request.rebalance_timeout_ms = SESSION_MS;
        request.subscribed_topic_names = Some(vec![self.group.topic.into()]);
        let mut owned = TopicPartitions::default();
        (owned.topic_id, owned.partitions) = (self.topic, self.owned.iter().copied().collect());
        request.topic_partitions = Some(if self.owned.is_empty() { Vec::new() } else { vec![owned] });
        let answer: ConsumerGroupHeartbeatResponse = ask(connection, HEARTBEAT, &request).await?;
        match answer.error_code {
            0 => {}
            FENCED_EPOCH => {
                // It is a member still, and begins anew.
                self.group.ledger.keeps(&self.name, &BTreeSet::new());
                self.owned.clear();
                self.epoch = 0;
                return Ok(());
            }
            code if NOT_NOW.contains(&code) => return Err(Ended::Cut),
            code => return Err(anyhow!("epoch {} is answered with {code}", self.epoch).into()),
        }
        // Who joins is told the newest epoch; who is a member may lag, but never goes back.
        let least = if self.epoch == 0 { known } else { self.epoch };
        if answer.member_epoch < least {
            return Err(anyhow!("after epoch {least} came {}", answer.member_epoch).into());
        }
        self.group.ledger.epoch_told(least.min(known), answer.member_epoch.max(known))?;
        self.epoch = answer.member_epoch;
        let Some(assignment) = answer.assignment else { return Ok(()) };
        let topic = assignment.topic_partitions.first();
        let given: BTreeSet<i32> = topic.into_iter().flat_map(|topic| topic.partitions.clone()).collect();
        self.topic = topic.map_or(self.topic, |topic| topic.topic_id);
        // What is not given any more is free when the broker hears so, which is with the next heartbeat.
        self.group.ledger.keeps(&self.name, &given);
        self.group.ledger.owns(&self.name, &given)?;
        self.owned = given;
        Ok(())
    }

    async fn commit(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let who = (self.member_id.as_str(), None, self.epoch);
        match self.group.commit(connection, who, &self.owned).await? {
            0 | STALE_EPOCH => Ok(()),
            code if NOT_NOW.contains(&code) => Err(Ended::Cut),
            code => Err(anyhow!("a commit in epoch {} is answered with {code}", self.epoch).into()),
        }
    }

    fn become_another(&mut self) {
        self.group.ledger.keeps(&self.name, &BTreeSet::new());
        self.owned.clear();
        self.epoch = 0;
        let id = new_id(&mut self.random);
        self.leaving = Some(std::mem::replace(&mut self.member_id, id));
    }

    async fn leave(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let Some(id) = &self.leaving else { return Ok(()) };
        let request = self.request(id, LEAVES);
        let answer: ConsumerGroupHeartbeatResponse = ask(connection, HEARTBEAT, &request).await?;
        match answer.error_code {
            // Unknown when only the first answer was lost.
            0 | UNKNOWN_MEMBER => self.leaving = None,
            code if NOT_NOW.contains(&code) => return Err(Ended::Cut),
            code => return Err(anyhow!("leaving is answered with {code}").into()),
        }
        Ok(())
    }
}

fn new_id(random: &mut u64) -> String {
    format!("m{:016x}", draw(random, u64::MAX))
}

/// Writes records for the SDK's members to read, until the stop.
pub(crate) async fn write(group: Group, url: String) -> Result<()> {
    let client = Client::connect(&url).await?;
    let producer =
        client.producer().backoff(Duration::from_millis(10), Duration::from_millis(200)).build()?;
    let mut number = 0;
    while !group.stopped() {
        let record = Record::new(group.topic).value(b"x".to_vec()).partition(number % group.partitions);
        // Whether it is stored is another test's matter.
        drop(producer.enqueue(record).await);
        number = number.wrapping_add(1) & i32::MAX;
        let_pass(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// A member through the SDK: reads, commits, and now and then leaves and comes back.
pub(crate) async fn read(group: Group, url: String, mut random: u64) -> Result<()> {
    let client = Client::connect(&url).await?;
    while !group.stopped() {
        let builder = client.consumer().topic(group.topic).join_group(group.name);
        let built = builder.backoff(Duration::from_millis(10), Duration::from_millis(200)).build().await;
        let Ok(mut consumer) = built else {
            let_pass(Duration::from_millis(20)).await;
            continue;
        };
        for _ in 0..=draw(&mut random, 60) {
            if group.stopped() {
                break;
            }
            read_and_commit(&group, &mut consumer).await?;
        }
        // One that cannot leave is gone when its session has run out.
        drop(consumer.close().await);
    }
    Ok(())
}

async fn read_and_commit(group: &Group, consumer: &mut Consumer) -> Result<()> {
    for _ in 0..10 {
        let record = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await;
        if let Ok(record) = record {
            record.context("an endless read ended")?.context("a member of the SDK gives up")?;
        }
    }
    let positions = consumer.positions();
    let at = |offset: &Offset| offset.get();
    for (partition, offset) in &positions {
        group.ledger.tried(partition.partition.get(), at(offset));
    }
    if consumer.commit().await.is_ok() {
        for (partition, offset) in &positions {
            group.ledger.acked(partition.partition.get(), at(offset));
        }
    }
    Ok(())
}
