//! The broker's configs under the names they have in Kafka, each with the value that is in force.
//!
//! They are read-only: the broker's configuration is read when it starts.

use tidelog_runtime::{BrokerOptions, ConfigKey, KEPT_CONFIGS, TOPIC_CONFIGS};

use super::synonyms::broker_name;
use super::{SOURCE_DEFAULT, SOURCE_STATIC_BROKER, Synonym, Told, kind_code};
use crate::context::{Context, KafkaOptions, NODE_ID};

/// Type codes of the protocol.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// A config whose value is an option of the broker or of its listener.
struct Row {
    name: &'static str,
    kind: i8,
    value: fn(&BrokerOptions, &KafkaOptions) -> String,
    documentation: &'static str,
}

const fn row(
    name: &'static str,
    kind: i8,
    value: fn(&BrokerOptions, &KafkaOptions) -> String,
    documentation: &'static str,
) -> Row {
    Row { name, kind, value, documentation }
}

const ROWS: &[Row] = &[
    row(
        "auto.create.topics.enable",
        BOOLEAN,
        |broker, _| broker.auto_create_topics.to_string(),
        "topics.auto_create: whether a topic is created when a client first names it.",
    ),
    row(
        "connections.max.idle.ms",
        LONG,
        |_, kafka| kafka.idle_max.as_millis().to_string(),
        "kafka.connection_idle: how long a connection may be silent.",
    ),
    row("default.replication.factor", INT, |_, _| "1".to_owned(), "There is one broker, so one replica."),
    row("delete.topic.enable", BOOLEAN, |_, _| "true".to_owned(), "Topics can be deleted."),
    row(
        "fetch.max.bytes",
        INT,
        |_, kafka| kafka.fetch_bytes_max.to_string(),
        "kafka.fetch_bytes: the most bytes of records in one answer to a fetch.",
    ),
    row(
        "group.consumer.assignors",
        LIST,
        |broker, _| {
            let assignors = broker.group_config.consumer.assignors.iter();
            assignors.map(|assignor| assignor.name()).collect::<Vec<_>>().join(",")
        },
        "How partitions of consumer groups can be assigned; the first is the default.",
    ),
    row(
        "group.consumer.heartbeat.interval.ms",
        INT,
        |broker, _| broker.group_config.consumer.heartbeat_interval_ms.to_string(),
        "groups.consumer_heartbeat_interval: how often members of consumer groups send heartbeats.",
    ),
    row(
        "group.consumer.max.size",
        INT,
        |broker, _| broker.group_config.consumer.members_max.to_string(),
        "groups.consumer_members_max: the most members of a consumer group.",
    ),
    row(
        "group.consumer.session.timeout.ms",
        INT,
        |broker, _| broker.group_config.consumer.session_timeout_ms.to_string(),
        "groups.consumer_session_timeout: how long a member of a consumer group may be silent.",
    ),
    row(
        "group.initial.rebalance.delay.ms",
        INT,
        |broker, _| broker.group_config.initial_rebalance_delay_ms.to_string(),
        "How long an empty group waits for more members after the first.",
    ),
    row(
        "group.max.session.timeout.ms",
        INT,
        |broker, _| broker.group_config.max_session_timeout_ms.to_string(),
        "The longest session timeout a member may ask for.",
    ),
    row(
        "group.max.size",
        INT,
        |broker, _| broker.group_limits.members_max.to_string(),
        "The most members of a group.",
    ),
    row(
        "group.min.session.timeout.ms",
        INT,
        |broker, _| broker.group_config.min_session_timeout_ms.to_string(),
        "The shortest session timeout a member may ask for.",
    ),
    row("log.cleaner.enable", BOOLEAN, |_, _| "true".to_owned(), "Topics with the policy are compacted."),
    row(
        "log.retention.check.interval.ms",
        LONG,
        |broker, _| broker.maintenance_interval.as_millis().to_string(),
        "storage.maintenance_interval: how often retention and compaction run.",
    ),
    row(
        "max.connections",
        INT,
        |_, kafka| kafka.connections_max.to_string(),
        "kafka.connections_max: connections at one time.",
    ),
    row(
        "num.partitions",
        INT,
        |broker, _| broker.default_partitions.to_string(),
        "topics.default_partitions: partitions of a topic created without a number.",
    ),
    row(
        "num.recovery.threads.per.data.dir",
        INT,
        |broker, _| broker.recovery_threads.to_string(),
        "storage.recovery_threads: partitions recovered at one time.",
    ),
    row(
        "offset.metadata.max.bytes",
        INT,
        |broker, _| broker.group_limits.metadata_bytes_max.to_string(),
        "The longest text that is committed with an offset.",
    ),
    row(
        "offsets.retention.check.interval.ms",
        LONG,
        |broker, _| broker.group_config.offsets_retention_check_interval_ms.to_string(),
        "How often committed offsets are looked at.",
    ),
    row(
        "offsets.retention.minutes",
        INT,
        |broker, _| (broker.group_config.offsets_retention_ms / 60_000).to_string(),
        "How long committed offsets of empty groups are kept.",
    ),
    row(
        "producer.id.expiration.ms",
        INT,
        |broker, _| broker.producer_limits.expiration_ms.to_string(),
        "A producer that has appended nothing for so long is forgotten.",
    ),
    row(
        "remote.log.storage.system.enable",
        BOOLEAN,
        |_, _| "false".to_owned(),
        "Records are kept on this broker's disk only.",
    ),
    row(
        "socket.request.max.bytes",
        INT,
        |_, kafka| kafka.request_bytes_max.to_string(),
        "kafka.request_bytes: the largest request.",
    ),
];

/// All configs of the broker, by name.
pub(super) fn described(context: &Context) -> Vec<Told> {
    let (broker, kafka) = (context.broker().options(), &context.shared.options);
    let (default_broker, default_kafka) = (BrokerOptions::new(""), KafkaOptions::default());
    let mut all = identity(context);
    all.extend(ROWS.iter().map(|row| {
        let value = (row.value)(broker, kafka);
        let default = (row.value)(&default_broker, &default_kafka);
        let set = (value != default).then_some(value.as_str());
        told(row.name, row.kind, row.documentation, set, &default)
    }));
    all.extend(TOPIC_CONFIGS.iter().chain(KEPT_CONFIGS).filter_map(|row| topic_default(row, broker)));
    all.extend(kafka.told_configs.iter().map(|(name, value)| {
        let (name, value) = (name.as_str().into(), Some(value.as_str().into()));
        let (synonyms, documentation) = (Vec::new(), "".into());
        Told {
            name,
            value,
            source: SOURCE_STATIC_BROKER,
            read_only: true,
            kind: STRING,
            documentation,
            synonyms,
        }
    }));
    all.sort_by(|left, right| left.name.cmp(&right.name));
    all.dedup_by(|left, right| left.name == right.name);
    all
}

/// What the broker is and where.
fn identity(context: &Context) -> Vec<Told> {
    let (host, port) = context.advertised();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let data_dir = context.broker().options().data_dir.display().to_string();
    let id = NODE_ID.to_string();
    let advertised = format!("PLAINTEXT://{host}:{port}");
    let listeners = format!("PLAINTEXT://{}", context.local);
    let fixed = |name, kind, value: &str, text| {
        let told = told(name, kind, text, Some(value), "");
        // There is no other place they could come from.
        Told { synonyms: told.synonyms.into_iter().take(1).collect(), ..told }
    };
    vec![
        fixed("advertised.listeners", STRING, &advertised, "kafka.advertised_addr: where clients connect."),
        fixed("broker.id", INT, &id, "The only broker there is."),
        fixed("listener.security.protocol.map", STRING, "PLAINTEXT:PLAINTEXT", "Connections are plain."),
        fixed("listeners", STRING, &listeners, "kafka.addr: where the broker listens."),
        fixed("log.dir", STRING, &data_dir, "storage.data_dir: where everything is kept."),
        fixed("log.dirs", STRING, &data_dir, "storage.data_dir: where everything is kept."),
        fixed("node.id", INT, &id, "The only broker there is."),
        fixed("process.roles", LIST, "broker,controller", "The broker decides for itself."),
    ]
}

/// A topic config as the broker's default.
fn topic_default(row: &ConfigKey, broker: &BrokerOptions) -> Option<Told> {
    let set = broker.topic_defaults.get(row.key).map(String::as_str);
    broker_name(row.key).map(|name| told(name, kind_code(row.kind), row.documentation, set, row.default))
}

/// A config that is `set` by the configuration, or has its default.
fn told(name: &'static str, kind: i8, documentation: &str, set: Option<&str>, default: &str) -> Told {
    let mut synonyms = vec![Synonym::new(name, default, SOURCE_DEFAULT)];
    if let Some(value) = set {
        synonyms.insert(0, Synonym::new(name, value, SOURCE_STATIC_BROKER));
    }
    Told {
        name: name.into(),
        value: Some(set.unwrap_or(default).into()),
        source: if set.is_some() { SOURCE_STATIC_BROKER } else { SOURCE_DEFAULT },
        read_only: true,
        kind,
        documentation: documentation.into(),
        synonyms,
    }
}
