//! The codecs a batch's records may be compressed with.
//!
//! **Invariant:** unfolding never allocates more than the limit it is given, whatever the data announces.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// A compression codec, by its id in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy: written in the framing of Java clients, read in it or as one raw block (librdkafka, sarama).
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
    #[error("{codec} data unfolds to more than the limit of {limit} bytes")]
    TooLarge {
        /// The codec's name.
        codec: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

/// The magic and versions in front of snappy blocks written by Java clients (the xerial library).
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_MAGIC_BYTES: usize = 8;
/// The most plain bytes in one xerial block.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// All codecs, in the order of their ids.
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

    /// The codec with this name, if there is one.
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
    /// When the codec fails, which none does for input that fits in memory.
    pub fn compress(self, plain: &[u8]) -> Result<Bytes, CompressionError> {
        let packed = match self {
            Self::None => Vec::from(plain),
            Self::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).and_then(|()| encoder.finish()).map_err(|e| self.broken(e))?
            }
            Self::Snappy => return xerial_compress(plain).map_err(|e| self.broken(e)),
            Self::Lz4 => {
                let info =
                    lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(plain).map_err(|e| self.broken(e))?;
                encoder.finish().map_err(|e| self.broken(e))?
            }
            Self::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL).map_err(|e| self.broken(e))?,
        };
        Ok(Bytes::from(packed))
    }

    /// Unfolds `packed` to at most `limit` bytes; [`Compression::None`] returns the same bytes uncopied.
    ///
    /// # Errors
    /// When the data is broken or unfolds to more than `limit`.
    pub fn decompress(self, packed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        match self {
            Self::None if packed.len() > limit => Err(self.too_large(limit)),
            Self::None => Ok(packed.clone()),
            Self::Gzip => self.read_bounded(flate2::read::MultiGzDecoder::new(packed.as_ref()), limit),
            Self::Snappy => self.snappy_decompress(packed, limit),
            Self::Lz4 => self.read_bounded(lz4_flex::frame::FrameDecoder::new(packed.as_ref()), limit),
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(|e| self.broken(e))?;
                // A window larger than the limit could only serve output larger than it.
                decoder.window_log_max(27).map_err(|e| self.broken(e))?;
                self.read_bounded(decoder, limit)
            }
        }
    }

    fn read_bounded(self, reader: impl Read, limit: usize) -> Result<Bytes, CompressionError> {
        let mut plain = Vec::new();
        let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(one_more).read_to_end(&mut plain).map_err(|e| self.broken(e))?;
        if plain.len() > limit {
            return Err(self.too_large(limit));
        }
        Ok(Bytes::from(plain))
    }

    fn snappy_decompress(self, packed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        let magic = XERIAL_HEADER.get(..XERIAL_MAGIC_BYTES).unwrap_or_default();
        let mut plain = Vec::new();
        if !packed.starts_with(magic) {
            self.snappy_block(packed, &mut plain, limit)?;
            return Ok(Bytes::from(plain));
        }
        let mut rest =
            packed.get(XERIAL_HEADER.len()..).ok_or_else(|| self.broken("its header is cut off"))?;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (block, after) = length
                .and_then(|length| after.split_at_checked(length))
                .ok_or_else(|| self.broken("a block passes the end"))?;
            self.snappy_block(block, &mut plain, limit)?;
            rest = after;
        }
        if rest.is_empty() { Ok(Bytes::from(plain)) } else { Err(self.broken("a block length is cut off")) }
    }

    /// Appends one raw block; its announced length is believed only up to the limit.
    fn snappy_block(self, block: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
        let length = snap::raw::decompress_len(block).map_err(|e| self.broken(e))?;
        let end = plain.len().saturating_add(length);
        if end > limit {
            return Err(self.too_large(limit));
        }
        // A snappy block cannot unfold to more than about 64 times its size: announcing more is a lie.
        if length / 64 > block.len() {
            return Err(self.broken("it announces more bytes than it can hold"));
        }
        let start = plain.len();
        plain.resize(end, 0);
        let target = plain.get_mut(start..).unwrap_or_default();
        snap::raw::Decoder::new().decompress(block, target).map_err(|e| self.broken(e))?;
        Ok(())
    }

    fn broken(self, reason: impl ToString) -> CompressionError {
        CompressionError::Broken { codec: self.name(), reason: reason.to_string() }
    }

    const fn too_large(self, limit: usize) -> CompressionError {
        CompressionError::TooLarge { codec: self.name(), limit }
    }
}

fn xerial_compress(plain: &[u8]) -> Result<Bytes, snap::Error> {
    let mut encoder = snap::raw::Encoder::new();
    let mut out = BytesMut::with_capacity(XERIAL_HEADER.len() + plain.len() / 2);
    out.extend_from_slice(&XERIAL_HEADER);
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block)?;
        out.put_i32(i32::try_from(packed.len()).unwrap_or(i32::MAX));
        out.extend_from_slice(&packed);
    }
    Ok(out.freeze())
}

#[cfg(test)]
#[path = "compression_tests.rs"]
mod tests;
