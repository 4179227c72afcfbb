//! The outline of an LZ4 frame, checked before it is unfolded.
//!
//! The library takes a frame without its end mark, and with blocks that depend on each other; Kafka's Java
//! clients take neither, so such a batch in a log would stop every one of them.
//! Source: the LZ4 frame format 1.6 and Kafka's `Lz4BlockInputStream`.

use bytes::Buf;

const MAGIC: u32 = 0x184d_2204;
const VERSION_MASK: u8 = 0xc0;
const VERSION: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY: u8 = 0x01;
/// The bit of a block's length that says it is stored as it is.
const STORED: u32 = 1 << 31;
const CHECKSUM_BYTES: usize = 4;

/// Checks that `frame` is exactly one frame of independent blocks with its end mark.
pub(super) fn check(mut frame: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "the frame is cut off";
    if frame.try_get_u32_le().map_err(|_| CUT)? != MAGIC {
        return Err("it does not start with a frame");
    }
    let flags = frame.try_get_u8().map_err(|_| CUT)?;
    if flags & VERSION_MASK != VERSION {
        return Err("the frame's version is not known");
    }
    if flags & INDEPENDENT == 0 {
        return Err("the frame's blocks depend on each other, which Kafka clients cannot read");
    }
    if flags & DICTIONARY != 0 {
        return Err("the frame needs a dictionary, which Kafka clients do not have");
    }
    let size_bytes = if flags & CONTENT_SIZE != 0 { size_of::<u64>() } else { 0 };
    // The block size, the content size and the header's checksum.
    skip(&mut frame, 1 + size_bytes + 1).ok_or(CUT)?;
    let block_checksum = if flags & BLOCK_CHECKSUM != 0 { CHECKSUM_BYTES } else { 0 };
    loop {
        let size = frame.try_get_u32_le().map_err(|_| CUT)? & !STORED;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|_| CUT)?;
        skip(&mut frame, size.saturating_add(block_checksum)).ok_or(CUT)?;
    }
    if flags & CONTENT_CHECKSUM != 0 {
        skip(&mut frame, CHECKSUM_BYTES).ok_or(CUT)?;
    }
    if frame.is_empty() { Ok(()) } else { Err("bytes follow the frame") }
}

fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    *bytes = bytes.get(count..)?;
    Some(())
}
