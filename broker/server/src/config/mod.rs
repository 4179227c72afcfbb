//! The broker's configuration: defaults, then a TOML file, then the environment, then flags.
//!
//! **Invariants**
//! * A key that does not exist is an error that names the nearest one that does; nothing is ignored.
//! * Every value knows where it comes from, and `--print-config` prints a file that gives the same values.

mod keys;
mod load;
mod suggest;
mod units;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tidelog_grpc::Limits;
use tidelog_kafka::KafkaOptions;
use tidelog_runtime::{BrokerOptions, GroupConfig, GroupLimits, ProducerLimits};

pub use load::{Inputs, load};

use self::keys::{KEYS, Shape, TOPIC_DEFAULTS};

/// A key or a value that the configuration refuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ConfigError {
    /// One line that names the place, the cause and the remedy.
    pub message: String,
    /// Whether a flag is at fault, rather than a file or the environment.
    pub is_usage: bool,
}

impl ConfigError {
    fn new(message: String) -> Self {
        Self { message, is_usage: false }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Env(String),
    /// This flag.
    Flag(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a log format: use auto, text or json")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
        .to_owned()
    }
}

/// Everything an operator may choose. [`Config::new`] has the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Partitions recovered at one time.
    pub recovery_threads: usize,
    /// Files flushed at one time.
    pub sync_threads: usize,
    /// How often retention and compaction run.
    pub maintenance_interval: Duration,
    /// Free bytes below which produce is refused; none is [`Config::AUTO_DISK_RESERVE_BYTES`] or a twentieth of
    /// How long a partition remembers an idempotent producer that appends nothing.
    pub producer_id_expiration: Duration,
    /// the file system, whichever is less.
    pub disk_reserve_bytes: Option<u64>,
    /// Where gRPC, `/metrics`, `/livez` and `/readyz` are served; port 0 picks a free one.
    pub api_addr: SocketAddr,
    /// Lets other machines connect without encryption or authentication.
    pub insecure_allow_remote_plaintext: bool,
    /// Connections at one time.
    pub connections_max: usize,
    /// Calls at one time on one connection.
    pub streams_per_connection_max: u32,
    /// HTTP/2 flow control window of one call, in bytes.
    pub window_bytes: u32,
    /// HTTP/2 flow control window of one connection, in bytes.
    pub connection_window_bytes: u32,
    /// How often a silent connection is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// How long the sign of life may take.
    pub keepalive_timeout: Duration,
    /// Where Kafka clients connect; nowhere when there is none.
    pub kafka_addr: Option<SocketAddr>,
    /// The host and port Kafka clients are told to connect to; the one each has reached when there is none.
    pub kafka_advertised: Option<(String, u16)>,
    /// Connections of Kafka clients at one time.
    pub kafka_connections_max: usize,
    /// How long a connection of a Kafka client may be silent.
    pub kafka_connection_idle: Duration,
    /// The largest request of a Kafka client in bytes.
    pub kafka_request_bytes_max: usize,
    /// Requests of one connection of a Kafka client that wait for their answer.
    pub kafka_requests_in_flight_max: usize,
    /// The most bytes of records in one answer to a Kafka client's fetch.
    pub kafka_fetch_bytes_max: usize,
    /// Bytes of records in answers that are being sent to Kafka clients, in all.
    pub kafka_fetch_memory_max: usize,
    /// Whether a Kafka client's topic of more than one replica is made with one; else it is refused.
    pub kafka_clamp_replication_factor: bool,
    /// Bytes of batches on their way into logs, in all.
    pub in_flight_bytes_max: usize,
    /// How long a request waits for room among them.
    pub admission_wait_max: Duration,
    /// The largest produce request in bytes.
    pub request_bytes_max: usize,
    /// Bytes of one produce stream that wait for durability.
    pub stream_in_flight_bytes_max: usize,
    /// Requests of one produce stream that wait for durability.
    pub stream_in_flight_requests_max: usize,
    /// Partitions of a topic created without a number.
    pub default_partitions: i32,
    /// Whether a topic is created when a Kafka client first names it.
    pub auto_create_topics: bool,
    /// Configs of topics that do not set them themselves.
    pub topic_defaults: BTreeMap<String, String>,
    /// How long a group that was empty waits for more members after the first.
    pub group_initial_rebalance_delay: Duration,
    /// The shortest time a member may ask to be silent for.
    pub group_session_timeout_min: Duration,
    /// The longest time a member may ask to be silent for.
    pub group_session_timeout_max: Duration,
    /// The most members of a group.
    pub group_members_max: usize,
    /// How long a member of a consumer group (KIP-848) may be silent.
    pub group_consumer_session_timeout: Duration,
    /// How often members of consumer groups are asked to send heartbeats.
    pub group_consumer_heartbeat_interval: Duration,
    /// The most members of a consumer group.
    pub group_consumer_members_max: usize,
    /// How long offsets of groups without members are kept.
    pub group_offsets_retention: Duration,
    /// The log level, or a filter per module.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Partitions up to which each has its own series in `/metrics`.
    pub partition_series_max: usize,
    /// Threads that serve connections.
    pub worker_threads: usize,
    /// How long calls may go on once the broker is asked to stop.
    pub shutdown_grace: Duration,
    sources: BTreeMap<String, Source>,
}

impl Config {
    /// The reserve of a large disk when none is chosen.
    pub const AUTO_DISK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;

    /// The defaults for a broker with its data in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let options = BrokerOptions::new(data_dir);
        let limits = Limits::default();
        let kafka = KafkaOptions::default();
        Self {
            data_dir: options.data_dir,
            recovery_threads: options.recovery_threads,
            sync_threads: options.sync_threads,
            maintenance_interval: options.maintenance_interval,
            producer_id_expiration: Duration::from_secs(24 * 60 * 60),
            disk_reserve_bytes: None,
            api_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9640)),
            insecure_allow_remote_plaintext: false,
            connections_max: 4_096,
            streams_per_connection_max: 256,
            window_bytes: 2 * 1024 * 1024,
            connection_window_bytes: 8 * 1024 * 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            kafka_addr: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9092))),
            kafka_advertised: kafka.advertised,
            kafka_connections_max: kafka.connections_max,
            kafka_connection_idle: kafka.idle_max,
            kafka_request_bytes_max: kafka.request_bytes_max,
            kafka_requests_in_flight_max: kafka.requests_in_flight_max,
            kafka_fetch_bytes_max: kafka.fetch_bytes_max,
            kafka_fetch_memory_max: kafka.fetch_memory_max,
            kafka_clamp_replication_factor: kafka.clamp_replication_factor,
            in_flight_bytes_max: options.in_flight_bytes_max,
            admission_wait_max: options.admission_wait_max,
            request_bytes_max: limits.request_bytes_max,
            stream_in_flight_bytes_max: limits.stream_in_flight_bytes_max,
            stream_in_flight_requests_max: limits.stream_in_flight_requests_max,
            default_partitions: options.default_partitions,
            auto_create_topics: true,
            topic_defaults: options.topic_defaults,
            group_initial_rebalance_delay: Duration::from_secs(3),
            group_session_timeout_min: Duration::from_secs(6),
            group_session_timeout_max: Duration::from_secs(30 * 60),
            group_members_max: options.group_limits.members_max,
            group_consumer_session_timeout: Duration::from_secs(45),
            group_consumer_heartbeat_interval: Duration::from_secs(5),
            group_consumer_members_max: options.group_config.consumer.members_max,
            group_offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            partition_series_max: 5_000,
            worker_threads: std::thread::available_parallelism().map_or(1, usize::from),
            shutdown_grace: Duration::from_secs(5),
            sources: BTreeMap::new(),
        }
    }

    /// Sets the key `section.name` (or `topics.defaults.NAME`) from text, as the file and the flags do.
    ///
    /// # Errors
    /// [`ConfigError`] when there is no such key, or the value is not one it takes.
    pub fn set(&mut self, name: &str, value: &str, source: Source) -> Result<(), ConfigError> {
        let error = |what: String| ConfigError {
            message: format!("{what} ({source})"),
            is_usage: matches!(source, Source::Flag(_)),
        };
        if let Some(topic_key) = name.strip_prefix(TOPIC_DEFAULTS) {
            self.topic_defaults.insert(topic_key.to_owned(), value.to_owned());
        } else if let Some(key) = keys::find(name) {
            (key.set)(self, value).map_err(|reason| error(format!("{name}: {reason}")))?;
        } else {
            return Err(error(suggest::unknown_key(name)));
        }
        self.sources.insert(name.to_owned(), source);
        Ok(())
    }

    /// Timeouts of groups that only make sense together.
    fn check_timeouts(&self) -> Result<(), ConfigError> {
        let pairs = [
            ("groups.session_timeout_min", "groups.session_timeout_max"),
            ("groups.consumer_heartbeat_interval", "groups.consumer_session_timeout"),
        ];
        let of = [
            (self.group_session_timeout_min, self.group_session_timeout_max),
            (self.group_consumer_heartbeat_interval, self.group_consumer_session_timeout),
        ];
        match pairs.iter().zip(of).find(|(_, (shorter, longer))| shorter > longer) {
            None => Ok(()),
            Some(((shorter, longer), _)) => {
                let (at, there) = (self.source(shorter), self.source(longer));
                Err(ConfigError::new(format!("{shorter} ({at}) must not be longer than {longer} ({there})")))
            }
        }
    }

    fn source(&self, name: &str) -> &Source {
        self.sources.get(name).unwrap_or(&Source::Default)
    }

    /// The effective values as a configuration file, each with where it comes from.
    #[must_use]
    pub fn print(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for key in KEYS {
            let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if of != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = of;
                // Writing to a string cannot fail.
                let _ok = writeln!(out, "{gap}[{section}]").is_ok();
            }
            let value = (key.show)(self);
            let value = if key.shape == Shape::Text { quoted(&value) } else { value };
            let _ok = writeln!(out, "{name} = {value}  # {}; {}", self.source(key.name), key.help).is_ok();
        }
        if !self.topic_defaults.is_empty() {
            out.push_str("\n[topics.defaults]\n");
        }
        for (name, value) in &self.topic_defaults {
            let source = self.source(&format!("{TOPIC_DEFAULTS}{name}"));
            let _ok = writeln!(out, "{} = {}  # {source}", quoted(name), quoted(value)).is_ok();
        }
        out
    }

    /// The options of the broker on a file system of `disk_bytes`.
    pub(crate) fn broker_options(&self, disk_bytes: Option<u64>) -> BrokerOptions {
        let auto = || {
            disk_bytes
                .map_or(Self::AUTO_DISK_RESERVE_BYTES, |all| (all / 20).min(Self::AUTO_DISK_RESERVE_BYTES))
        };
        BrokerOptions {
            recovery_threads: self.recovery_threads,
            sync_threads: self.sync_threads,
            maintenance_interval: self.maintenance_interval,
            disk_reserve_bytes: self.disk_reserve_bytes.unwrap_or_else(auto),
            in_flight_bytes_max: self.in_flight_bytes_max,
            admission_wait_max: self.admission_wait_max,
            default_partitions: self.default_partitions,
            auto_create_topics: self.auto_create_topics,
            topic_defaults: self.topic_defaults.clone(),
            group_config: self.group_config(),
            group_limits: GroupLimits { members_max: self.group_members_max, ..GroupLimits::default() },
            producer_limits: ProducerLimits {
                expiration_ms: i64::try_from(self.producer_id_expiration.as_millis()).unwrap_or(i64::MAX),
                ..ProducerLimits::default()
            },
            ..BrokerOptions::new(&self.data_dir)
        }
    }

    fn group_config(&self) -> GroupConfig {
        let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let mut consumer = GroupConfig::default().consumer;
        consumer.session_timeout_ms = ms(self.group_consumer_session_timeout);
        consumer.heartbeat_interval_ms = ms(self.group_consumer_heartbeat_interval);
        consumer.members_max = self.group_consumer_members_max;
        GroupConfig {
            consumer,
            initial_rebalance_delay_ms: ms(self.group_initial_rebalance_delay),
            min_session_timeout_ms: ms(self.group_session_timeout_min),
            max_session_timeout_ms: ms(self.group_session_timeout_max),
            offsets_retention_ms: i64::try_from(self.group_offsets_retention.as_millis()).unwrap_or(i64::MAX),
            ..GroupConfig::default()
        }
    }

    pub(crate) fn kafka_options(&self) -> KafkaOptions {
        KafkaOptions {
            advertised: self.kafka_advertised.clone(),
            connections_max: self.kafka_connections_max,
            request_bytes_max: self.kafka_request_bytes_max,
            requests_in_flight_max: self.kafka_requests_in_flight_max,
            idle_max: self.kafka_connection_idle,
            fetch_bytes_max: self.kafka_fetch_bytes_max,
            fetch_memory_max: self.kafka_fetch_memory_max,
            clamp_replication_factor: self.kafka_clamp_replication_factor,
            ..KafkaOptions::default()
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            request_bytes_max: self.request_bytes_max,
            stream_in_flight_bytes_max: self.stream_in_flight_bytes_max,
            stream_in_flight_requests_max: self.stream_in_flight_requests_max,
            ..Limits::default()
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
