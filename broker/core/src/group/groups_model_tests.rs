//! Clients that follow the classic protocol, or break off anywhere, against one group.

use proptest::prelude::*;
use tidelog_model::ErrorCode;

use super::super::api::WhenActive;
use super::super::api::{
    GroupHeartbeat, GroupMember, GroupProtocol, JoinGroup, JoinGroupReply, Joined, LeaveGroup, LeavingMember,
};
use super::super::testkit::*;
use super::*;

/// What a client is at.
#[derive(Debug, Clone)]
enum At {
    Out,
    Joining(Token),
    Joined(Joined),
    Syncing(Token, i32),
    Member(i32),
}

#[derive(Debug, Clone)]
struct Client {
    at: At,
    member_id: String,
    instance_id: Option<String>,
    subscription: u8,
}

impl Client {
    fn forget(&mut self) {
        self.at = At::Out;
        self.member_id.clear();
    }

    fn join(&self) -> JoinGroup {
        let metadata = subscription(&[&format!("t{}", self.subscription)]);
        JoinGroup {
            instance_id: self.instance_id.clone(),
            require_known_member_id: self.subscription.is_multiple_of(2),
            protocols: vec![GroupProtocol { name: "range".to_owned(), metadata }],
            ..join(&self.member_id)
        }
    }

    fn who(&self, generation: i32) -> GroupMember {
        GroupMember { instance_id: self.instance_id.clone(), ..member(&self.member_id, generation) }
    }
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    /// The newest generation anybody may know of.
    generation: i32,
    seen: usize,
    committed: Option<i64>,
    next_offset: i64,
}

impl World {
    fn new() -> Self {
        let client = |number: u8| Client {
            at: At::Out,
            member_id: String::new(),
            instance_id: (number == 3).then(|| "static".to_owned()),
            subscription: number % 2,
        };
        let clients = (0..4).map(client).collect();
        Self { bench: Bench::new(), clients, generation: 0, seen: 0, committed: None, next_offset: 0 }
    }

    /// A failure as a client takes it.
    fn refused(&mut self, index: usize, error: &GroupError) {
        let client = &mut self.clients[index];
        match error.code() {
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => client.at = At::Out,
            _ => client.forget(),
        }
    }

    /// Takes the answers in that have come.
    fn collect(&mut self) {
        for index in 0..self.clients.len() {
            let token = match self.clients[index].at {
                At::Joining(token) | At::Syncing(token, _) => token,
                _ => continue,
            };
            let Some(answer) = self.bench.answers.remove(&token) else { continue };
            self.answered(index, answer);
        }
        for event in &self.bench.log[self.seen..] {
            match event {
                GroupEvent::ClassicStored { image, .. } => {
                    assert!(image.generation >= self.generation, "generations go up");
                    self.generation = image.generation;
                }
                // Commits are answered at once; what has no text was sought.
                GroupEvent::OffsetCommitted { committed, .. } if committed.metadata.is_empty() => {
                    self.committed = Some(committed.offset.get());
                }
                GroupEvent::GroupDeleted { .. } => {
                    self.generation = 0;
                    self.committed = None;
                }
                _ => {}
            }
        }
        self.seen = self.bench.log.len();
    }

    fn answered(&mut self, index: usize, answer: Answer) {
        let client = &mut self.clients[index];
        match (answer, client.at.clone()) {
            (Ok(GroupReply::Join(JoinGroupReply::MemberIdRequired { member_id })), At::Joining(_)) => {
                client.member_id = member_id;
                client.at = At::Out;
            }
            (Ok(GroupReply::Join(JoinGroupReply::Joined(joined))), At::Joining(_)) => {
                self.generation = self.generation.max(joined.generation);
                client.member_id = joined.member_id.clone();
                client.at = At::Joined(joined);
            }
            (Ok(GroupReply::Sync(reply)), At::Syncing(_, generation)) => {
                // A static member that came back has what was made for its old self.
                if client.instance_id.is_none() {
                    assert_eq!(reply.assignment, part_of(generation, &client.member_id));
                }
                client.at = At::Member(generation);
            }
            (Err(error), _) => self.refused(index, &error),
            other => panic!("{other:?}"),
        }
    }

    /// The client does what the protocol wants next.
    fn step(&mut self, index: usize) {
        let client = self.clients[index].clone();
        match client.at {
            At::Out => {
                let token = self.bench.send(GroupRequest::Join(client.join()));
                self.clients[index].at = At::Joining(token);
            }
            At::Joined(ref joined) => {
                let GroupRequest::Sync(mut request) = sync(joined) else { panic!() };
                request.member = client.who(joined.generation);
                let token = self.bench.send(GroupRequest::Sync(request));
                self.clients[index].at = At::Syncing(token, joined.generation);
            }
            At::Member(generation) => {
                let member = client.who(generation);
                let beat = GroupRequest::Heartbeat(GroupHeartbeat { group: group("g"), member });
                if let Err(error) = self.bench.ask(beat) {
                    self.refused(index, &error);
                }
            }
            At::Joining(_) | At::Syncing(..) => {}
        }
        self.collect();
    }

    fn commit(&mut self, index: usize, generation: i32) {
        self.next_offset += 1;
        let who = self.clients[index].who(generation);
        let known = !who.member_id.is_empty();
        let answer = self.bench.ask(commit(who, vec![offset(1, 0, self.next_offset)]));
        if answer.is_ok() {
            assert_eq!(generation, self.generation, "a commit of an old generation was taken");
            assert!(known);
            self.committed = Some(self.next_offset);
        }
        self.collect();
        assert_eq!(self.bench.offsets().first().map(|held| held.2), self.committed);
    }

    fn seek(&mut self) {
        self.next_offset += 1;
        self.bench.send(seek(&[(1, 0, self.next_offset)], WhenActive::Move));
        self.collect();
        assert_eq!(self.bench.offsets().first().map(|held| held.2), self.committed);
    }

    fn leave(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let leaving = LeavingMember { member_id: client.member_id, instance_id: client.instance_id };
        drop(self.bench.ask(GroupRequest::Leave(LeaveGroup { group: group("g"), members: vec![leaving] })));
        self.clients[index].forget();
        self.collect();
    }

    fn crash(&mut self) {
        self.bench.check_replay();
        self.bench.crash();
        self.generation = 0;
        for event in self.bench.groups.snapshot() {
            if let GroupEvent::ClassicStored { image, .. } = event {
                self.generation = image.generation;
            }
        }
        for client in &mut self.clients {
            if matches!(client.at, At::Joining(_) | At::Syncing(..)) {
                client.at = At::Out;
            }
        }
    }

    fn run(&mut self, action: &Action) {
        match *action {
            Action::Step(index) => self.step(index),
            Action::Die(index) => self.clients[index].forget(),
            Action::Leave(index) => self.leave(index),
            Action::Subscribe(index) => {
                self.clients[index].subscription += 2;
                self.clients[index].at = At::Out;
            }
            Action::Commit(index, back) => {
                let own = match &self.clients[index].at {
                    At::Member(generation) | At::Syncing(_, generation) => *generation,
                    At::Joined(joined) => joined.generation,
                    _ => self.generation,
                };
                self.commit(index, (own - back).max(0));
            }
            Action::Wait(ms) => {
                self.bench.advance(ms);
                self.collect();
            }
            Action::Seek => self.seek(),
            Action::Crash => self.crash(),
        }
    }

    /// Live clients that follow the protocol get one generation with nobody else in it.
    fn settle(&mut self) {
        // The longest of everything: a session that has just begun, a rebalance, a sync, each once for the
        // members that are gone, and the first delay.
        for _ in 0..120 {
            (0..self.clients.len()).for_each(|index| self.step(index));
            self.bench.advance(1_000);
            self.collect();
        }
        let Ok(GroupReply::Describe(described)) = self.bench.ask(GroupRequest::Describe(group("g"))) else {
            panic!("the group is gone")
        };
        assert_eq!(described.members.len(), self.clients.len(), "{described:?}");
        for client in &self.clients {
            assert!(
                matches!(client.at, At::Member(generation) if generation == self.generation),
                "{client:?}"
            );
            let held: Vec<_> =
                described.members.iter().filter(|member| member.member_id == client.member_id).collect();
            assert_eq!(held.len(), 1);
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    Step(usize),
    Die(usize),
    Leave(usize),
    Subscribe(usize),
    /// With a generation so many before its own.
    Commit(usize, i32),
    Wait(i64),
    Seek,
    Crash,
}

fn actions() -> impl Strategy<Value = Action> {
    let client = 0..4_usize;
    prop_oneof![
        24 => client.clone().prop_map(Action::Step),
        2 => client.clone().prop_map(Action::Die),
        2 => client.clone().prop_map(Action::Leave),
        1 => client.clone().prop_map(Action::Subscribe),
        6 => (client, 0..3_i32).prop_map(|(index, back)| Action::Commit(index, back)),
        8 => prop::sample::select(vec![100_i64, 1_000, 3_000, 9_000, 21_000]).prop_map(Action::Wait),
        1 => Just(Action::Seek),
        1 => Just(Action::Crash),
    ]
}

proptest! {
    #[test]
    fn generations_are_whole_commits_are_current_and_live_members_get_on(
        actions in prop::collection::vec(actions(), 1..150),
    ) {
        let mut world = World::new();
        for action in &actions {
            world.run(action);
        }
        world.bench.check_replay();
        world.settle();
        world.bench.check_replay();
    }

    #[test]
    fn hostile_bytes_are_an_error_or_an_event(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in 0..3_u8,
        kind in 1..8_u8,
    ) {
        use crate::codec::Event;
        let length = |bytes: &[u8]| u8::try_from(bytes.len().min(120)).unwrap();
        let mut framed = vec![0x08, version, 0x12, length(&bytes) + 2, kind << 3 | 2, length(&bytes)];
        framed.extend(bytes.iter().take(120));
        for input in [bytes, framed] {
            if let Ok(event) = GroupEvent::decode(&input) {
                prop_assert_eq!(GroupEvent::decode(&event.encode()), Ok(event.clone()));
                let mut groups = Groups::new(GroupConfig::default(), GroupLimits::default());
                groups.apply(&event);
                groups.loaded(Timestamp::from_millis(0));
                drop(groups.on_deadline(Timestamp::from_millis(i64::from(u32::MAX)), &NumberedTopics));
            }
        }
    }
}
