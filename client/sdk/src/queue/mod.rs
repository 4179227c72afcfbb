//! Members of queue groups: records come one by one, and each is settled.

mod delivery;
mod session;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tidelog_proto::v1::SubscribeOpen;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::delivery::{Delivery, Reason};
use self::session::{Command, Session};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

/// How many records a member has at most, when nothing is said.
const CREDIT: i32 = 100;

/// Makes a member of a queue group. See [`Client::queue`].
#[derive(Debug, Clone)]
#[must_use]
pub struct QueueBuilder {
    client: Client,
    open: SubscribeOpen,
}

impl QueueBuilder {
    pub(crate) fn new(client: Client, group: String) -> Self {
        Self { client, open: SubscribeOpen { group, credit_records: CREDIT, ..SubscribeOpen::default() } }
    }

    /// How many records the member may have that are not settled: 100 when nothing is said, at most 100,000.
    pub fn credit(mut self, records: u32) -> Self {
        self.open.credit_records = i32::try_from(records).unwrap_or(i32::MAX);
        self
    }

    /// How long a record is the member's before it counts as failed: as the group is set when nothing is said.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.open.lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// What operators see; at most 256 bytes.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.open.client_id = client_id.into();
        self
    }

    /// Joins the group. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group, `InvalidRequest` when a setting is not allowed,
    /// `Unreachable` when there is no broker.
    pub async fn subscribe(self) -> Result<QueueConsumer> {
        if self.open.credit_records < 1 {
            return Err(Error::invalid("credit: a member without credit gets no records"));
        }
        let (sender, records) = mpsc::unbounded_channel();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (joined, has_joined) = oneshot::channel();
        let session = Session::new(self.client, self.open, sender, receiver, commands.downgrade());
        let task = tokio::spawn(session.run(joined));
        has_joined.await.map_err(|_| Error::closed("queue consumer"))??;
        Ok(QueueConsumer { records, commands: Some(commands), task })
    }
}

/// A member of a queue group: a stream of records, each to be settled.
///
/// It goes on by itself when the broker was away; what the member had then counts as failed and comes again. The
/// stream ends with an error when the group was deleted. Dropping the consumer gives back what nobody has taken
/// from the stream; what was taken can still be settled.
#[derive(Debug)]
pub struct QueueConsumer {
    records: mpsc::UnboundedReceiver<Result<Delivery>>,
    commands: Option<mpsc::UnboundedSender<Command>>,
    task: JoinHandle<()>,
}

impl QueueConsumer {
    /// Takes no more records, gives back those that were not taken from the stream, and waits until all others are
    /// settled and the broker has heard so.
    ///
    /// # Errors
    /// `Timeout` when that takes longer; what is not settled then comes again when its lease ends.
    pub async fn close(mut self, timeout: Duration) -> Result<()> {
        self.records.close();
        while let Ok(delivery) = self.records.try_recv() {
            drop(delivery);
        }
        self.commands = None;
        let ended = tokio::time::timeout(timeout, &mut self.task).await;
        ended.map(|_| ()).map_err(|_| {
            Error::new(ErrorKind::Timeout, "records of the queue group were not settled in time")
        })
    }
}

impl Stream for QueueConsumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.records.poll_recv(context);
        polled.map(|delivery| delivery.map(|delivery| delivery.map(Delivery::taken)))
    }
}
