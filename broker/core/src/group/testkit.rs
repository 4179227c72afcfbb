//! Groups on a bench: time is an argument, answers are collected, and a crash keeps the log alone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::api::{
    CommitOffsets, FetchOffsets, GroupHeartbeat, GroupMember, GroupProtocol, JoinGroup, JoinGroupReply,
    Joined, MemberAssignment, SeekOffsets, SyncGroup, WhenActive,
};
use super::consumer::{TopicShape, TopicsView};
use super::{
    Answer, GroupConfig, GroupError, GroupEvent, GroupLimits, GroupReply, GroupRequest, Groups, Input,
    OffsetCommit, Output, Token,
};
use crate::codec::Event;

/// Topics `t1`, `t2`, …, with the ids 1, 2, …
pub(super) struct NumberedTopics;

impl TopicsView for NumberedTopics {
    fn topic(&self, name: &TopicName) -> Option<TopicShape> {
        let number = name.as_str().strip_prefix('t')?.parse().ok()?;
        Some(TopicShape { topic_id: topic(number), partition_count: 4 })
    }

    fn matching(&self, _regex: &str) -> Result<BTreeSet<TopicName>, String> {
        Ok(BTreeSet::new())
    }
}

pub(super) fn topic(number: u128) -> TopicId {
    TopicId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn group(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

pub(super) fn offset(topic_number: u128, partition: i32, offset: i64) -> OffsetCommit {
    OffsetCommit {
        topic_id: topic(topic_number),
        partition: PartitionIndex::new(partition).unwrap(),
        offset: Offset::new(offset).unwrap(),
        leader_epoch: LeaderEpoch::new(3),
        metadata: format!("at {offset}"),
    }
}

/// A consumer's subscription in version 0.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.into()
}

pub(super) fn join(member_id: &str) -> JoinGroup {
    JoinGroup {
        group: group("g"),
        member_id: member_id.to_owned(),
        instance_id: None,
        require_known_member_id: false,
        can_skip_assignment: true,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: Some(20_000),
        protocol_type: "consumer".to_owned(),
        protocols: vec![GroupProtocol { name: "range".to_owned(), metadata: subscription(&["t1"]) }],
        client_id: "client".to_owned(),
        client_host: "host".to_owned(),
    }
}

pub(super) fn member(member_id: &str, generation: i32) -> GroupMember {
    GroupMember { member_id: member_id.to_owned(), instance_id: None, generation }
}

pub(super) fn heartbeat(member_id: &str, generation: i32) -> GroupRequest {
    GroupRequest::Heartbeat(GroupHeartbeat { group: group("g"), member: member(member_id, generation) })
}

pub(super) fn commit(member: GroupMember, offsets: Vec<OffsetCommit>) -> GroupRequest {
    GroupRequest::Commit(CommitOffsets { group: group("g"), member, offsets })
}

pub(super) fn seek(offsets: &[(u128, i32, i64)], when_active: WhenActive) -> GroupRequest {
    let position = |(number, index, offset): &(u128, i32, i64)| {
        ((topic(*number), PartitionIndex::new(*index).unwrap()), Offset::new(*offset).unwrap())
    };
    let positions = offsets.iter().map(position).collect();
    GroupRequest::Seek(SeekOffsets { group: group("g"), positions, when_active })
}

/// What a leader makes of a generation: each member's part names it and the generation.
pub(super) fn sync(joined: &Joined) -> GroupRequest {
    let part =
        |id: &String| MemberAssignment { member_id: id.clone(), assignment: part_of(joined.generation, id) };
    GroupRequest::Sync(SyncGroup {
        group: group("g"),
        member: member(&joined.member_id, joined.generation),
        protocol_type: Some(joined.protocol_type.clone()),
        protocol_name: Some(joined.protocol_name.clone()),
        assignments: joined.members.iter().map(|seen| part(&seen.member_id)).collect(),
    })
}

pub(super) fn part_of(generation: i32, member_id: &str) -> Bytes {
    format!("{generation}/{member_id}").into()
}

pub(super) struct Bench {
    pub(super) groups: Groups,
    pub(super) config: GroupConfig,
    pub(super) limits: GroupLimits,
    pub(super) log: Vec<GroupEvent>,
    pub(super) now: Timestamp,
    pub(super) answers: BTreeMap<Token, Answer>,
    next: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(GroupConfig::default(), GroupLimits::default())
    }

    pub(super) fn with(config: GroupConfig, limits: GroupLimits) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let mut groups = Groups::new(config.clone(), limits);
        groups.loaded(now);
        Self { groups, config, limits, log: Vec::new(), now, answers: BTreeMap::new(), next: 0 }
    }

    fn take(&mut self, out: Output) {
        for event in out.events {
            let stored = GroupEvent::decode(&event.encode()).unwrap();
            assert_eq!(stored, event);
            self.log.push(stored);
        }
        for (token, answer) in out.replies {
            assert!(self.answers.insert(token, answer).is_none(), "{token:?} is answered twice");
        }
    }

    pub(super) fn send(&mut self, request: GroupRequest) -> Token {
        let token = Token(self.next);
        self.next += 1;
        let input = Input { token, random: Uuid::from_u128(u128::from(token.0)), request };
        let out = self.groups.handle(self.now, input, &NumberedTopics);
        self.take(out);
        token
    }

    /// The answer to a request that does not wait.
    pub(super) fn ask(&mut self, request: GroupRequest) -> Answer {
        let token = self.send(request);
        self.answers.remove(&token).expect("an answer at once")
    }

    /// The generation that a request to join has led to.
    pub(super) fn joined(&mut self, token: Token) -> Joined {
        match self.answers.remove(&token).expect("an answer").unwrap() {
            GroupReply::Join(JoinGroupReply::Joined(joined)) => joined,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn assignment(&mut self, token: Token) -> Bytes {
        match self.answers.remove(&token).expect("an answer").unwrap() {
            GroupReply::Sync(reply) => reply.assignment,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn advance(&mut self, ms: i64) {
        let end = self.now.plus_millis(ms);
        let mut rounds = 0;
        while let Some(deadline) = self.groups.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let out = self.groups.on_deadline(self.now, &NumberedTopics);
            self.take(out);
            rounds += 1;
            assert!(rounds < 10_000, "deadlines must move on");
        }
        self.now = end;
    }

    /// What is left of the groups after a crash.
    pub(super) fn crash(&mut self) {
        let mut replayed = Groups::new(self.config.clone(), self.limits);
        self.log.iter().for_each(|event| replayed.apply(event));
        replayed.loaded(self.now);
        self.groups = replayed;
        self.answers.clear();
    }

    /// A snapshot says what the log says, alone and after it, whole and in part.
    pub(super) fn check_replay(&self) {
        let snapshot: Vec<GroupEvent> = self.groups.snapshot().collect();
        let mut replayed = Groups::new(self.config.clone(), self.limits);
        self.log.iter().for_each(|event| replayed.apply(event));
        assert_eq!(replayed.snapshot().collect::<Vec<_>>(), snapshot);
        snapshot.iter().take(snapshot.len() / 2).for_each(|event| replayed.apply(event));
        assert_eq!(replayed.snapshot().collect::<Vec<_>>(), snapshot);
        let mut restored = Groups::new(self.config.clone(), self.limits);
        snapshot.iter().for_each(|event| restored.apply(event));
        assert_eq!(restored.snapshot().collect::<Vec<_>>(), snapshot);
        assert_eq!(restored.offsets, self.groups.offsets);
    }

    pub(super) fn offsets(&mut self) -> Vec<(u128, i32, i64)> {
        let all = FetchOffsets { group: group("g"), member_id: None, member_epoch: -1, partitions: None };
        let Ok(GroupReply::Fetch(found)) = self.ask(GroupRequest::Fetch(all)) else { panic!() };
        found.iter().map(|(t, p, held)| (t.uuid().as_u128(), p.get(), held.offset.get())).collect()
    }

    /// A stable group of members that all joined at once; the leader comes first.
    pub(super) fn stable(&mut self, requests: Vec<JoinGroup>) -> Vec<Joined> {
        let tokens: Vec<Token> = requests.into_iter().map(|one| self.send(GroupRequest::Join(one))).collect();
        while !tokens.iter().all(|token| self.answers.contains_key(token)) {
            self.advance(500);
        }
        let mut members: Vec<Joined> = tokens.into_iter().map(|token| self.joined(token)).collect();
        members.sort_by_key(|joined| joined.members.is_empty());
        for joined in &members {
            let token = self.send(sync(joined));
            assert_eq!(self.assignment(token), part_of(joined.generation, &joined.member_id));
        }
        members
    }
}

pub(super) fn refusal(answer: Answer) -> tidelog_model::ErrorCode {
    answer.as_ref().map_err(GroupError::code).unwrap_err()
}
