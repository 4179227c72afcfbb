//! Writes families of series, so that each metric is one call.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use tidelog_kafka::RequestEnd;
use tonic::Code;

/// A bucket's upper bound and how many observations fall into it alone.
pub(super) type Bucket = (f64, u64);

/// Writes metrics.
pub(super) struct Writer<'a>(DescriptorEncoder<'a>);

impl<'a> Writer<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    fn start<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        self.start(name, help, MetricType::Info)?.encode_info(&labels)
    }

    /// A counter; `_total` is added to its name.
    pub(super) fn counter<V: EncodeCounterValue>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        self.start(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.start(name, help, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Gauge) -> fmt::Result {
        self.start(name, help, MetricType::Gauge)?.encode_gauge(&value.value())
    }

    pub(super) fn gauges<L: EncodeLabelSet, V: Gauge>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.start(name, help, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value.value())?;
        }
        Ok(())
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, buckets: &[Bucket], sum: f64) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut histogram = self.start(name, help, MetricType::Histogram)?;
        histogram.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    pub(super) fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, Vec<Bucket>, f64)>,
    ) -> fmt::Result {
        let mut family = self.start(name, help, MetricType::Histogram)?;
        for (labels, buckets, sum) in series {
            let count = buckets.iter().map(|(_, count)| count).sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// What a gauge may show.
pub(super) trait Gauge {
    type Value: EncodeGaugeValue;

    fn value(self) -> Self::Value;
}

macro_rules! gauges {
    ($($kind:ty),+) => {
        $(impl Gauge for $kind {
            type Value = Self;

            fn value(self) -> Self {
                self
            }
        })+
    };
}

gauges!(i64, u64, f64);

impl Gauge for usize {
    type Value = u64;

    fn value(self) -> u64 {
        u64::try_from(self).unwrap_or(u64::MAX)
    }
}

/// How a request of a Kafka client ended, in the words of [`code_name`] as far as they fit.
pub(super) const fn end_name(end: RequestEnd) -> &'static str {
    match end {
        RequestEnd::Answered => "OK",
        RequestEnd::Refused => "REFUSED",
        RequestEnd::Cancelled => "CANCELLED",
    }
}

/// A code as gRPC's documents write it.
pub(super) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
