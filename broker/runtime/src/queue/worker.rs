//! The task of one queue group: it serves what is asked, hands records out, and lets no answer leave before what it
//! says is durable.
//!
//! **Invariants:**
//! * One task owns the group; what takes time runs beside it and comes back as a note.
//! * When something could not be stored, nobody gets an answer from the state that it made: members go, what waits
//!   fails, and the lanes are read back from the log.

use std::sync::Arc;
use std::time::Duration;

use tidelog_core::delivery::{LaneEvent, LaneId};
use tidelog_model::{ErrorCode, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::ask::Ask;
use super::group::{Group, Note, Served};
use super::load::{Begin, Keepers, Loaded, load};
use super::store::{Answer, Effect, Round, Store};
use crate::broker::WeakBroker;
use crate::clock::Clock;
use crate::error::BrokerError;

/// How many asks and notes are served between two flushes.
const ASKS_AT_ONCE: usize = 256;
/// Rounds that are on their way to the device before nothing more is asked.
const ROUNDS_MAX: usize = 64;
/// How long to wait before a log is read again that could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a service may take.
const FINISH: Duration = Duration::from_secs(5);
/// How often retention is heard, at least; also, the wall clock may be set.
const LOOK_MS: i64 = 1_000;

/// What a worker begins with.
pub(super) struct Start {
    pub(super) served: Arc<Served>,
    pub(super) broker: WeakBroker,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) begin: Begin,
    pub(super) keepers: Keepers,
    /// Told when the group is in service for the first time, and where it begins is durable.
    pub(super) ready: Option<oneshot::Sender<Result<(), BrokerError>>>,
}

/// A group in service.
pub(super) struct Service {
    pub(super) group: Group,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) room: Arc<Notify>,
    /// What waits for the next round.
    pub(super) answers: Vec<Answer>,
    looked: Timestamp,
}

enum End {
    /// Nobody needs the group any more.
    Closed,
    /// Something could not be stored.
    Failed(BrokerError),
}

/// Runs a group until nobody needs it any more.
pub(super) async fn run(start: Start, mut asks: mpsc::Receiver<Ask>) {
    let Start { mut served, broker, clock, mut begin, mut keepers, mut ready } = start;
    let mut leases_given = 0;
    loop {
        let Some(owner) = broker.upgrade() else { return };
        let loaded = load(&owner, &served, clock.now(), &begin, leases_given, &mut keepers).await;
        drop(owner);
        let failed = match loaded {
            Ok(loaded) => {
                let mut service = Service::new(&served, &broker, &clock, loaded);
                if let Some(ready) = ready.take() {
                    service.answers.push(Box::new(move |stored| drop(ready.send(stored))));
                }
                let end = service.run(&mut asks).await;
                begin = Begin::First;
                served = Arc::clone(&service.group.served);
                leases_given = service.leases_given().max(leases_given);
                let failed = match end {
                    End::Closed => {
                        service.finish().await;
                        return service.give_up(&BrokerError::shutting_down(), &mut keepers);
                    }
                    End::Failed(error) => not_available(&served, &error),
                };
                service.give_up(&failed, &mut keepers);
                failed
            }
            Err(error) => not_available(&served, &error),
        };
        tracing::error!(group = served.group.as_str(), error = %failed, "the queue group is read back");
        if let Some(ready) = ready.take() {
            return drop(ready.send(Err(failed)));
        }
        if refuse(&mut asks, &failed).await.is_none() {
            return;
        }
    }
}

/// Answers whatever is asked for a while with an error; `None` when nobody will ask any more.
async fn refuse(asks: &mut mpsc::Receiver<Ask>, error: &BrokerError) -> Option<()> {
    let until = Instant::now() + AGAIN;
    loop {
        match tokio::time::timeout_at(until, asks.recv()).await {
            Ok(Some(Ask::Close) | None) => return None,
            Ok(Some(ask)) => ask.refuse(error),
            Err(_) => return Some(()),
        }
    }
}

fn not_available(served: &Served, error: &BrokerError) -> BrokerError {
    if error.code == ErrorCode::ShuttingDown {
        return error.clone();
    }
    let group = served.group.as_str();
    let message = format!("queue group {group} is not available now ({}): try again", error.message);
    BrokerError::new(ErrorCode::CoordinatorNotAvailable, message).retry_after(LOOK_MS)
}

impl Service {
    fn new(served: &Arc<Served>, broker: &WeakBroker, clock: &Arc<dyn Clock>, loaded: Loaded) -> Self {
        let mut group = Group::new(Arc::clone(served), broker.clone());
        group.add(loaded.rows);
        let lanes = group.rows.len();
        tracing::info!(group = served.group.as_str(), lanes, "the queue group is in service");
        Self {
            group,
            store: loaded.store,
            clock: Arc::clone(clock),
            room: Arc::default(),
            answers: Vec::new(),
            looked: Timestamp::from_millis(0),
        }
    }

    async fn run(&mut self, asks: &mut mpsc::Receiver<Ask>) -> End {
        loop {
            if let Err(end) = self.pass() {
                return end;
            }
            let wait = self.wait();
            tokio::select! {
                biased;
                round = self.store.next_round() => match round {
                    Ok(round) => self.stored(round),
                    Err(lost) => return self.lost(*lost),
                },
                Some(note) = self.group.jobs.join_next() => match note {
                    Ok(note) => self.note(note),
                    Err(error) => {
                        return End::Failed(BrokerError::internal(format!("a job ended early: {error}")));
                    }
                },
                ask = asks.recv(), if self.store.rounds() < ROUNDS_MAX => match ask {
                    None | Some(Ask::Close) => return End::Closed,
                    Some(ask) => {
                        if !self.serve(ask, asks) {
                            return End::Closed;
                        }
                    }
                },
                () = self.room.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Serves what is asked; whether there will be more.
    fn serve(&mut self, first: Ask, asks: &mut mpsc::Receiver<Ask>) -> bool {
        self.ask(first);
        for _ in 1..ASKS_AT_ONCE {
            match asks.try_recv() {
                Ok(Ask::Close) => return false,
                Ok(ask) => self.ask(ask),
                Err(_) => return true,
            }
        }
        true
    }

    fn note(&mut self, note: Note) {
        let now = self.clock.now();
        match note {
            Note::Fed(lane, fed) => self.group.fed(now, lane, fed),
            Note::Read(parcel, read) => self.group.read(now, parcel, read),
            Note::Moved(lane, moved) => self.group.moved(now, lane, moved),
            Note::Left(member) => self.group.left(now, member),
            Note::Trimmed => {}
        }
    }

    /// Does what is due, and sends what has changed to the log.
    fn pass(&mut self) -> Result<(), End> {
        let now = self.clock.now();
        self.group.tick(now);
        if now < self.looked || now.millis().saturating_sub(self.looked.millis()) >= LOOK_MS {
            self.looked = now;
            self.group.yield_to_retention(now);
        }
        self.group.start_moves(now);
        self.group.dispatch(now);
        self.flush(now)?;
        if self.store.wants_snapshot() {
            let events = self.group.rows.values().flat_map(|row| row.lane.snapshot());
            let events: Vec<LaneEvent> = events.collect();
            self.store.snapshot(now, events).map_err(|lost| self.lost(*lost))?;
        }
        Ok(())
    }

    fn flush(&mut self, now: Timestamp) -> Result<(), End> {
        let (mut events, mut effects) = (Vec::new(), Vec::new());
        for row in self.group.rows.values_mut() {
            if !std::mem::take(&mut row.dirty) {
                continue;
            }
            events.extend(row.lane.take_event());
            effects.push(Effect {
                lane: row.id(),
                first_unsettled: row.lane.first_unsettled(),
                sequence: row.lane.next_sequence(),
                landed: row.mover.take_landed(),
            });
        }
        let answers = std::mem::take(&mut self.answers);
        if events.is_empty() && effects.is_empty() && answers.is_empty() {
            return Ok(());
        }
        let round = Round { answers, effects, ..Round::default() };
        if events.is_empty() && self.store.is_idle() {
            self.stored(round);
            return Ok(());
        }
        self.store.append(now, events, round).map_err(|lost| self.lost(*lost))
    }

    /// A round is durable.
    fn stored(&mut self, round: Round) {
        for Effect { lane, first_unsettled, sequence, landed } in round.effects {
            if let Some(row) = self.group.rows.get_mut(&lane) {
                row.let_go(first_unsettled);
                row.mover.stored(sequence, landed);
            }
        }
        round.answers.into_iter().for_each(|answer| answer(Ok(())));
        if let Some(before) = round.overtaken {
            let log = Arc::clone(&self.store.partition);
            self.group.jobs.spawn(async move {
                if let Err(error) = log.trim(before).await {
                    tracing::warn!(topic = %log.topic(), %error, "the log before a snapshot could not be dropped");
                }
                Note::Trimmed
            });
        }
    }

    /// Lets what is on its way to the log come to its end.
    async fn finish(&mut self) {
        let now = self.clock.now();
        if self.flush(now).is_err() {
            return;
        }
        let all = async {
            while !self.store.is_idle() {
                let Ok(round) = self.store.next_round().await else { return };
                self.stored(round);
            }
        };
        drop(tokio::time::timeout(FINISH, all).await);
    }

    /// A round is not durable: those who wait for it are told, as all others will be.
    fn lost(&mut self, (round, error): (Round, BrokerError)) -> End {
        let told = not_available(&self.group.served, &error);
        round.answers.into_iter().for_each(|answer| answer(Err(told.clone())));
        End::Failed(error)
    }

    fn leases_given(&self) -> u32 {
        self.group.rows.values().map(|row| row.lane.leases_given()).max().unwrap_or(0)
    }

    /// Ends the service; what keeps the records of its lanes goes on doing so.
    fn give_up(self, error: &BrokerError, keepers: &mut Keepers) {
        let waiting = self.store.into_rounds().into_iter().flat_map(|round| round.answers);
        for answer in waiting.chain(self.answers) {
            answer(Err(error.clone()));
        }
        let rows = self.group.rows.into_iter();
        let kept = rows.map(|(lane, row): (LaneId, _)| (lane, row.into_keeper()));
        keepers.extend(kept);
    }

    fn wait(&self) -> Duration {
        let now = self.clock.now();
        let deadline = self.group.next_deadline();
        let wait = deadline.map_or(LOOK_MS, |deadline| deadline.millis().saturating_sub(now.millis()));
        Duration::from_millis(wait.clamp(1, LOOK_MS).unsigned_abs())
    }
}
