//! The codecs a batch's records may be compressed with, with bounded decompression.
use bytes::Bytes;
use thiserror::Error;

/// A compression codec, by its id in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    #[error("{codec} data unfolds to more than the limit of {limit} bytes")]
    TooLarge {
        /// The codec's name.
        codec: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Compression {
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
    /// The codec's id in a batch's attributes.
    #[must_use]
    pub const fn id(self) -> i16 { self as i16 }
    /// The codec's name in configs and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str { todo!() }
    /// Compresses `plain`.
    /// # Errors
    /// When the codec fails.
    pub fn compress(self, plain: &[u8]) -> Result<Bytes, CompressionError> { let _ = plain; todo!() }
    /// Unfolds `packed` to at most `limit` bytes; `None` returns the same bytes without a copy.
    /// # Errors
    /// When the data is broken or too large.
    pub fn decompress(self, packed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> { let _ = (packed, limit); todo!() }
}
