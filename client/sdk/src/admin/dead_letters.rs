//! Dead letters of queue groups: finding them, handing them out again, and being done with them.

use bytes::Bytes;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicPartition};
use tidelog_proto::v1;

use super::queues::Page;
use super::{Admin, wire};
use crate::error::{Error, Result};

/// A record that failed for good, and where its copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Where the record is from.
    pub partition: TopicPartition,
    /// The record's offset.
    pub offset: Offset,
    /// The partition of the copy.
    pub copy: TopicPartition,
    /// The copy's offset.
    pub copy_offset: Offset,
    /// `MAX_ATTEMPTS`, `REJECTED`, `LEASE_EXPIRED`, `RETENTION`, `KEY_FOLLOW` or `DELAYED_EDGE`.
    pub cause: String,
    /// The consumer's word for programs.
    pub reason_code: String,
    /// The consumer's line for people.
    pub reason_text: String,
    /// How often it was delivered.
    pub attempts: u32,
    /// How often it was redriven.
    pub redrives: u32,
    /// When it failed first.
    pub first_failure: Timestamp,
    /// When it failed last.
    pub last_failure: Timestamp,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's value; `None` too when the copy holds facts only.
    pub value: Option<Bytes>,
    /// The record's own headers.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The copy holds no value, because it was too large or could not be read.
    pub truncated: bool,
    /// The copy cannot be read any more: only the places are known.
    pub lost: bool,
}

/// Which dead letters are meant: those for which every condition holds that is given. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterSelector {
    /// From this topic.
    pub topic: Option<String>,
    /// From this partition of the topic.
    pub partition: Option<PartitionIndex>,
    /// In any of these ranges of the partition, both ends included.
    pub offsets: Vec<(Offset, Offset)>,
    /// Failed last at this time or later.
    pub failed_from: Option<Timestamp>,
    /// Failed last before this time.
    pub failed_to: Option<Timestamp>,
    /// For this cause, as [`DeadLetter::cause`] names it.
    pub cause: Option<String>,
    /// With this word of the consumer.
    pub reason_code: Option<String>,
    /// With this key.
    pub key: Option<Bytes>,
    /// With a header of this name and value.
    pub header: Option<(Bytes, Bytes)>,
}

impl DeadLetterSelector {
    fn into_wire(self) -> v1::DeadLetterSelector {
        let range =
            |(first, last): (Offset, Offset)| v1::OffsetRange { first: first.get(), last: last.get() };
        v1::DeadLetterSelector {
            topic: self.topic.unwrap_or_default(),
            partition: self.partition.map(PartitionIndex::get),
            offsets: self.offsets.into_iter().map(range).collect(),
            failed_from_ms: self.failed_from.map(Timestamp::millis),
            failed_to_ms: self.failed_to.map(Timestamp::millis),
            cause: self.cause.unwrap_or_default(),
            reason_code: self.reason_code.unwrap_or_default(),
            key: self.key,
            header: self.header.map(|(key, value)| v1::Header { key, value: Some(value) }),
        }
    }
}

/// How to hand dead letters out again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redrive {
    /// Which.
    pub selector: DeadLetterSelector,
    /// Goes on with a redrive that was stopped, without handing a record out twice; `None`: a new one.
    pub id: Option<u64>,
    /// Records a second, at most 100,000; `None`: 1,000.
    pub rate: Option<u32>,
    /// Only counts.
    pub dry_run: bool,
}

/// How far a redrive is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedriveProgress {
    /// Names the redrive, to go on with it.
    pub id: u64,
    /// Dead letters looked at.
    pub seen: u64,
    /// Those that were meant.
    pub selected: u64,
    /// Those handed out.
    pub redriven: u64,
    /// Those that this redrive had handed out before it was stopped.
    pub had_it: u64,
    /// Those that were redriven as often as they may be.
    pub too_often: u64,
    /// Those left as they are, because retention has deleted the record from its topic; their copies stay.
    pub gone: u64,
}

impl Admin {
    /// Dead letters that are not resolved, by topic, partition and offset; at most 1,000, from where an earlier
    /// page ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group, `InvalidRequest` when the selector is wrong.
    pub async fn dead_letters(
        &self,
        group: &str,
        selector: &DeadLetterSelector,
        limit: usize,
        page: Option<&str>,
    ) -> Result<Page<DeadLetter>> {
        let call = || {
            let mut api = self.client.dlq_api();
            let request = v1::ListDeadLettersRequest {
                group: group.to_owned(),
                selector: Some(selector.clone().into_wire()),
                limit: i32::try_from(limit).unwrap_or(i32::MAX),
                page: page.unwrap_or_default().to_owned(),
                facts_only: false,
            };
            async move { api.list(request).await }
        };
        let answer = self.client.call(call).await?;
        let items = answer.letters.into_iter().map(wire::dead_letter).collect::<Result<_>>()?;
        Ok(Page { items, next: Some(answer.next_page).filter(|next| !next.is_empty()) })
    }

    /// Hands dead letters out again, each at its place, to the group that failed and to nobody else, from the
    /// first attempt on. `tell` hears how far it is; dropping the future stops it, and another call with the same
    /// id goes on.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group, `InvalidRequest` when the selector or the rate is wrong.
    /// After any other failure some are handed out: call again with the id that was told last.
    pub async fn redrive(
        &self,
        group: &str,
        redrive: Redrive,
        mut tell: impl FnMut(RedriveProgress),
    ) -> Result<RedriveProgress> {
        let request = v1::RedriveRequest {
            group: group.to_owned(),
            selector: Some(redrive.selector.into_wire()),
            redrive_id: redrive.id.unwrap_or_default(),
            rate: redrive.rate.map_or(0, |rate| i32::try_from(rate).unwrap_or(i32::MAX)),
            dry_run: redrive.dry_run,
        };
        let mut api = self.client.dlq_api();
        let mut told = self.client.call_once(api.redrive(request)).await?;
        while let Some(at) = told.message().await.map_err(|status| self.client.error(&status))? {
            let progress = RedriveProgress {
                id: at.redrive_id,
                seen: wire::count(at.seen),
                selected: wire::count(at.selected),
                redriven: wire::count(at.redriven),
                had_it: wire::count(at.had_it),
                too_often: wire::count(at.too_often),
                gone: wire::count(at.gone),
            };
            tell(progress);
            if at.done {
                return Ok(progress);
            }
        }
        Err(Error::protocol("the broker ended a redrive without saying that it is done"))
    }

    /// Is done with dead letters: they are not listed any more, their copies stay. How many they are; with
    /// `dry_run` they are only counted.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group, `InvalidRequest` when the selector is wrong. After
    /// `Unreachable` or `Timeout` it may be done; doing it again does no harm.
    pub async fn resolve_dead_letters(
        &self,
        group: &str,
        selector: DeadLetterSelector,
        dry_run: bool,
    ) -> Result<u64> {
        let selector = Some(selector.into_wire());
        let request = v1::ResolveRequest { group: group.to_owned(), selector, dry_run };
        let mut api = self.client.dlq_api();
        Ok(wire::count(self.client.call_once(api.resolve(request)).await?.resolved))
    }
}
