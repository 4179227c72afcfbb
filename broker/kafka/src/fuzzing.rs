//! What must hold for any bytes, for the fuzz targets in `tests/fuzz` and for the replay of their seeds. Each
//! check panics where the promise breaks.

use bytes::Bytes;

use crate::api::fetch::request::FetchRequest;
use crate::api::produce::request::ProduceRequest;
use crate::reader::ELEMENTS_MAX;

/// The first byte picks the version. What is read of a Produce request is no more than there is.
///
/// # Panics
/// When it is more.
pub fn produce_request(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let version = 3 + i16::from(first % 11);
    let Ok(request) = ProduceRequest::read(Bytes::copy_from_slice(body), version) else { return };
    let partitions = || request.topics.iter().flat_map(|topic| &topic.partitions);
    let records: usize =
        partitions().filter_map(|partition| partition.records.as_ref()).map(Bytes::len).sum();
    assert!(records <= body.len(), "{records} bytes of records in {} bytes", body.len());
    assert!(request.topics.len() + partitions().count() <= ELEMENTS_MAX.min(body.len()));
}

/// The first byte picks the version. What is read of a Fetch request is no more than there is.
///
/// # Panics
/// When it is more.
pub fn fetch_request(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let version = 4 + i16::from(first % 15);
    let Ok(request) = FetchRequest::read(Bytes::copy_from_slice(body), version) else { return };
    let wanted: usize = request.topics.iter().map(|topic| 1 + topic.partitions.len()).sum();
    let forgotten: usize = request.forgotten.iter().map(|topic| 1 + topic.partitions.len()).sum();
    assert!(wanted + forgotten <= ELEMENTS_MAX.min(body.len()));
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
