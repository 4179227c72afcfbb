//! The transaction index of a segment, in Kafka's format: which transactions have their abort marker in it.
//!
//! ```text
//! .txnindex  34 bytes: version = 0, i16 | producer id, i64 | first offset, i64 | offset of the marker, i64
//!                      | last stable offset once the marker was there, i64
//! ```
//!
//! Entries ascend by their marker. A segment without aborted transactions has no such file. The file is written
//! as a whole: when the segment is closed, and before a producer snapshot says that nothing before it needs to be
//! read again.
//!
//! Kafka's format has no checksum, and a missing file may be right. So `txnindex-checkpoint` says which files
//! there are, how many of their bytes count, and their checksum:
//!
//! ```text
//! 00000000000000000000 68 1c291ca3      base of a segment, bytes, CRC-32C of them
//! 5d0c7a3e                              CRC-32C of the lines above
//! ```
//!
//! **Invariants**
//! * What the checkpoint lists was durable before it was written. Whatever does not agree with it is found again
//!   in the batches.
//! * Before files change places in which it trusts, it says `unsettled` durably.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use tidelog_model::{Offset, ProducerId};

use super::file;
use super::index::IndexBytes;
use super::segment::{Segment, base_of, file_name};
use crate::disk::Disk;
use crate::engine::AbortedTransaction;
use crate::error::{StorageError, failed};

/// The end of the files' names.
pub(super) const EXTENSION: &str = "txnindex";
const CHECKPOINT: &str = "txnindex-checkpoint";
const UNSETTLED: &str = "unsettled\n";
const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// The bytes of an entry.
pub(super) fn encode(entry: &AbortedTransaction) -> [u8; ENTRY_BYTES] {
    let mut out = [0; ENTRY_BYTES];
    let offsets = [entry.first_offset, entry.last_offset, entry.last_stable].map(Offset::get);
    let fields = std::iter::once(entry.producer_id.0).chain(offsets);
    let (version, rest) = out.split_at_mut(size_of::<i16>());
    version.copy_from_slice(&VERSION.to_be_bytes());
    for (place, field) in rest.chunks_exact_mut(size_of::<i64>()).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    out
}

/// `None` when the bytes are no entry of this version.
fn decode(entry: &[u8; ENTRY_BYTES]) -> Option<AbortedTransaction> {
    let (version, rest) = entry.split_first_chunk::<2>()?;
    let (fields, _) = rest.as_chunks::<8>();
    let [id, first, last, stable] = fields else { return None };
    let offset = |field: &[u8; 8]| Offset::new(i64::from_be_bytes(*field));
    (i16::from_be_bytes(*version) == VERSION).then_some(AbortedTransaction {
        producer_id: ProducerId(i64::from_be_bytes(*id)),
        first_offset: offset(first)?,
        last_offset: offset(last)?,
        last_stable: offset(stable)?,
    })
}

/// The entries of an index.
pub(super) fn entries(index: &[u8]) -> impl Iterator<Item = AbortedTransaction> {
    index.as_chunks::<ENTRY_BYTES>().0.iter().filter_map(decode)
}

/// How many bytes from the front hold entries of markers below `end`.
pub(super) fn bytes_below(index: &[u8], end: Offset) -> usize {
    let (entries, _) = index.as_chunks::<ENTRY_BYTES>();
    let below = |entry: &[u8; ENTRY_BYTES]| decode(entry).is_some_and(|entry| entry.last_offset < end);
    entries.iter().take_while(|entry| below(entry)).count() * ENTRY_BYTES
}

/// Takes in those transactions of an index that have records in `from..to`. Answers whether the indexes of later
/// segments need not be looked at: all transactions with a record below `to` had ended by then.
pub(super) fn collect(index: &[u8], from: Offset, to: Offset, found: &mut Vec<AbortedTransaction>) -> bool {
    let after = index.get(bytes_below(index, from)..).unwrap_or_default();
    for entry in entries(after) {
        if entry.first_offset < to {
            found.push(entry);
        }
        if entry.last_stable >= to {
            return true;
        }
    }
    false
}

/// What is listed of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    bytes: usize,
    crc: u32,
}

impl Listed {
    fn of(index: &[u8]) -> Self {
        Self { bytes: index.len(), crc: crc32c::crc32c(index) }
    }
}

/// The files of a partition, as far as they are known to be durable.
#[derive(Debug, Default)]
pub(super) struct TxnFiles {
    listed: BTreeMap<Offset, Listed>,
    /// The checkpoint does not say what is listed here.
    stale: bool,
    /// Segments are being replaced: nothing may be listed.
    replacing: bool,
}

/// What the files say of aborted transactions.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) files: TxnFiles,
    /// The indexes by the bases of their segments; `None` when they are not to be trusted.
    pub(super) indexes: Option<BTreeMap<Offset, Vec<u8>>>,
}

impl Stored {
    /// Reads what is there of these segments. Files of other segments are removed: a segment may get their name.
    pub(super) fn read(disk: &dyn Disk, dir: &Path, segments: &[Arc<Segment>]) -> Result<Self, StorageError> {
        let mut indexes = BTreeMap::new();
        for entry in disk.list(dir).map_err(failed("list", dir))? {
            let Some(base) = base_of(&entry.name, EXTENSION) else { continue };
            let path = dir.join(&entry.name);
            if segments.iter().any(|segment| segment.base == base) {
                indexes.insert(base, file::read_small(disk, &path)?.unwrap_or_default());
            } else {
                disk.remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        let checkpoint = file::read_small(disk, &dir.join(CHECKPOINT))?;
        if checkpoint.is_none() && indexes.is_empty() {
            return Ok(Self { files: TxnFiles::default(), indexes: Some(indexes) });
        }
        let Some(mut listed) = checkpoint.and_then(|content| parse(&content)) else {
            tracing::warn!(dir = %dir.display(), "the transaction index is made again from the log");
            return Ok(Self::unknown());
        };
        listed.retain(|base, _| segments.iter().any(|segment| segment.base == *base));
        // A file may have grown since.
        let exact = indexes.iter().all(|(base, index)| listed.get(base) == Some(&Listed::of(index)));
        indexes.retain(|base, _| listed.contains_key(base));
        for (base, listed) in &listed {
            let index = indexes.get_mut(base).filter(|index| index.len() >= listed.bytes);
            let Some(index) = index else { return Ok(Self::lost(dir, *base)) };
            index.truncate(listed.bytes);
            if Listed::of(index) != *listed {
                return Ok(Self::lost(dir, *base));
            }
        }
        Ok(Self { files: TxnFiles { listed, stale: !exact, replacing: false }, indexes: Some(indexes) })
    }

    /// Nothing is known; whatever is found in the log, the files are brought in line with it.
    pub(super) fn unknown() -> Self {
        Self { files: TxnFiles { stale: true, ..TxnFiles::default() }, indexes: None }
    }

    fn lost(dir: &Path, base: Offset) -> Self {
        let path = dir.join(file_name(base, EXTENSION));
        tracing::warn!(index = %path.display(), "a transaction index is missing or broken: it is made again from the log");
        Self::unknown()
    }
}

impl TxnFiles {
    /// Makes the files say durably what the segments know, and the checkpoint that they do.
    pub(super) fn settle(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        segments: &[Arc<Segment>],
    ) -> Result<(), StorageError> {
        let mut listed = BTreeMap::new();
        for segment in segments {
            let indexes = segment.indexes();
            if indexes.aborted.is_empty() && !self.stale && !self.listed.contains_key(&segment.base) {
                continue;
            }
            let now = Listed::of(&indexes.aborted);
            if self.stale || self.listed.get(&segment.base) != Some(&now) {
                write(disk, dir, segment.base, &indexes.aborted)?;
            }
            if now.bytes > 0 {
                listed.insert(segment.base, now);
            }
        }
        if !self.replacing && (self.stale || listed != self.listed) {
            self.stale = true;
            file::replace(disk, dir, CHECKPOINT, show(&listed).as_bytes())?;
            *self = Self { listed, ..Self::default() };
        }
        Ok(())
    }

    /// Before segments are replaced: the next start looks at the batches instead of the files until
    /// [`Self::replaced`].
    pub(super) fn replacing(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        segments: &[Arc<Segment>],
    ) -> Result<(), StorageError> {
        let known = |segment: &Arc<Segment>| {
            self.listed.contains_key(&segment.base) || !segment.indexes().aborted.is_empty()
        };
        if self.stale || segments.iter().any(known) {
            self.stale = true;
            file::replace(disk, dir, CHECKPOINT, UNSETTLED.as_bytes())?;
            self.replacing = true;
        }
        Ok(())
    }

    /// After segments were replaced, or nothing was done. Not called when it is not known what is there.
    pub(super) fn replaced(&mut self) {
        self.replacing = false;
    }
}

/// Makes the file of a segment hold this index, durably; without an entry there is none.
fn write(disk: &dyn Disk, dir: &Path, base: Offset, index: &[u8]) -> Result<(), StorageError> {
    let name = file_name(base, EXTENSION);
    if !index.is_empty() {
        return file::replace(disk, dir, &name, index);
    }
    let path = dir.join(name);
    match disk.remove_file(&path) {
        Ok(()) => disk.sync_dir(dir).map_err(failed("sync", dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", &path)(error)),
    }
}

/// Writes the index of a segment that is closed, and maps the file. Where that fails it stays in memory.
pub(super) fn seal(disk: &dyn Disk, segment: &Segment) {
    let path = segment.sibling(EXTENSION);
    let dir = path.parent().unwrap_or(Path::new("."));
    let sealed = {
        let indexes = segment.indexes();
        if indexes.aborted.is_empty() {
            return;
        }
        let written = write(disk, dir, segment.base, &indexes.aborted);
        written.and_then(|()| super::writer::map_index(disk, &path))
    };
    match sealed {
        Ok(map) => segment.indexes_mut().aborted = IndexBytes::Sealed(map),
        Err(error) => tracing::warn!(%error, "the transaction index of a closed segment is kept in memory"),
    }
}

fn show(listed: &BTreeMap<Offset, Listed>) -> String {
    let mut text = String::new();
    for (base, Listed { bytes, crc }) in listed {
        // Writing to a string does not fail.
        writeln!(text, "{:020} {bytes} {crc:08x}", base.get()).unwrap_or_default();
    }
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text}{crc:08x}\n")
}

fn parse(content: &[u8]) -> Option<BTreeMap<Offset, Listed>> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('\n')?;
    let at = text.rfind('\n').map_or(0, |at| at + 1);
    let (body, crc) = text.split_at_checked(at)?;
    if crc != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
        return None;
    }
    body.lines().map(line).collect()
}

fn line(line: &str) -> Option<(Offset, Listed)> {
    let mut fields = line.split(' ');
    let base = fields.next()?.parse().ok().and_then(Offset::new)?;
    let bytes = fields.next()?.parse().ok()?;
    let crc = u32::from_str_radix(fields.next()?, 16).ok()?;
    fields.next().is_none().then_some((base, Listed { bytes, crc }))
}

#[cfg(test)]
#[path = "txn_index_tests.rs"]
mod tests;
