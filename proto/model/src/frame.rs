//! How one record is framed: lengths, deltas, key, value, headers. Shared by the validator, which keeps
//! nothing, and the iterator, which keeps slices.
//!
//! ```text
//! varint length | i8 attributes | varlong timestamp delta | varint offset delta
//! | varint key length or -1 | key | varint value length or -1 | value
//! | varint header count | (varint key length | key | varint value length or -1 | value)*
//! ```

use crate::record::RecordError;
use crate::varint;

/// The fewest bytes of a record, its length field included.
pub(crate) const RECORD_BYTES_MIN: usize = 7;

/// One record's fields; `headers` holds `header_count` headers not yet looked at.
pub(crate) struct Frame<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) header_count: usize,
    pub(crate) headers: &'a [u8],
}

/// Takes record `index` from the front of `rest`.
#[inline]
pub(crate) fn next_frame<'a>(rest: &mut &'a [u8], index: u32) -> Result<Frame<'a>, RecordError> {
    let broken = |field| RecordError::Field { index, field };
    let length = varint::read_i32(rest).map_err(|_| broken("length"))?;
    let out_of_range = RecordError::Length { index, length, available: rest.len() };
    let Some((mut body, after)) = usize::try_from(length).ok().and_then(|size| rest.split_at_checked(size))
    else {
        return Err(out_of_range);
    };
    *rest = after;
    // The attributes of a record have no meaning yet; Kafka ignores them too.
    body = body.split_first().ok_or_else(|| broken("attributes"))?.1;
    let timestamp_delta = varint::read_i64(&mut body).map_err(|_| broken("timestamp delta"))?;
    let offset_delta = varint::read_i32(&mut body).map_err(|_| broken("offset delta"))?;
    let key = nullable(&mut body).ok_or_else(|| broken("key"))?;
    let value = nullable(&mut body).ok_or_else(|| broken("value"))?;
    let header_count = varint::read_i32(&mut body).map_err(|_| broken("header count"))?;
    let header_count = usize::try_from(header_count).map_err(|_| broken("header count"))?;
    Ok(Frame { timestamp_delta, offset_delta, key, value, header_count, headers: body })
}

/// Takes one header from the front of `rest`.
pub(crate) fn next_header<'a>(
    rest: &mut &'a [u8],
    index: u32,
) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let broken = |field| RecordError::Field { index, field };
    let key = nullable(rest).flatten().ok_or_else(|| broken("header key"))?;
    let value = nullable(rest).ok_or_else(|| broken("header value"))?;
    Ok((key, value))
}

/// A length of -1 means absent; `None` outside means broken.
#[inline]
fn nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(rest).ok()?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(bytes))
}
