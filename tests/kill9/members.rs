//! Members of groups as raw Kafka peers: of a classic group, one of them static. They commit, come and go, and
//! carry on after every cut as if nothing had happened.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use tidelog_tests::kafka::{Api, Connection};
use tidelog_tests::load::draw;
use tidelog_tests::wait::let_pass;

use crate::ledger::{Ledger, Offsets};

const JOIN_GROUP: Api = Api::old(11, 5);
const SYNC_GROUP: Api = Api::old(14, 3);
const HEARTBEAT: Api = Api::old(12, 3);
const LEAVE_GROUP: Api = Api::old(13, 2);
const OFFSET_COMMIT: Api = Api::flexible(8, 9);
const OFFSET_FETCH: Api = Api::flexible(9, 9);
/// Longer than any restart takes: no member may be forgotten.
pub(crate) const SESSION_MS: i32 = 60_000;
/// The broker is not ready to answer.
pub(crate) const NOT_NOW: [i16; 3] = [14, 15, 16];
pub(crate) const ILLEGAL_GENERATION: i16 = 22;
pub(crate) const UNKNOWN_MEMBER: i16 = 25;
const REBALANCE: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;
const FENCED_INSTANCE: i16 = 82;

/// Why a member's connection is over.
pub(crate) enum Ended {
    /// It was cut.
    Cut,
    /// The broker told what it must not.
    Wrong(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

/// What the members of a group share.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) partitions: i32,
    pub(crate) broker: SocketAddr,
    pub(crate) ledger: Ledger,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Group {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Commits the next offset of each of these partitions; the code of an answer that refuses it.
    pub(crate) async fn commit(
        &self,
        connection: &mut Connection,
        (member, instance, epoch): (&str, Option<&str>, i32),
        partitions: &BTreeSet<i32>,
    ) -> Result<i16, Ended> {
        let mut topic = OffsetCommitRequestTopic::default();
        topic.name = self.topic.into();
        let offsets: Offsets = partitions.iter().map(|p| (*p, self.ledger.next_offset(*p))).collect();
        for (index, offset) in &offsets {
            let mut partition = OffsetCommitRequestPartition::default();
            (partition.partition_index, partition.committed_offset) = (*index, *offset);
            (partition.committed_leader_epoch, partition.committed_metadata) = (-1, None);
            topic.partitions.push(partition);
        }
        let mut request = OffsetCommitRequest::default();
        (request.group_id, request.member_id) = (self.name.into(), member.into());
        (request.group_instance_id, request.topics) = (instance.map(Into::into), vec![topic]);
        request.generation_id_or_member_epoch = epoch;
        let answer: OffsetCommitResponse = ask(connection, OFFSET_COMMIT, &request).await?;
        for row in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if row.error_code != 0 {
                return Ok(row.error_code);
            }
            let offset = offsets.get(&row.partition_index).context("a partition that was not asked for")?;
            self.ledger.acked(row.partition_index, *offset);
        }
        Ok(0)
    }

    /// Asks what is committed and holds it against what was.
    pub(crate) async fn check_offsets(&self, connection: &mut Connection) -> Result<(), Ended> {
        let known = self.ledger.committed_at_least();
        let mut group = OffsetFetchRequestGroup::default();
        (group.group_id, group.member_id, group.member_epoch) = (self.name.into(), None, -1);
        group.topics = None;
        let mut request = OffsetFetchRequest::default();
        request.groups = vec![group];
        let answer: OffsetFetchResponse = ask(connection, OFFSET_FETCH, &request).await?;
        let group = answer.groups.first().context("an answer without the group")?;
        if NOT_NOW.contains(&group.error_code) {
            return Err(Ended::Cut);
        }
        let code = group.error_code;
        if code != 0 {
            return Err(anyhow!("the offsets of {} are answered with {code}", self.name).into());
        }
        let rows = group.topics.iter().flat_map(|topic| &topic.partitions);
        let now: Offsets = rows.map(|row| (row.partition_index, row.committed_offset)).collect();
        Ok(self.ledger.committed(&known, &now).with_context(|| self.name)?)
    }
}

/// Asks; a connection that is cut is no complaint.
pub(crate) async fn ask<Q, A>(connection: &mut Connection, api: Api, request: &Q) -> Result<A, Ended>
where
    Q: kafka_wire_core::KafkaEncode + Sync,
    A: kafka_wire_core::KafkaDecode,
{
    connection.send(api, 7, request).await.map_err(|_| Ended::Cut)?;
    let (_, body) = connection.receive().await.map_err(|_| Ended::Cut)?;
    Ok(tidelog_tests::kafka::decode(api, body)?)
}

/// A member of a classic group.
pub(crate) struct ClassicMember {
    group: Group,
    /// Of a static member the instance id; of another one a name that it has until it leaves.
    name: String,
    is_static: bool,
    member_id: String,
    /// The generation that it is in, and what it has there.
    current: Option<(i32, BTreeSet<i32>)>,
    random: u64,
    incarnation: u32,
    /// An id with which it has to leave still: as long as nobody says that it is gone, others wait for it.
    leaving: Option<String>,
}

impl ClassicMember {
    pub(crate) fn new(group: Group, name: &str, is_static: bool, random: u64) -> Self {
        let name = name.to_owned();
        let (member_id, current, incarnation, leaving) = (String::new(), None, 0, None);
        Self { group, name, is_static, member_id, current, random, incarnation, leaving }
    }

    /// Is a member until the stop.
    pub(crate) async fn live(mut self) -> Result<()> {
        while !self.group.stopped() {
            match self.over_one_connection().await {
                Ok(()) => {}
                Err(Ended::Cut) => let_pass(Duration::from_millis(20)).await,
                Err(Ended::Wrong(error)) => {
                    return Err(error.context(format!("classic member {}", self.name)));
                }
            }
        }
        Ok(())
    }

    async fn over_one_connection(&mut self) -> Result<(), Ended> {
        let mut connection = Connection::open(self.group.broker).await.map_err(|_| Ended::Cut)?;
        self.group.check_offsets(&mut connection).await?;
        if self.is_static && self.current.is_some() && draw(&mut self.random, 3) == 0 {
            // As a process that was restarted, too: it knows its instance id alone.
            (self.member_id, self.current) = (String::new(), None);
        }
        self.leave(&mut connection).await?;
        while !self.group.stopped() {
            match &self.current {
                None => self.join(&mut connection).await?,
                Some((generation, _)) => {
                    let generation = *generation;
                    self.stay(&mut connection, generation).await?;
                }
            }
            let_pass(Duration::from_millis(draw(&mut self.random, 30))).await;
        }
        Ok(())
    }

    fn instance(&self) -> Option<&str> {
        self.is_static.then_some(self.name.as_str())
    }

    async fn join(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let known = self.group.ledger.epoch();
        let mut protocol = JoinGroupRequestProtocol::default();
        (protocol.name, protocol.metadata) = ("even".into(), bytes::Bytes::from_static(b"v1"));
        let mut request = JoinGroupRequest::default();
        (request.group_id, request.member_id) = (self.group.name.into(), self.member_id.as_str().into());
        request.group_instance_id = self.instance().map(Into::into);
        (request.session_timeout_ms, request.rebalance_timeout_ms) = (SESSION_MS, SESSION_MS);
        (request.protocol_type, request.protocols) = ("tide".into(), vec![protocol]);
        let answer: JoinGroupResponse = ask(connection, JOIN_GROUP, &request).await?;
        match answer.error_code {
            0 => {}
            MEMBER_ID_REQUIRED => {
                self.member_id = answer.member_id.to_string();
                return Ok(());
            }
            // The id of an answer that was lost, or one that was never part of a generation.
            UNKNOWN_MEMBER | FENCED_INSTANCE => {
                self.member_id.clear();
                return Ok(());
            }
            code if NOT_NOW.contains(&code) || code == REBALANCE => return Ok(()),
            code => return Err(anyhow!("joining is answered with {code}").into()),
        }
        self.member_id = answer.member_id.to_string();
        let mut ids: Vec<_> = answer.members.iter().map(|member| member.member_id.to_string()).collect();
        ids.sort_unstable();
        if answer.leader != answer.member_id {
            ids.clear();
        }
        self.sync(connection, answer.generation_id, &ids, known).await
    }

    /// Learns its assignment; as the leader, shares the partitions out among `members`.
    async fn sync(
        &mut self,
        connection: &mut Connection,
        generation: i32,
        members: &[String],
        known: i32,
    ) -> Result<(), Ended> {
        let mut request = SyncGroupRequest::default();
        (request.group_id, request.member_id) = (self.group.name.into(), self.member_id.as_str().into());
        (request.generation_id, request.group_instance_id) = (generation, self.instance().map(Into::into));
        for (place, id) in members.iter().enumerate() {
            let theirs = (0..self.group.partitions).filter(|p| {
                usize::try_from(*p).ok().and_then(|p| p.checked_rem(members.len())) == Some(place)
            });
            let mut assignment = SyncGroupRequestAssignment::default();
            assignment.member_id = id.as_str().into();
            assignment.assignment = theirs.filter_map(|p| u8::try_from(p).ok()).collect::<Vec<_>>().into();
            request.assignments.push(assignment);
        }
        let answer: SyncGroupResponse = ask(connection, SYNC_GROUP, &request).await?;
        match answer.error_code {
            0 => {}
            UNKNOWN_MEMBER | FENCED_INSTANCE | ILLEGAL_GENERATION | REBALANCE => return Ok(()),
            code if NOT_NOW.contains(&code) => return Ok(()),
            code => return Err(anyhow!("syncing is answered with {code}").into()),
        }
        let partitions: BTreeSet<i32> = answer.assignment.iter().map(|p| i32::from(*p)).collect();
        self.group.ledger.epoch_told(known, generation)?;
        self.group.ledger.assigned(generation, &self.name, partitions.clone())?;
        self.current = Some((generation, partitions));
        Ok(())
    }

    /// One round of a member in its generation.
    async fn stay(&mut self, connection: &mut Connection, generation: i32) -> Result<(), Ended> {
        let partitions = self.current.as_ref().map(|(_, partitions)| partitions.clone()).unwrap_or_default();
        let mut request = HeartbeatRequest::default();
        (request.group_id, request.member_id) = (self.group.name.into(), self.member_id.as_str().into());
        (request.generation_id, request.group_instance_id) = (generation, self.instance().map(Into::into));
        let answer: HeartbeatResponse = ask(connection, HEARTBEAT, &request).await?;
        if !self.still_in(answer.error_code)? {
            return Ok(());
        }
        let who = (self.member_id.as_str(), self.instance(), generation);
        let code = self.group.commit(connection, who, &partitions).await?;
        if !self.still_in(code)? {
            return Ok(());
        }
        match draw(&mut self.random, 40) {
            0..3 => self.group.check_offsets(connection).await,
            // The assignment again: it must be the same.
            3..6 => self.sync(connection, generation, &[], generation).await,
            6 if !self.is_static => {
                self.become_another();
                self.leave(connection).await
            }
            _ => Ok(()),
        }
    }

    /// Whether it is in its generation still. Nobody is thrown out here, so nobody may be unknown.
    fn still_in(&mut self, code: i16) -> Result<bool> {
        match code {
            0 => return Ok(true),
            REBALANCE | ILLEGAL_GENERATION => self.current = None,
            code if NOT_NOW.contains(&code) => {}
            code => bail!("the broker answers {code} to a member of {:?}", self.current),
        }
        Ok(false)
    }

    async fn leave(&mut self, connection: &mut Connection) -> Result<(), Ended> {
        let Some(id) = self.leaving.clone() else { return Ok(()) };
        let mut request = LeaveGroupRequest::default();
        (request.group_id, request.member_id) = (self.group.name.into(), id.into());
        let answer: LeaveGroupResponse = ask(connection, LEAVE_GROUP, &request).await?;
        match answer.error_code {
            // Unknown when only the first answer was lost.
            0 | UNKNOWN_MEMBER => self.leaving = None,
            code if NOT_NOW.contains(&code) => return Err(Ended::Cut),
            code => return Err(anyhow!("leaving is answered with {code}").into()),
        }
        Ok(())
    }

    fn become_another(&mut self) {
        self.leaving = Some(std::mem::take(&mut self.member_id));
        self.current = None;
        self.incarnation += 1;
        let base = self.name.split('-').next().unwrap_or_default().to_owned();
        self.name = format!("{base}-{}", self.incarnation);
    }
}
