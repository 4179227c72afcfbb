//! Skipping batches in which no record matches, before they cost the network anything.
//!
//! A plain batch is searched as one piece of bytes first, and its records are only looked at when the bytes
//! occur somewhere; a compressed one is unfolded. Batches that pass are sent whole.
//!
//! **Invariant:** a batch is skipped only when it was read to its end and no record matched: what cannot be
//! read is passed on, for the client to see.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use tidelog_model::ErrorCode;
use tidelog_model::batch::{Compression, RecordBatch};
use tidelog_model::record::Record;
use tidelog_proto::v1;
use tidelog_runtime::BrokerError;

use crate::error::{invalid, over_limit};

/// A client's filter, checked, with its searchers built once.
#[derive(Debug)]
pub(super) struct Filter {
    key_equals: Option<Bytes>,
    key_contains: Option<Finder<'static>>,
    value_contains: Option<Finder<'static>>,
    header: Option<HeaderFilter>,
    /// Bytes that occur in every batch with a match.
    needles: Vec<Finder<'static>>,
}

#[derive(Debug)]
struct HeaderFilter {
    key: Bytes,
    /// The value it must have; `None` when any will do.
    value: Option<Option<Bytes>>,
}

impl Filter {
    /// Checks a filter; `None` when it lets everything pass.
    pub(super) fn new(filter: v1::ReadFilter, bytes_max: usize) -> Result<Option<Self>, BrokerError> {
        let header = match filter.header {
            Some(header) => {
                let value = (!filter.header_any_value).then_some(header.value);
                Some(HeaderFilter { key: header.key, value })
            }
            None if filter.header_any_value => {
                return Err(invalid("filter", "filter: header_any_value needs a header"));
            }
            None => None,
        };
        let header_value = header.as_ref().and_then(|header| header.value.clone().flatten());
        let parts = [
            ("filter.key_equals", filter.key_equals.as_ref()),
            ("filter.key_contains", filter.key_contains.as_ref()),
            ("filter.value_contains", filter.value_contains.as_ref()),
            ("filter.header", header.as_ref().map(|header| &header.key)),
            ("filter.header", header_value.as_ref()),
        ];
        let mut needles = Vec::new();
        for (field, part) in parts {
            let Some(part) = part else { continue };
            if part.len() > bytes_max {
                let message = format!("{field} has {} bytes, at most {bytes_max} are allowed", part.len());
                let code = ErrorCode::InvalidRequest;
                return Err(over_limit(code, field, bytes_max, part.len(), message));
            }
            if !part.is_empty() {
                needles.push(finder(part));
            }
        }
        if filter.key_equals.is_none()
            && filter.key_contains.is_none()
            && filter.value_contains.is_none()
            && header.is_none()
        {
            return Ok(None);
        }
        Ok(Some(Self {
            key_equals: filter.key_equals,
            key_contains: filter.key_contains.as_ref().map(finder),
            value_contains: filter.value_contains.as_ref().map(finder),
            header,
            needles,
        }))
    }

    /// The batches of `bytes` in which a record matches, one after the other.
    pub(super) fn apply(&self, bytes: &Bytes) -> Bytes {
        let mut kept: Vec<Bytes> = Vec::new();
        let mut end = 0_usize;
        for batch in RecordBatch::split(bytes.clone()) {
            let Ok(batch) = batch else {
                kept.push(bytes.slice(end.min(bytes.len())..));
                break;
            };
            end = end.saturating_add(batch.bytes().len());
            if self.passes(&batch) {
                kept.push(batch.into_bytes());
            }
        }
        join(bytes, &kept)
    }

    fn passes(&self, batch: &RecordBatch) -> bool {
        if batch.header().is_control() {
            return false;
        }
        let plain = batch.header().compression() == Some(Compression::None);
        if plain && self.needles.iter().any(|needle| needle.find(batch.bytes()).is_none()) {
            return false;
        }
        let Ok(mut records) = batch.records() else { return true };
        records.any(|record| record.map_or(true, |record| self.matches(&record)))
    }

    fn matches(&self, record: &Record) -> bool {
        let key_equals = self.key_equals.as_ref().is_none_or(|key| record.key.as_ref() == Some(key));
        key_equals
            && contains(self.key_contains.as_ref(), record.key.as_ref())
            && contains(self.value_contains.as_ref(), record.value.as_ref())
            && self.header.as_ref().is_none_or(|header| header.matches(&record.headers))
    }
}

impl HeaderFilter {
    fn matches(&self, headers: &[(Bytes, Option<Bytes>)]) -> bool {
        let value_fits = |value: &Option<Bytes>| self.value.as_ref().is_none_or(|wanted| wanted == value);
        headers.iter().any(|(key, value)| *key == self.key && value_fits(value))
    }
}

fn contains(needle: Option<&Finder<'static>>, field: Option<&Bytes>) -> bool {
    needle.is_none_or(|needle| field.is_some_and(|field| needle.find(field).is_some()))
}

fn finder(bytes: &Bytes) -> Finder<'static> {
    Finder::new(bytes).into_owned()
}

/// The kept batches in one piece; no copy when all or one of them are kept.
fn join(all: &Bytes, kept: &[Bytes]) -> Bytes {
    let size: usize = kept.iter().map(Bytes::len).sum();
    if size == all.len() {
        return all.clone();
    }
    if let [one] = kept {
        return one.clone();
    }
    let mut joined = BytesMut::with_capacity(size);
    for batch in kept {
        joined.extend_from_slice(batch);
    }
    joined.freeze()
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
