//! Settling: what clients say of ranges of records, and what has become of them.

use tidelog_model::{ErrorCode, GroupId, Offset};
use tidelog_proto::v1::settle_range::Verb as WireVerb;
use tidelog_proto::v1::{
    Outcome as WireOutcome, Reason as WireReason, SettleRange, SettleRequest, SettleResponse, SettleResult,
    SettleStatus as WireStatus, SettledRange,
};
use tidelog_runtime::delivery::{Outcome, Reason, Settle, SettleStatus, Verb};
use tidelog_runtime::{BrokerError, SettleRecords, SettledRecords};

use super::lease;
use crate::error::{detail, invalid, too_many};
use crate::names::{partition_index, topic_name};
use crate::services::Shared;

/// Serves one request. A range that is refused has its error in its place; the others are settled.
///
/// # Errors
/// When the request as a whole is refused, or what was said may not be durable.
pub(super) async fn settle(
    shared: &Shared,
    group: &GroupId,
    request: SettleRequest,
) -> Result<SettleResponse, BrokerError> {
    let (count, limit) = (request.ranges.len(), shared.limits.settles_per_request_max);
    if count > limit {
        return Err(too_many("ranges", "ranges", limit, count));
    }
    let parsed: Vec<Result<SettleRecords, BrokerError>> = request.ranges.into_iter().map(parse).collect();
    let good: Vec<SettleRecords> = parsed.iter().flatten().cloned().collect();
    let settled = shared.broker.settle_queue(group, good).await?;
    let mut settled = settled.into_iter();
    let result = |parsed: Result<SettleRecords, BrokerError>| match parsed {
        Ok(_) => settled.next().unwrap_or_else(|| Ok(SettledRecords::default())),
        Err(error) => Err(error),
    };
    let results = parsed.into_iter().map(result).map(answer).collect();
    Ok(SettleResponse { request_id: request.request_id, results })
}

fn parse(range: SettleRange) -> Result<SettleRecords, BrokerError> {
    let offset = |field: &'static str, value: i64| {
        Offset::new(value).ok_or_else(|| invalid(field, format!("{field}: {value} is negative")))
    };
    let first = offset("first_offset", range.first_offset)?;
    let last = offset("last_offset", range.last_offset)?;
    if last < first {
        let message = format!("last_offset: {last} is before first_offset {first}");
        return Err(invalid("last_offset", message));
    }
    let verb = range.verb.ok_or_else(|| {
        invalid("verb", "verb: say what became of the records: ack, nack, release, reject or renew")
    })?;
    let verb = match verb {
        WireVerb::Ack(_) => Verb::Ack,
        WireVerb::Nack(nack) => {
            if let Some(negative) = nack.delay_ms.filter(|delay| *delay < 0) {
                return Err(invalid("delay_ms", format!("delay_ms: {negative} is negative")));
            }
            Verb::Nack { delay_ms: nack.delay_ms, reason: nack.reason.map(reason) }
        }
        WireVerb::Release(_) => Verb::Release,
        WireVerb::Reject(reject) => Verb::Reject { reason: reject.reason.map(reason) },
        WireVerb::Renew(renew) => Verb::Renew { lease_ms: lease("lease_ms", renew.lease_ms)? },
    };
    Ok(SettleRecords {
        topic: topic_name("topic", &range.topic)?,
        partition: partition_index(range.partition)?,
        settle: Settle { lease: range.lease_id, first, last, verb },
    })
}

fn reason(reason: WireReason) -> Reason {
    Reason::new(&reason.code, &reason.text)
}

fn answer(settled: Result<SettledRecords, BrokerError>) -> SettleResult {
    match settled {
        Ok(SettledRecords { results, lease_ms }) => {
            SettleResult { settled: results.into_iter().map(range).collect(), error: None, lease_ms }
        }
        Err(error) => SettleResult { error: Some(detail(error)), ..SettleResult::default() },
    }
}

fn range((first, last, status): (Offset, Offset, SettleStatus)) -> SettledRange {
    let (status, outcome) = match status {
        SettleStatus::Done(outcome) => (WireStatus::Done, wire(outcome)),
        SettleStatus::Renewed => (WireStatus::Done, WireOutcome::Renewed),
        SettleStatus::AlreadySettled(outcome) => (WireStatus::AlreadySettled, wire(outcome)),
        SettleStatus::StaleLease => (WireStatus::StaleLease, WireOutcome::Unspecified),
        SettleStatus::RetryLater => (WireStatus::RetryLater, WireOutcome::Unspecified),
    };
    SettledRange {
        first_offset: first.get(),
        last_offset: last.get(),
        status: status.into(),
        outcome: outcome.into(),
    }
}

const fn wire(outcome: Outcome) -> WireOutcome {
    match outcome {
        Outcome::Acked => WireOutcome::Acked,
        Outcome::Delayed => WireOutcome::Delayed,
        Outcome::Dead => WireOutcome::Dead,
        Outcome::Released => WireOutcome::Released,
    }
}

/// A group that a stream was not opened for.
pub(super) fn other_group(opened: &GroupId, named: &str) -> Option<BrokerError> {
    if named.is_empty() || named == opened.as_str() {
        return None;
    }
    let named: String = named.chars().take(60).collect();
    let message = format!("group: the stream reads group {}, not {named:?}", opened.as_str());
    Some(BrokerError::new(ErrorCode::InvalidRequest, message).field("group"))
}
