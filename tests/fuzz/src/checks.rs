//! What must hold for any bytes: shared by the fuzz targets and by the replay of the seeds in
//! `proto/model/tests/seeds.rs`. Each check panics where the promise breaks.

use bytes::Bytes;
use tidelog_model::batch::{BatchBuilder, BatchRules, Compression, HeaderRef, LENGTH_PREFIX, RecordBatch};
use tidelog_model::record::Record;
use tidelog_model::varint;

const CRC_AT: usize = 17;
const CRC_START: usize = 21;

/// A validated batch can be read to its last record, and its records survive being built again.
pub fn batch(data: &[u8]) {
    let rules = BatchRules { control_allowed: true, ..BatchRules::default() };
    let Ok(batch) = RecordBatch::validate(repaired(data), &rules) else { return };
    let count = usize::try_from(batch.header().record_count).expect("a validated count is positive");
    let records: Vec<Record> =
        batch.records().expect("validated").map(|record| record.expect("validated")).collect();
    assert_eq!(records.len(), count);
    assert!((0..).zip(&records).all(|(offset, record)| record.offset.get() == offset));
    let largest = records.iter().map(|record| record.timestamp).max();
    assert_eq!(largest, Some(batch.header().max_timestamp));
    let again = RecordBatch::validate(rebuilt(&records).into_bytes(), &BatchRules::default());
    let again: Result<Vec<Record>, _> = again.expect("what we build is valid").records().unwrap().collect();
    assert_eq!(again.expect("what we build is readable"), records);
}

/// Bytes from a log are split and read without a panic, and yield no more records than they have bytes.
pub fn records(data: &[u8]) {
    let data = repaired(data);
    let size = data.len();
    for batch in RecordBatch::split(data).flatten() {
        if batch.header().compression() == Some(Compression::None) {
            let records = batch.records().expect("nothing to unfold");
            assert!(records.count() <= size);
        } else if let Ok(records) = batch.records() {
            records.for_each(drop);
        }
    }
}

/// An integer that is read comes back when it is written and read again.
pub fn varint(data: &[u8]) {
    let mut out = Vec::new();
    if let Ok(value) = varint::read_i32(&mut &*data) {
        varint::put_i32(&mut out, value);
        assert_eq!(out.len(), varint::size_i32(value));
        assert_eq!(varint::read_i32(&mut out.as_slice()), Ok(value));
    }
    out.clear();
    if let Ok(value) = varint::read_i64(&mut &*data) {
        varint::put_i64(&mut out, value);
        assert_eq!(out.len(), varint::size_i64(value));
        assert_eq!(varint::read_i64(&mut out.as_slice()), Ok(value));
    }
}

/// The first byte picks the codec: what unfolds stays within the limit and survives being packed again.
pub fn compression(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let Some((first, packed)) = data.split_first() else { return };
    let Some(codec) = Compression::from_id(i16::from(first % 5)) else { return };
    let Ok(plain) = codec.decompress(&Bytes::copy_from_slice(packed), LIMIT) else { return };
    assert!(plain.len() <= LIMIT);
    let again = codec.compress(&plain).expect("packing works");
    assert_eq!(codec.decompress(&again, LIMIT).expect("our own bytes unfold"), plain);
}

/// `data` with the magic, length and checksum of a batch put right, so that a fuzzer reaches the records.
fn repaired(data: &[u8]) -> Bytes {
    let mut bytes = data.to_vec();
    let length = i32::try_from(bytes.len().saturating_sub(LENGTH_PREFIX)).unwrap_or(i32::MAX);
    put(&mut bytes, 8, &length.to_be_bytes());
    put(&mut bytes, CRC_AT - 1, &[2]);
    let checksum = crc32c::crc32c(bytes.get(CRC_START..).unwrap_or_default());
    put(&mut bytes, CRC_AT, &checksum.to_be_bytes());
    bytes.into()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

fn rebuilt(records: &[Record]) -> RecordBatch {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for record in records {
        let headers: Vec<HeaderRef<'_>> =
            record.headers.iter().map(|(key, value)| (key.as_ref(), value.as_deref())).collect();
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    builder.build().expect("validated records fit a batch")
}
