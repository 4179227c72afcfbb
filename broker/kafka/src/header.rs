//! The header of a request, decoded by hand: it comes before anything is known about the request.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// What every request begins with, in any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) api_key: i16,
    pub(crate) api_version: i16,
    pub(crate) correlation_id: i32,
}

/// Why a header cannot be read; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    #[error("the request header ends early")]
    Short,
    #[error("the client id has a length of {0}")]
    ClientIdLength(i16),
    #[error("the client id is not UTF-8")]
    ClientIdText,
    #[error("the request header's tagged fields are broken")]
    Tags,
}

/// Takes the fixed part off the front of a frame.
pub(crate) fn take_head(frame: &mut Bytes) -> Result<RequestHead, HeaderError> {
    let short = |_| HeaderError::Short;
    Ok(RequestHead {
        api_key: frame.try_get_i16().map_err(short)?,
        api_version: frame.try_get_i16().map_err(short)?,
        correlation_id: frame.try_get_i32().map_err(short)?,
    })
}

/// Takes the rest of the header off the front of a frame: the client id, and for flexible versions the tagged
/// fields, none of which has a meaning today. A null client id is an empty one. The client id is not in the
/// compact form even where the header is flexible (KIP-511).
pub(crate) fn take_client_id(frame: &mut Bytes, flexible: bool) -> Result<String, HeaderError> {
    let length = frame.try_get_i16().map_err(|_| HeaderError::Short)?;
    let client_id = match usize::try_from(length) {
        Ok(length) if length <= frame.len() => {
            let bytes = frame.split_to(length);
            std::str::from_utf8(&bytes).map_err(|_| HeaderError::ClientIdText)?.to_owned()
        }
        Ok(_) => return Err(HeaderError::Short),
        Err(_) if length == -1 => String::new(),
        Err(_) => return Err(HeaderError::ClientIdLength(length)),
    };
    if flexible {
        skip_tags(frame).ok_or(HeaderError::Tags)?;
    }
    Ok(client_id)
}

/// Skips the tagged fields at the front of `bytes`.
pub(crate) fn skip_tags(bytes: &mut Bytes) -> Option<()> {
    let count = take_unsigned_varint(bytes)?;
    for _ in 0..count {
        // Each takes two bytes at least, so the loop ends with the bytes.
        take_unsigned_varint(bytes)?;
        let length = usize::try_from(take_unsigned_varint(bytes)?).ok()?;
        if length > bytes.len() {
            return None;
        }
        bytes.advance(length);
    }
    Some(())
}

/// Takes an unsigned varint of at most 32 bits off the front of `bytes`.
pub(crate) fn take_unsigned_varint(bytes: &mut Bytes) -> Option<u32> {
    let mut value: u32 = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = bytes.try_get_u8().ok()?;
        let low = u32::from(byte & 0x7f);
        if shift == 28 && low > 0x0f {
            return None;
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
