//! The task behind a member: keeps its stream open, hands out what comes, and sends what was said of it.
//!
//! **Invariants**
//! * A member never has more unsettled records than its credit, over broken streams too.
//! * What was said is said again on the next stream until it is answered: the broker answers it once.

use std::collections::HashMap;
use std::time::Duration;

use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicName};
use tidelog_proto::v1::settle_range::Verb;
use tidelog_proto::v1::subscribe_request::Kind as Ask;
use tidelog_proto::v1::subscribe_response::Kind as Told;
use tidelog_proto::v1::{
    Deliveries, QueueRecord, SettleRange, SettleRequest, SettleResponse, SettleResult, SubscribeOpen,
    SubscribeRequest, SubscribeResponse,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::delivery::{Delivery, Hand, is_refused};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

/// The most settles of one message.
const RANGES_MAX: usize = 1_000;
/// How long the broker may take to end the stream of a member that leaves.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Something to say of a record.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) range: SettleRange,
    /// Nobody waits for the answer when it is `None`.
    pub(super) answer: Option<oneshot::Sender<SettleResult>>,
}

/// The member.
pub(super) struct Session {
    client: Client,
    open: SubscribeOpen,
    records: mpsc::UnboundedSender<Result<Delivery>>,
    commands: mpsc::UnboundedReceiver<Command>,
    commander: mpsc::WeakUnboundedSender<Command>,
    /// Said, and not answered yet, by request.
    said: HashMap<u64, Vec<Command>>,
    requests: u64,
    /// Records in the program's hands.
    held: i32,
    backoff: Backoff,
}

/// An open stream.
struct Connection {
    asks: mpsc::UnboundedSender<SubscribeRequest>,
    told: Streaming<SubscribeResponse>,
    /// The broker shuts down: it waits a while for what the member has.
    draining: bool,
}

impl Connection {
    fn ask(&self, kind: Ask) {
        // On a broken stream the next message says so.
        drop(self.asks.send(SubscribeRequest { kind: Some(kind) }));
    }
}

impl Session {
    pub(super) fn new(
        client: Client,
        open: SubscribeOpen,
        records: mpsc::UnboundedSender<Result<Delivery>>,
        commands: mpsc::UnboundedReceiver<Command>,
        commander: mpsc::WeakUnboundedSender<Command>,
    ) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let said = HashMap::new();
        Self { client, open, records, commands, commander, said, requests: 0, held: 0, backoff }
    }

    /// Runs until nobody has the consumer or one of its records, or until it cannot go on.
    pub(super) async fn run(mut self, joined: oneshot::Sender<Result<()>>) {
        let first = self.connect().await;
        let mut connection = match first {
            Ok(connection) => {
                if joined.send(Ok(())).is_err() {
                    return;
                }
                connection
            }
            Err(error) => {
                drop(joined.send(Err(error)));
                return;
            }
        };
        loop {
            let Err(error) = self.serve(connection).await else { return };
            tracing::debug!(%error, "the stream of a queue group broke");
            connection = match self.reconnect(error).await {
                Some(connection) => connection,
                None => return,
            };
        }
    }

    /// Opens a stream.
    async fn connect(&mut self) -> Result<Connection> {
        let (asks, receiver) = mpsc::unbounded_channel();
        let credit_records = self.open.credit_records.saturating_sub(self.held).max(0);
        let open = SubscribeOpen { credit_records, ..self.open.clone() };
        drop(asks.send(SubscribeRequest { kind: Some(Ask::Open(open)) }));
        let mut api = self.client.queue_api();
        let call = api.subscribe(UnboundedReceiverStream::new(receiver));
        let mut told = self.client.call_once(call).await?;
        let first = async { told.message().await.map(tonic::Response::new) };
        match self.client.call_once(first).await?.and_then(|told| told.kind) {
            Some(Told::Subscribed(_)) => {}
            _ => return Err(Error::protocol("the broker did not say that the member has joined")),
        }
        self.backoff.reset();
        let connection = Connection { asks, told, draining: false };
        let again: Vec<Command> = self.said.drain().flat_map(|(_, commands)| commands).collect();
        self.say(&connection, again);
        Ok(connection)
    }

    /// Opens the next stream, however long that takes; `None` when it cannot be, or nobody wants it any more.
    async fn reconnect(&mut self, mut error: Error) -> Option<Connection> {
        loop {
            let for_good = matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::InvalidRequest | ErrorKind::Denied | ErrorKind::Conflict
            );
            if for_good {
                drop(self.records.send(Err(error)));
                return None;
            }
            // When nobody has anything to say any more: all leases ended with the stream.
            self.commander.upgrade()?;
            tokio::time::sleep(self.backoff.next(rand::random())).await;
            match self.connect().await {
                Ok(connection) => return Some(connection),
                Err(failed) => error = failed,
            }
        }
    }

    /// Serves one stream until it breaks, or until nobody has anything to say any more; the stream is closed then.
    async fn serve(&mut self, mut connection: Connection) -> Result<()> {
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { break };
                    let mut commands = vec![command];
                    while commands.len() < RANGES_MAX {
                        let Ok(command) = self.commands.try_recv() else { break };
                        commands.push(command);
                    }
                    self.say(&connection, commands);
                }
                message = connection.told.message() => {
                    let kind = self.message(message)?;
                    self.hear(&mut connection, kind)?;
                }
            }
            if connection.draining && self.held <= 0 && self.said.is_empty() {
                return Err(Error::new(ErrorKind::Unreachable, "the broker shuts down"));
            }
        }
        // The consumer and all its records are gone: whoever dropped one has said so.
        let answered = async {
            while !self.said.is_empty() {
                let message = connection.told.message().await;
                match self.message(message)? {
                    Told::Settled(settled) => drop(self.settled(settled)),
                    Told::Deliveries(_) | Told::Subscribed(_) | Told::Draining(_) => {}
                }
            }
            Ok::<(), Error>(())
        };
        drop(tokio::time::timeout(LEAVE_TIME, answered).await);
        Ok(())
    }

    fn message(&self, message: std::result::Result<Option<SubscribeResponse>, Status>) -> Result<Told> {
        match message {
            Ok(Some(told)) => told.kind.ok_or_else(|| Error::protocol("the broker's message says nothing")),
            Ok(None) => Err(Error::new(ErrorKind::Unreachable, "the broker ended the stream")),
            Err(status) => Err(self.client.error(&status)),
        }
    }

    fn hear(&mut self, connection: &mut Connection, told: Told) -> Result<()> {
        match told {
            Told::Deliveries(deliveries) => self.hand_out(deliveries),
            Told::Settled(settled) => {
                let freed = self.settled(settled);
                if freed > 0 && !self.records.is_closed() {
                    connection.ask(Ask::CreditRecords(freed));
                }
                Ok(())
            }
            Told::Draining(_) => {
                connection.draining = true;
                Ok(())
            }
            Told::Subscribed(_) => Ok(()),
        }
    }

    /// Says it, and remembers that until it is answered.
    fn say(&mut self, connection: &Connection, commands: Vec<Command>) {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let some: Vec<Command> = commands.by_ref().take(RANGES_MAX).collect();
            self.requests = self.requests.wrapping_add(1);
            let ranges = some.iter().map(|command| command.range.clone()).collect();
            let group = self.open.group.clone();
            connection.ask(Ask::Settle(SettleRequest { group, request_id: self.requests, ranges }));
            self.said.insert(self.requests, some);
        }
    }

    /// Tells whoever waits what has become of it; how many records left the program's hands.
    fn settled(&mut self, settled: SettleResponse) -> i32 {
        let Some(commands) = self.said.remove(&settled.request_id) else { return 0 };
        let mut freed = 0_i32;
        for (command, result) in commands.into_iter().zip(settled.results) {
            let refused = is_refused(&result);
            // Whoever asked may have given up.
            let heard = command.answer.is_some_and(|answer| answer.send(result).is_ok());
            // A record that was refused is still in the hands of whoever heard so.
            let still_held = matches!(command.range.verb, Some(Verb::Renew(_))) || (refused && heard);
            freed = freed.saturating_add(i32::from(!still_held));
        }
        self.held = self.held.saturating_sub(freed);
        freed
    }

    fn hand_out(&mut self, deliveries: Deliveries) -> Result<()> {
        let broken = |what: &str| Error::protocol(format!("the broker sent records with a bad {what}"));
        let topic = TopicName::new(&deliveries.topic).map_err(|_| broken("topic"))?;
        let partition = PartitionIndex::new(deliveries.partition).ok_or_else(|| broken("partition"))?;
        // Nobody has the consumer: the stream is about to end.
        let Some(commands) = self.commander.upgrade() else { return Ok(()) };
        for record in deliveries.records {
            let offset = Offset::new(record.offset).ok_or_else(|| broken("offset"))?;
            let hand = Hand {
                lease: deliveries.lease_id,
                commands: Some(commands.clone()),
                answer_in: self.client.request_timeout(),
                taken: false,
                settled: false,
            };
            self.held = self.held.saturating_add(1);
            // A consumer that is gone gives it back by dropping it.
            drop(self.records.send(Ok(delivery(topic.clone(), partition, offset, record, hand))));
        }
        Ok(())
    }
}

fn delivery(
    topic: TopicName,
    partition: PartitionIndex,
    offset: Offset,
    record: QueueRecord,
    hand: Hand,
) -> Delivery {
    Delivery {
        topic,
        partition,
        offset,
        timestamp: Timestamp::from_millis(record.timestamp_ms),
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|header| (header.key, header.value)).collect(),
        attempt: u32::try_from(record.attempt).unwrap_or_default(),
        redrives: u32::try_from(record.redrives).unwrap_or_default(),
        first_failure: record.first_failure_ms.map(Timestamp::from_millis),
        hand,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
