//! What a request is answered with: the broker, the options, and who asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidelog_runtime::Broker;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::stats::KafkaStats;

/// The id of the only broker there is. Clients keep connections and leaders apart by it.
pub(crate) const NODE_ID: i32 = 1;

/// How the Kafka listener behaves.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// What clients are told to connect to; `None` tells each the address it reached the broker at.
    pub advertised: Option<(String, u16)>,
    /// Connections at one time.
    pub connections_max: usize,
    /// The largest request in bytes (Kafka's `socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Requests of one connection that wait for their answer; more are not read.
    pub requests_in_flight_max: usize,
    /// How long a connection may be silent (Kafka's `connections.max.idle.ms`).
    pub idle_max: Duration,
    /// The most bytes of records in one fetch response (Kafka's `fetch.max.bytes`).
    pub fetch_bytes_max: usize,
    /// Bytes of records in memory on their way to clients, of all connections together. When they are used up,
    /// records are read in small pieces.
    pub fetch_memory_max: usize,
    /// The longest a fetch waits for records.
    pub fetch_wait_max: Duration,
    /// Whether a topic that is asked for with more than one replica is made with the one there is; else it is
    /// refused.
    pub clamp_replication_factor: bool,
    /// The largest batch a producer's records may unfold to, and other values told in broker configs, come
    /// from the broker's own options; these are further ones told as they are: key and value.
    pub told_configs: Vec<(String, String)>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            advertised: None,
            connections_max: 10_000,
            request_bytes_max: 100 * 1024 * 1024,
            requests_in_flight_max: 64,
            idle_max: Duration::from_secs(600),
            // Most clients have one fetch on its way at a time and take an answer into memory whole before they
            // look at it: the larger it is, the more that costs them.
            fetch_bytes_max: 4 * 1024 * 1024,
            fetch_memory_max: 512 * 1024 * 1024,
            fetch_wait_max: Duration::from_secs(300),
            clamp_replication_factor: true,
            told_configs: Vec::new(),
        }
    }
}

/// What all connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) options: KafkaOptions,
    pub(crate) stats: Arc<KafkaStats>,
    /// The room in memory for records on their way to clients.
    pub(crate) fetch_room: Arc<Semaphore>,
    /// Cancelled when the broker is about to stop: waiting fetches end, nothing more is read.
    pub(crate) drain: CancellationToken,
}

impl Shared {
    pub(crate) fn new(
        broker: Broker,
        options: KafkaOptions,
        stats: Arc<KafkaStats>,
        drain: CancellationToken,
    ) -> Self {
        let fetch_room = Arc::new(Semaphore::new(options.fetch_memory_max.min(Semaphore::MAX_PERMITS)));
        Self { broker, options, stats, fetch_room, drain }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The address it reached us at.
    pub(crate) local: SocketAddr,
}

impl Context {
    pub(crate) fn broker(&self) -> &Broker {
        &self.shared.broker
    }

    /// The host and port this client is told to connect to.
    pub(crate) fn advertised(&self) -> (String, i32) {
        match &self.shared.options.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (self.local.ip().to_canonical().to_string(), i32::from(self.local.port())),
        }
    }
}

/// One request, without its body.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The version it is written in; one that the API's row in the table allows.
    pub(crate) version: i16,
    /// The name the client gives itself; empty when it gives none.
    pub(crate) client_id: String,
}
