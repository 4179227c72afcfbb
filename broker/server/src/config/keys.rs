//! Every key of the configuration in one table: how it is named, read and shown.
//!
//! The file, the environment and the flags all set keys through this table, so a key added here exists in
//! all of them, in `--print-config` and in the list that suggestions are drawn from.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::{Config, LogFormat, units};

/// How a value is written in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Bare,
}

/// One key.
pub(super) struct Key {
    /// `section.name`.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// One line for `--print-config`.
    pub(super) help: &'static str,
    pub(super) show: fn(&Config) -> String,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

macro_rules! keys {
    ($($name:literal $shape:ident $field:ident : $read:path, $show:path, $help:literal;)+) => {
        /// The table.
        pub(super) const KEYS: &[Key] = &[$(Key {
            name: $name,
            shape: Shape::$shape,
            help: $help,
            show: |config| $show(&config.$field),
            set: |config, text| { config.$field = $read(text)?; Ok(()) },
        }),+];
    };
}

keys! {
    "storage.data_dir" Text data_dir: path, show_path, "where everything is kept";
    "storage.recovery_threads" Bare recovery_threads: count, show_plain, "partitions recovered at one time";
    "storage.sync_threads" Bare sync_threads: count, show_plain, "files flushed at one time";
    "storage.maintenance_interval" Text maintenance_interval: positive_duration, show_time,
        "how often retention and compaction run";
    "storage.producer_id_expiration" Text producer_id_expiration: positive_duration, show_time,
        "how long a partition remembers an idle idempotent producer (producer.id.expiration.ms)";
    "storage.disk_reserve" Text disk_reserve_bytes: size_or_auto, show_size_or_auto,
        "free space below which produce is refused; auto is 256MiB or a twentieth of the disk, whichever is less";
    "api.addr" Text api_addr: address, show_plain, "gRPC, /metrics, /livez and /readyz; port 0 picks a free one";
    "api.insecure_allow_remote_plaintext" Bare insecure_allow_remote_plaintext: boolean, show_plain,
        "let other machines connect without encryption or authentication";
    "api.connections_max" Bare connections_max: count, show_plain, "connections at one time";
    "api.streams_per_connection_max" Bare streams_per_connection_max: count_u32, show_plain,
        "calls at one time on one connection";
    "api.window" Text window_bytes: window, show_u32, "HTTP/2 flow control window of one call";
    "api.connection_window" Text connection_window_bytes: window, show_u32,
        "HTTP/2 flow control window of one connection";
    "api.keepalive_interval" Text keepalive_interval: positive_duration, show_time,
        "how often a silent connection is asked for a sign of life";
    "api.keepalive_timeout" Text keepalive_timeout: positive_duration, show_time,
        "how long the sign of life may take";
    "kafka.addr" Text kafka_addr: address_or_off, show_address_or_off,
        "where Kafka clients connect; port 0 picks a free one, off is nowhere";
    "kafka.advertised_addr" Text kafka_advertised: advertised, show_advertised,
        "HOST:PORT that Kafka clients are told to connect to; auto is the address each has reached the broker at";
    "kafka.connections_max" Bare kafka_connections_max: count, show_plain, "connections of Kafka clients at one time";
    "kafka.connection_idle" Text kafka_connection_idle: positive_duration, show_time,
        "how long a connection of a Kafka client may be silent before it is closed";
    "kafka.request_bytes" Text kafka_request_bytes_max: request_size, show_size, "the largest request of a Kafka client";
    "kafka.requests_in_flight" Bare kafka_requests_in_flight_max: count, show_plain,
        "requests of one connection that wait for their answer; more are not read";
    "kafka.fetch_bytes" Text kafka_fetch_bytes_max: size, show_size, "the most bytes of records in one answer to a fetch";
    "kafka.fetch_memory" Text kafka_fetch_memory_max: size, show_size,
        "records in memory on their way to Kafka clients, in all; beyond it they are read in small pieces";
    "kafka.clamp_replication_factor" Bare kafka_clamp_replication_factor: boolean, show_plain,
        "make a topic that is asked for with more replicas with the one there is; else it is refused";
    "limits.in_flight_bytes" Text in_flight_bytes_max: size, show_size,
        "batches on their way into logs, in all";
    "limits.admission_wait" Text admission_wait_max: units::parse_duration, show_time,
        "how long a request waits for room among them";
    "limits.request_bytes" Text request_bytes_max: size, show_size, "the largest produce request";
    "limits.stream_in_flight_bytes" Text stream_in_flight_bytes_max: size, show_size,
        "batches of one produce stream that wait for durability";
    "limits.stream_in_flight_requests" Bare stream_in_flight_requests_max: count, show_plain,
        "requests of one produce stream that wait for durability";
    "topics.default_partitions" Bare default_partitions: partitions, show_plain,
        "partitions of a topic created without a number";
    "topics.auto_create" Bare auto_create_topics: boolean, show_plain,
        "create a topic when a Kafka client first names it";
    "groups.initial_rebalance_delay" Text group_initial_rebalance_delay: units::parse_duration, show_time,
        "how long an empty group waits for more members after the first (group.initial.rebalance.delay.ms)";
    "groups.session_timeout_min" Text group_session_timeout_min: positive_duration, show_time,
        "the shortest session timeout a member may ask for (group.min.session.timeout.ms)";
    "groups.session_timeout_max" Text group_session_timeout_max: positive_duration, show_time,
        "the longest session timeout a member may ask for (group.max.session.timeout.ms)";
    "groups.members_max" Bare group_members_max: count, show_plain, "members of one group (group.max.size)";
    "groups.consumer_session_timeout" Text group_consumer_session_timeout: positive_duration, show_time,
        "how long a member of a consumer group (KIP-848) may be silent (group.consumer.session.timeout.ms)";
    "groups.consumer_heartbeat_interval" Text group_consumer_heartbeat_interval: positive_duration, show_time,
        "how often members of consumer groups are asked to send heartbeats (group.consumer.heartbeat.interval.ms)";
    "groups.consumer_members_max" Bare group_consumer_members_max: count, show_plain,
        "members of one consumer group (group.consumer.max.size)";
    "groups.offsets_retention" Text group_offsets_retention: positive_duration, show_time,
        "how long offsets of groups without members are kept (offsets.retention.minutes)";
    "log.level" Text log_level: level, show_text, "error, warn, info, debug or trace, or a filter per module";
    "log.format" Text log_format: LogFormat::parse, LogFormat::show, "auto, text or json";
    "metrics.partition_series_max" Bare partition_series_max: number, show_plain,
        "partitions up to which each has its own series in /metrics";
    "runtime.worker_threads" Bare worker_threads: count, show_plain, "threads that serve connections";
    "shutdown.grace" Text shutdown_grace: units::parse_duration, show_time,
        "how long calls may go on after SIGTERM";
}

/// The prefix of topic defaults, whose keys are Kafka's topic configs.
pub(super) const TOPIC_DEFAULTS: &str = "topics.defaults.";

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn path(text: &str) -> Result<std::path::PathBuf, String> {
    if text.is_empty() { Err("the path is empty".to_owned()) } else { Ok(text.into()) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| format!("{text:?} is not an address: write HOST:PORT, like 127.0.0.1:9640"))
}

fn address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.trim() == "off" { Ok(None) } else { address(text).map(Some) }
}

/// A name need not resolve here: it is for the clients.
fn advertised(text: &str) -> Result<Option<(String, u16)>, String> {
    let text = text.trim();
    if text == "auto" {
        return Ok(None);
    }
    let parted = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let named = |(host, port): &(&str, u16)| !host.is_empty() && host.len() <= 255 && *port != 0;
    let (host, port) = parted
        .filter(named)
        .ok_or_else(|| format!("{text:?} is neither auto nor HOST:PORT, like broker.example.com:9092"))?;
    Ok(Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)))
}

/// A frame of the protocol has a length of 31 bits.
fn request_size(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    let most = 0x7fff_ffff;
    if bytes > most { Err(format!("{text:?} is more than 2GiB")) } else { Ok(bytes) }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().replace('_', "").parse().map_err(|_| format!("{text:?} is not a whole number in range"))
}

fn count(text: &str) -> Result<usize, String> {
    number(text).and_then(|value: usize| if value == 0 { Err(at_least_one(text)) } else { Ok(value) })
}

fn count_u32(text: &str) -> Result<u32, String> {
    number(text).and_then(|value: u32| if value == 0 { Err(at_least_one(text)) } else { Ok(value) })
}

fn partitions(text: &str) -> Result<i32, String> {
    let most = tidelog_model::limits::PARTITIONS_PER_TOPIC_MAX;
    let in_range = |value: &i32| (1..=most).contains(value);
    number(text).ok().filter(in_range).ok_or_else(|| format!("{text:?} is not a number from 1 to {most}"))
}

fn at_least_one(text: &str) -> String {
    format!("{text:?} is too small: it must be at least 1")
}

fn boolean(text: &str) -> Result<bool, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = units::parse_size(text)?;
    match usize::try_from(bytes) {
        Ok(0) => Err(at_least_one(text)),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(format!("{text:?} is more than this machine can address")),
    }
}

fn size_or_auto(text: &str) -> Result<Option<u64>, String> {
    if text.trim() == "auto" { Ok(None) } else { units::parse_size(text).map(Some) }
}

/// HTTP/2 allows windows of 64 KiB - 1 to 2 GiB - 1.
fn window(text: &str) -> Result<u32, String> {
    let bytes = units::parse_size(text)?;
    let in_range = (0xffff..=0x7fff_ffff).contains(&bytes);
    u32::try_from(bytes)
        .ok()
        .filter(|_| in_range)
        .ok_or_else(|| format!("{text:?} is not from 64KiB to just below 2GiB"))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = units::parse_duration(text)?;
    if duration.is_zero() { Err(format!("{text:?}: it must be longer than 0")) } else { Ok(duration) }
}

/// The filter itself takes any word for the name of a module, so a misspelt level would silence everything.
fn level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |part: &str| {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))
    };
    if text.split(',').all(is_level) && tracing_subscriber::EnvFilter::try_new(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a log level: use error, warn, info, debug or trace"))
}

fn show_path(path: &std::path::Path) -> String {
    path.display().to_string()
}

fn show_plain<T: ToString>(value: &T) -> String {
    value.to_string()
}

fn show_address_or_off(address: &Option<SocketAddr>) -> String {
    address.map_or_else(|| "off".to_owned(), |address| address.to_string())
}

fn show_advertised(address: &Option<(String, u16)>) -> String {
    match address {
        None => "auto".to_owned(),
        Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Some((host, port)) => format!("{host}:{port}"),
    }
}

fn show_text(value: &str) -> String {
    value.to_owned()
}

fn show_time(duration: &Duration) -> String {
    units::show_duration(*duration)
}

fn show_size_or_auto(bytes: &Option<u64>) -> String {
    bytes.map_or_else(|| "auto".to_owned(), units::show_size)
}

fn show_u32(bytes: &u32) -> String {
    units::show_size(u64::from(*bytes))
}

fn show_size(bytes: &usize) -> String {
    units::show_size(u64::try_from(*bytes).unwrap_or(u64::MAX))
}
