//! Cutting a read's bytes at a batch boundary.

use bytes::Bytes;
use tidelog_model::Offset;
use tidelog_model::batch::BatchHeader;

/// The batches of `bytes` that begin before `until`, and the offset after them. `next_offset` is the one
/// after all of `bytes`.
pub(super) fn until(bytes: Bytes, next_offset: Offset, until: Offset) -> (Bytes, Offset) {
    if next_offset <= until {
        return (bytes, next_offset);
    }
    let mut end = 0;
    // The log holds whole batches; whatever does not parse is the reader's to complain about.
    while let Some(header) = bytes.get(end..).and_then(|rest| BatchHeader::parse(rest).ok()) {
        if header.base_offset >= until {
            return (bytes.slice(..end), until);
        }
        end = end.saturating_add(header.size()).min(bytes.len());
    }
    (bytes, next_offset)
}
