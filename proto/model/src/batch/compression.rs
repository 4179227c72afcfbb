//! The codecs a batch's records may be compressed with, with bounded decompression.
//!
//! What is written is what Kafka's Java client reads: snappy in xerial framing, LZ4 frames of independent
//! blocks. What is read is what any client writes: snappy also as one raw block (librdkafka).
//!
//! **Invariant:** unfolding never holds more than `limit` bytes of output, whatever the input claims.

use std::io::{self, Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::lz4_frame;

/// The first bytes of snappy data in xerial framing.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and oldest compatible version.
const XERIAL_HEADER: usize = 16;
const XERIAL_VERSION: i32 = 1;
/// The size of a xerial block before compression (the Java library's default).
const XERIAL_BLOCK: usize = 32 * 1024;
/// More than snappy can ever unfold one byte to: a copy of 64 bytes takes 3.
const SNAPPY_RATIO_MAX: usize = 32;
/// Kafka's default level.
const ZSTD_LEVEL: i32 = 3;
/// The largest window a frame may ask the reader to hold, as a power of two: 32 MiB, beyond what levels up to
/// 20 use. Frames that ask for more are refused at the door, so that no reader has to hold it.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;
/// How much output to reserve for each byte of input before the size is known.
const RATIO_GUESS: usize = 4;

/// A compression codec, by its id in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, in xerial framing or as one raw block.
    Snappy,
    /// LZ4 frames with independent blocks.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why bytes could not be compressed or unfolded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The bytes do not follow the codec's format.
    #[error("{codec} data is broken: {reason}")]
    Broken {
        /// The codec's name.
        codec: &'static str,
        /// What the codec says.
        reason: String,
    },
    /// The bytes unfold to more than the limit.
    #[error("{codec} data unfolds to more than the limit of {limit} bytes: send smaller batches")]
    TooLarge {
        /// The codec's name.
        codec: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Compression {
    /// Every codec, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this id, if there is one.
    #[must_use]
    pub const fn from_id(id: i16) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The codec called `name` in configs, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The codec's id in a batch's attributes.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec's name in configs and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses `plain`.
    ///
    /// # Errors
    /// When the codec fails.
    pub fn compress(self, plain: &[u8]) -> Result<Bytes, CompressionError> {
        let mut out = BytesMut::with_capacity(plain.len() / 2);
        self.compress_into(plain, &mut out)?;
        Ok(out.freeze())
    }

    /// Appends the compressed `plain` to `out`.
    pub(crate) fn compress_into(self, plain: &[u8], out: &mut BytesMut) -> Result<(), CompressionError> {
        let result = match self {
            Self::None => {
                out.extend_from_slice(plain);
                Ok(())
            }
            Self::Gzip => gzip(plain, out),
            Self::Snappy => xerial(plain, out),
            Self::Lz4 => lz4(plain, out),
            Self::Zstd => zstd::stream::copy_encode(plain, out.writer(), ZSTD_LEVEL),
        };
        result.map_err(|error| self.broken(&error))
    }

    /// Unfolds `packed` to at most `limit` bytes; `None` returns the same bytes without a copy.
    ///
    /// # Errors
    /// When the data is broken or too large.
    pub fn decompress(self, packed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        if let Some(reader) = self.reader(packed)? {
            return self.unfold(reader, packed.len(), limit);
        }
        match self {
            Self::Snappy => self.unsnap(packed, limit),
            _ if packed.len() > limit => Err(self.too_large(limit)),
            _ => Ok(packed.clone()),
        }
    }

    /// Unfolds `packed` piece by piece; `None` where the codec has no pieces (none and snappy).
    pub(crate) fn reader(self, packed: &[u8]) -> Result<Option<Box<dyn Read + '_>>, CompressionError> {
        match self {
            Self::None | Self::Snappy => Ok(None),
            Self::Gzip => Ok(Some(Box::new(flate2::bufread::MultiGzDecoder::new(packed)))),
            Self::Lz4 => {
                lz4_frame::check(packed).map_err(|reason| self.broken(&reason))?;
                Ok(Some(Box::new(lz4_flex::frame::FrameDecoder::new(packed))))
            }
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(packed);
                let mut decoder = decoder.map_err(|error| self.broken(&error))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| self.broken(&error))?;
                Ok(Some(Box::new(decoder)))
            }
        }
    }

    /// Reads `decoder` to its end, or to one byte beyond the limit.
    fn unfold(self, decoder: impl Read, packed: usize, limit: usize) -> Result<Bytes, CompressionError> {
        let mut out = Vec::with_capacity(packed.saturating_mul(RATIO_GUESS).min(limit));
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        decoder.take(bound).read_to_end(&mut out).map_err(|error| self.broken(&error))?;
        if out.len() > limit {
            return Err(self.too_large(limit));
        }
        Ok(out.into())
    }

    fn unsnap(self, input: &[u8], limit: usize) -> Result<Bytes, CompressionError> {
        if !input.starts_with(&XERIAL_MAGIC) {
            let mut out = Vec::new();
            self.unsnap_block(input, limit, &mut out)?;
            return Ok(out.into());
        }
        let mut blocks =
            input.get(XERIAL_HEADER..).ok_or_else(|| self.broken(&"the xerial header is cut off"))?;
        let mut out = Vec::with_capacity(input.len().saturating_mul(RATIO_GUESS).min(limit));
        while !blocks.is_empty() {
            let size = blocks.try_get_i32().map_err(|error| self.broken(&error))?;
            let cut = usize::try_from(size).ok().and_then(|size| blocks.split_at_checked(size));
            let Some((block, rest)) = cut else {
                return Err(
                    self.broken(&format!("a block says it has {size} bytes, {} are left", blocks.len()))
                );
            };
            self.unsnap_block(block, limit, &mut out)?;
            blocks = rest;
        }
        Ok(out.into())
    }

    /// Appends one raw block to `out`, which is never longer than `limit`.
    fn unsnap_block(self, block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
        let size = snap::raw::decompress_len(block).map_err(|error| self.broken(&error))?;
        if size > limit.saturating_sub(out.len()) {
            return Err(self.too_large(limit));
        }
        if size > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(self.broken(&format!("a block of {} bytes cannot unfold to {size}", block.len())));
        }
        let start = out.len();
        out.resize(start + size, 0);
        let slot = out.get_mut(start..).unwrap_or_default();
        snap::raw::Decoder::new().decompress(block, slot).map_err(|error| self.broken(&error))?;
        Ok(())
    }

    pub(super) fn broken(self, reason: &dyn std::fmt::Display) -> CompressionError {
        CompressionError::Broken { codec: self.name(), reason: reason.to_string() }
    }

    pub(super) const fn too_large(self, limit: usize) -> CompressionError {
        CompressionError::TooLarge { codec: self.name(), limit }
    }
}

fn gzip(plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out.writer(), flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()?;
    Ok(())
}

fn xerial(plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
    out.put_slice(&XERIAL_MAGIC);
    out.put_i32(XERIAL_VERSION);
    out.put_i32(XERIAL_VERSION);
    let mut encoder = snap::raw::Encoder::new();
    let mut block = Vec::new();
    for chunk in plain.chunks(XERIAL_BLOCK) {
        block.resize(snap::raw::max_compress_len(chunk.len()), 0);
        let size = encoder.compress(chunk, &mut block)?;
        out.put_i32(i32::try_from(size).map_err(io::Error::other)?);
        out.put_slice(block.get(..size).unwrap_or_default());
    }
    Ok(())
}

fn lz4(plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out.writer());
    encoder.write_all(plain)?;
    encoder.finish()?;
    Ok(())
}

#[cfg(test)]
#[path = "compression_tests.rs"]
mod tests;
