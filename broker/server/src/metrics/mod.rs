//! `/metrics`: what the broker, its services and the process count, as OpenMetrics text.
//!
//! **Invariant:** the number of series is bounded. Labels are names of calls, codes and reasons, and of
//! partitions up to a configured number of them.

mod groups;
mod partitions;
mod process;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tidelog_grpc::{DURATION_BUCKETS_MS, Services};
use tidelog_kafka::{KafkaStats, REQUEST_BUCKETS_MS, RequestEnd};
use tidelog_runtime::Broker;

pub(crate) use self::process::disk_space;
use self::writer::Writer;
use crate::connections::ConnectionStats;

/// Renders the metrics.
#[derive(Debug)]
pub(crate) struct MetricsPage(Registry);

impl MetricsPage {
    /// What the text is.
    pub(crate) const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// A page about these.
    pub(crate) fn new(sources: Sources) -> Arc<Self> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(sources));
        Arc::new(Self(registry))
    }

    /// The page now. It reads files and walks all partitions.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// Where the numbers come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) broker: Broker,
    pub(crate) services: Services,
    pub(crate) connections: Arc<ConnectionStats>,
    /// Those of Kafka clients, if they can connect.
    pub(crate) kafka: Option<Arc<KafkaStats>>,
    pub(crate) data_dir: PathBuf,
    pub(crate) partition_series_max: usize,
    pub(crate) started: SystemTime,
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer::new(encoder);
        out.info("tidelog_build", "The version that runs", &[("version", env!("CARGO_PKG_VERSION"))])?;
        process::write(&mut out, self.started)?;
        self.write_health(&mut out)?;
        self.write_connections(&mut out)?;
        self.write_calls(&mut out)?;
        self.write_records(&mut out)?;
        self.write_storage(&mut out)?;
        groups::write(&mut out, &self.broker)?;
        partitions::write(&mut out, &self.broker, self.partition_series_max)
    }
}

impl Sources {
    fn write_health(&self, out: &mut Writer<'_>) -> fmt::Result {
        let health = self.broker.health();
        out.gauge("tidelog_ready", "1 while clients should be sent here", u64::from(health.ready))?;
        let problems = "Things an operator should look at; /readyz names them";
        out.gauge("tidelog_problems", problems, health.problems.len())
    }

    fn write_connections(&self, out: &mut Writer<'_>) -> fmt::Result {
        let kafka = self.kafka.as_deref();
        let open = [([("listener", "api")], self.connections.open())];
        let open = open.into_iter().chain(kafka.map(|kafka| ([("listener", "kafka")], kafka.open())));
        out.gauges("tidelog_connections_open", "Connections that are open", open)?;
        let of = |listener, result, count: u64| ([("listener", listener), ("result", result)], count);
        let mut ended = vec![
            of("api", "accepted", self.connections.accepted()),
            of("api", "refused", self.connections.refused()),
        ];
        if let Some(kafka) = kafka {
            ended.push(of("kafka", "accepted", kafka.accepted()));
            ended.push(of("kafka", "refused", kafka.refused()));
            ended.push(of("kafka", "broken", kafka.broken()));
        }
        out.counters(
            "tidelog_connections",
            "Connections, those closed at once because there were too many, and those closed over what was sent",
            ended,
        )
    }

    fn write_calls(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = self.services.metrics();
        let of = |api: &'static str| [("protocol", "grpc"), ("api", api)];
        let of_kafka = |api: &'static str| [("protocol", "kafka"), ("api", api)];
        let kafka = || self.kafka.iter().flat_map(|kafka| kafka.apis());
        let codes = metrics.iter().flat_map(|(api, stats)| {
            stats.codes().map(move |(code, count)| {
                ([("protocol", "grpc"), ("api", api.name()), ("code", writer::code_name(code))], count)
            })
        });
        let ends = kafka().flat_map(|(api, stats)| {
            RequestEnd::ALL.into_iter().map(move |end| {
                let labels = [("protocol", "kafka"), ("api", api.name), ("code", writer::end_name(end))];
                (labels, stats.ended(end))
            })
        });
        let codes = codes.chain(ends.filter(|(_, count)| *count > 0));
        out.counters("tidelog_requests", "Calls that ended, by their code", codes)?;
        let in_flight = metrics.iter().map(|(api, stats)| (of(api.name()), stats.in_flight()));
        let in_flight = in_flight.chain(kafka().map(|(api, stats)| (of_kafka(api.name), stats.in_flight())));
        out.gauges("tidelog_requests_inflight", "Calls that are served now", in_flight)?;
        let durations = metrics.iter().map(|(api, stats)| {
            let (counts, sum_seconds) = stats.durations();
            let bounds = DURATION_BUCKETS_MS.iter().map(|ms| ms / 1_000.0).chain([f64::INFINITY]);
            (of(api.name()), bounds.zip(counts).collect::<Vec<_>>(), sum_seconds)
        });
        let durations = durations.chain(kafka().map(|(api, stats)| {
            let (counts, sum_seconds) = stats.durations();
            let bounds = REQUEST_BUCKETS_MS.iter().map(|ms| ms / 1_000.0).chain([f64::INFINITY]);
            (of_kafka(api.name), bounds.zip(counts).collect::<Vec<_>>(), sum_seconds)
        }));
        let called = durations.filter(|(_, buckets, _)| buckets.iter().any(|(_, count)| *count > 0));
        out.histograms("tidelog_request_duration_seconds", "How long calls took", called)
    }

    fn write_records(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = self.broker.metrics();
        out.counter("tidelog_produce_batches", "Batches that clients appended", metrics.batches_in.get())?;
        out.counter("tidelog_produce_records", "Records in them", metrics.records_in.get())?;
        out.counter("tidelog_produce_bytes", "Their bytes", metrics.bytes_in.get())?;
        let again = "Batches of idempotent producers that were stored already and sent again";
        out.counter("tidelog_produce_duplicates", again, metrics.duplicates_in.get())?;
        let rejected = [
            ("invalid", &metrics.rejected_invalid),
            ("overloaded", &metrics.rejected_overloaded),
            ("disk_full", &metrics.rejected_disk_full),
            ("storage", &metrics.rejected_storage),
        ];
        let rejected = rejected.map(|(reason, count)| ([("reason", reason)], count.get()));
        out.counters(
            "tidelog_produce_rejected",
            "Batches (for overloaded: requests) that were refused",
            rejected,
        )?;
        out.counter("tidelog_fetch_reads", "Reads that returned batches", metrics.reads.get())?;
        out.counter(
            "tidelog_fetch_cold_reads",
            "Reads that had to ask the device",
            metrics.cold_reads.get(),
        )?;
        out.counter("tidelog_fetch_bytes", "Bytes of batches that reads returned", metrics.bytes_out.get())?;
        let in_flight = "Bytes of requests on their way into logs";
        out.gauge("tidelog_in_flight_bytes", in_flight, self.broker.in_flight_bytes())?;
        let max = self.broker.options().in_flight_bytes_max;
        out.gauge("tidelog_in_flight_limit_bytes", "The most there may be of them", max)
    }

    fn write_storage(&self, out: &mut Writer<'_>) -> fmt::Result {
        let metrics = self.broker.metrics();
        let append = metrics.append_seconds.snapshot();
        let mut below = 0;
        let alone = |(bound, up_to): &(f64, u64)| (*bound, up_to - std::mem::replace(&mut below, *up_to));
        let buckets: Vec<_> = append.buckets.iter().map(alone).collect();
        let help = "From the moment a batch gets its offsets until it is committed";
        out.histogram("tidelog_append_seconds", help, &buckets, append.sum_seconds)?;
        let deleted = "Bytes that retention, compaction and deletions of records freed";
        out.counter("tidelog_deleted_bytes", deleted, metrics.bytes_deleted.get())?;
        let failures = "Rounds of retention and compaction that failed";
        out.counter("tidelog_maintenance_failures", failures, metrics.maintenance_failures.get())?;
        // Not knowing is shown by leaving them out.
        if let Some(space) = process::disk_space(&self.data_dir) {
            out.gauge("tidelog_disk_free_bytes", "Free space of the data directory's disk", space.free)?;
            out.gauge("tidelog_disk_total_bytes", "Size of the data directory's disk", space.total)?;
        }
        Ok(())
    }
}
