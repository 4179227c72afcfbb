//! A broker that serves: start, and stop without losing what is under way.
//!
//! ```text
//! stop: not ready ► streams end after what they have in flight ► listener closed, connections finish or are
//!       cut after the grace ► flush, marker of a clean shutdown
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tidelog_grpc::{DrainSwitch, Services};
use tidelog_kafka::KafkaStats;
use tidelog_runtime::{Broker, BrokerError, OpenError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::Config;
use crate::connections::{ConnectionStats, incoming};
use crate::http;
use crate::metrics::{MetricsPage, Sources, disk_space};

/// Data of one HTTP/2 frame that a client may send, in bytes: fewer and larger ones cost less.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// How long connections may take to notice that they were cut.
const CUT_MAX: Duration = Duration::from_secs(1);

/// Why a broker does not start. The text names the cause and the remedy in one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Other machines could connect, and nobody said that they may.
    #[error(
        "{addr} can be reached from other machines, and there is neither encryption nor authentication yet: \
         listen on 127.0.0.1, or allow it with --insecure-allow-remote-plaintext"
    )]
    Remote {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Another program listens there.
    #[error("{addr} is in use by another program: stop it, or choose another address with {flag}")]
    PortTaken {
        /// The address asked for.
        addr: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; choose another address with {flag}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The data directory, or what is in it, cannot be used.
    #[error("data directory {}: {source} (--data-dir chooses another)", data_dir.display())]
    DataDir {
        /// The data directory.
        data_dir: PathBuf,
        /// Why not.
        source: tidelog_log::OpenError,
    },
    /// The broker does not open.
    #[error(transparent)]
    Open(OpenError),
    /// The descriptors of the services are broken.
    #[error("this build is broken: {0}")]
    Build(String),
}

/// A broker that serves. Dropped without [`Server::shutdown`] it ends like a crash would.
#[derive(Debug)]
pub struct Server {
    api_addr: SocketAddr,
    kafka: Option<Kafka>,
    broker: Broker,
    grace: Duration,
    drain: DrainSwitch,
    cut: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    health: JoinHandle<()>,
    _cut_when_dropped: DropGuard,
}

impl Server {
    /// Takes the port, recovers the data and serves.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let started = SystemTime::now();
        let (listener, api_addr) = listen(&config, config.api_addr, "--api-addr").await?;
        let kafka_listener = match config.kafka_addr {
            Some(addr) => Some(listen(&config, addr, "--kafka-addr").await?),
            None => None,
        };
        let broker = open(&config).await?;

        let (switch, drain) = DrainSwitch::new();
        let services = Services::new(broker.clone(), config.limits(), drain.clone());
        let (grpc, health) = services.routes().map_err(|error| StartError::Build(error.to_string()))?;
        let cut = CancellationToken::new();
        let kafka = kafka_listener.map(|listener| Kafka::start(listener, &config, &broker, &cut));
        let connections = ConnectionStats::new(config.connections_max);
        let metrics = MetricsPage::new(Sources {
            broker: broker.clone(),
            services,
            connections: Arc::clone(&connections),
            kafka: kafka.as_ref().map(|kafka| Arc::clone(&kafka.stats)),
            data_dir: config.data_dir.clone(),
            partition_series_max: config.partition_series_max,
            started,
        });
        let routes = http::routes(grpc, broker.clone(), drain.clone(), metrics).prepare();
        let incoming = incoming(listener, connections, cut.clone());
        let mut drained = drain;
        let serving = http2(&config)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, async move { drained.started().await });
        tracing::info!(%api_addr, kafka_addr = kafka.as_ref().map(|kafka| kafka.addr.to_string()), "serving");
        Ok(Self {
            api_addr,
            kafka,
            broker,
            grace: config.shutdown_grace,
            drain: switch,
            serving: tokio::spawn(serving),
            health: tokio::spawn(health.run()),
            _cut_when_dropped: cut.clone().drop_guard(),
            cut,
        })
    }

    /// The address that is listened on, with the port that was picked.
    #[must_use]
    pub const fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// The address Kafka clients connect to, with the port that was picked; none when it is off.
    #[must_use]
    pub fn kafka_addr(&self) -> Option<SocketAddr> {
        self.kafka.as_ref().map(|kafka| kafka.addr)
    }

    /// The broker behind the API.
    #[must_use]
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Finishes what is under way, for as long as the configuration says, and closes the data directory.
    ///
    /// # Errors
    /// When the last flush fails: what was acknowledged is safe, the next start recovers.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.drain.start();
        let mut kafka = self.kafka.map(|kafka| {
            kafka.drain.cancel();
            kafka.serving
        });
        if tokio::time::timeout(self.grace, ended(&mut self.serving, kafka.as_mut())).await.is_err() {
            tracing::warn!(grace = ?self.grace, "connections are cut: they did not finish in time");
            self.cut.cancel();
            if tokio::time::timeout(CUT_MAX, ended(&mut self.serving, kafka.as_mut())).await.is_err() {
                self.serving.abort();
                if let Some(kafka) = kafka {
                    kafka.abort();
                }
            }
        }
        // It ends by itself; waiting for it lets go of the broker, and with it of the lock on the data.
        self.health.abort();
        let _ended = (&mut self.health).await.is_ok();
        self.broker.shutdown().await
    }
}

/// The listener of the Kafka protocol.
#[derive(Debug)]
struct Kafka {
    addr: SocketAddr,
    stats: Arc<KafkaStats>,
    drain: CancellationToken,
    serving: JoinHandle<()>,
}

impl Kafka {
    fn start(
        (listener, addr): (TcpListener, SocketAddr),
        config: &Config,
        broker: &Broker,
        cut: &CancellationToken,
    ) -> Self {
        let stats = Arc::new(KafkaStats::default());
        // Ends with the server when it is dropped, too.
        let drain = cut.child_token();
        let (broker, options) = (broker.clone(), config.kafka_options());
        let serving = tidelog_kafka::serve(
            listener,
            broker,
            options,
            Arc::clone(&stats),
            drain.clone(),
            cut.child_token(),
        );
        Self { addr, stats, drain, serving: tokio::spawn(serving) }
    }
}

/// Waits until both listeners have ended. A task that was polled to its end must not be polled again.
async fn ended(
    serving: &mut JoinHandle<Result<(), tonic::transport::Error>>,
    kafka: Option<&mut JoinHandle<()>>,
) {
    if !serving.is_finished() {
        let _ended = serving.await.is_ok();
    }
    if let Some(kafka) = kafka
        && !kafka.is_finished()
    {
        let _ended = kafka.await.is_ok();
    }
}

/// Listens on `addr`, which the flag of this name sets.
async fn listen(
    config: &Config,
    addr: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    if !addr.ip().is_loopback() {
        if !config.insecure_allow_remote_plaintext {
            return Err(StartError::Remote { addr });
        }
        tracing::warn!(%addr, "other machines can connect without encryption or authentication");
    }
    let bound = TcpListener::bind(addr).await;
    let listener = bound.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::PortTaken { addr, flag },
        _ => StartError::Listen { addr, source, flag },
    })?;
    let bound = listener.local_addr().map_err(|source| StartError::Listen { addr, source, flag })?;
    Ok((listener, bound))
}

async fn open(config: &Config) -> Result<Broker, StartError> {
    let data_dir = config.data_dir.clone();
    let space = tokio::task::spawn_blocking(move || disk_space(&data_dir)).await.ok().flatten();
    let options = config.broker_options(space.map(|space| space.total));
    Broker::open(options).await.map_err(|error| match error {
        OpenError::DataDir(source) => StartError::DataDir { data_dir: config.data_dir.clone(), source },
        other => StartError::Open(other),
    })
}

fn http2(config: &Config) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        // For /metrics and the probes; gRPC is HTTP/2 without TLS on the same port.
        .accept_http1(true)
        .initial_stream_window_size(config.window_bytes)
        .initial_connection_window_size(config.connection_window_bytes)
        .max_concurrent_streams(config.streams_per_connection_max)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
}
