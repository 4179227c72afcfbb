//! What a start finds in the commit journal of the last run.
//!
//! A frame is written after the one before it was synced, and a file is erased before it is used again. So a
//! frame that does not hold ends what was written only if nothing of the same turn lies behind it: then it was
//! under way when the run ended, and nobody was told of it. Otherwise it was durable once.
//!
//! **Invariants**
//! * Nothing is passed over in the middle: a frame that was durable and does not hold is an error that names
//!   it, because what was acknowledged may be nowhere else. What cannot be told from a file that is about to be
//!   used again is the header of its first frame.
//! * Files are erased from the older one to the newer one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::{Offset, PartitionIndex, TopicId};
use uuid::Uuid;

use super::file::{self, wide};
use super::journal::{BLOCK_BYTES, FORGET, HEADER_BYTES, MAGIC, NAMES, erase, frame_bytes};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::PartitionId;
use crate::error::{OpenError, StorageError, failed};

/// A frame's header.
#[derive(Debug, Clone, Copy)]
struct Frame {
    first: u64,
    sequence: u64,
    length: u64,
    payload_crc: u32,
}

/// Bytes of a segment that the journal holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: PartitionId,
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) bytes: Vec<u8>,
}

/// The frames of one file.
#[derive(Debug, Default)]
struct Turn {
    path: PathBuf,
    frames: Vec<(u64, Vec<u8>)>,
    /// Where the first one would be that is not there.
    end: u64,
}

impl Turn {
    fn first(&self) -> Option<u64> {
        self.frames.first().map(|(sequence, _)| *sequence)
    }
}

/// What the journal of the last run holds, in the order in which it was written.
pub(super) fn read_back(disk: &dyn Disk, root: &Path) -> Result<Vec<Held>, OpenError> {
    let mut turns = Vec::new();
    for (path, file) in files(disk, root, OpenMode::Read)? {
        // What a failed sync has left in the cache may not be on the device.
        file.drop_cache(0).map_err(failed("drop the cache of", &path))?;
        turns.push(read_turn(file.as_ref(), path)?);
    }
    turns.retain(|turn| !turn.frames.is_empty());
    turns.sort_by_key(Turn::first);
    if let [older, newer] = turns.as_slice()
        && older.frames.last().map(|(sequence, _)| sequence + 1) != newer.first()
    {
        return Err(broken(&older.path, older.end));
    }
    let mut held: Vec<Held> = Vec::new();
    for (_, payload) in turns.into_iter().flat_map(|turn| turn.frames) {
        let mut rest = payload.as_slice();
        while let Some(entry) = next_entry(&mut rest) {
            if entry.position == FORGET {
                held.retain(|held| held.id != entry.id);
            } else {
                held.push(entry);
            }
        }
    }
    Ok(held)
}

fn broken(path: &Path, position: u64) -> OpenError {
    let reason = format!(
        "the frame at byte {position} was durable and does not hold: put the file back from a backup, or move it \
         away to start with what the segments hold, which may be less than was acknowledged"
    );
    OpenError::BrokenFile { path: path.to_owned(), reason }
}

type Opened = (PathBuf, Arc<dyn DiskFile>);

fn files(disk: &dyn Disk, root: &Path, mode: OpenMode) -> Result<Vec<Opened>, StorageError> {
    let mut files = Vec::new();
    for name in NAMES {
        let path = root.join(name);
        match disk.open(&path, mode) {
            Ok(file) => files.push((path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("open", &path)(error)),
        }
    }
    Ok(files)
}

fn read_turn(file: &dyn DiskFile, path: PathBuf) -> Result<Turn, OpenError> {
    let size = file.size().map_err(failed("read the size of", &path))?;
    let mut turn = Turn { path, ..Turn::default() };
    let mut last: Option<Frame> = None;
    loop {
        let header = read_header(file, turn.end).map_err(failed("read", &turn.path))?;
        let expected = |frame: &Frame| {
            last.map_or(frame.sequence == frame.first, |last| {
                frame.first == last.first && frame.sequence == last.sequence + 1
            })
        };
        let Some(frame) = header.filter(expected) else { break };
        let left = size.saturating_sub(turn.end).saturating_sub(wide(HEADER_BYTES));
        let mut payload = vec![0; usize::try_from(frame.length.min(left)).unwrap_or(0)];
        let read = file::read_at(file, &mut payload, turn.end + wide(HEADER_BYTES))
            .map_err(failed("read", &turn.path))?;
        let whole = frame.length <= left && read == payload.len();
        if !whole || crc32c::crc32c(&payload) != frame.payload_crc {
            // The first frame's header alone says which turn it is.
            last = last.or(Some(frame));
            break;
        }
        turn.frames.push((frame.sequence, payload));
        turn.end += frame_bytes(0, frame.length);
        last = Some(frame);
    }
    let Some(last) = last else { return Ok(turn) };
    let goes_on = goes_on(file, turn.end, size, last).map_err(failed("read", &turn.path))?;
    if goes_on { Err(broken(&turn.path, turn.end)) } else { Ok(turn) }
}

/// Whether a later frame of the same turn lies behind the one at `position`.
fn goes_on(file: &dyn DiskFile, position: u64, size: u64, last: Frame) -> io::Result<bool> {
    let mut at = position + BLOCK_BYTES;
    while at < size {
        let later = read_header(file, at)?;
        if later.is_some_and(|later| later.first == last.first && later.sequence > last.sequence) {
            return Ok(true);
        }
        at += BLOCK_BYTES;
    }
    Ok(false)
}

fn read_header(file: &dyn DiskFile, position: u64) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    let read = file::read_at(file, &mut header, position)?;
    Ok(if read < HEADER_BYTES { None } else { decode_header(&header) })
}

fn decode_header(bytes: &[u8]) -> Option<Frame> {
    let (body, crc) = bytes.first_chunk::<HEADER_BYTES>()?.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    let mut rest = body.strip_prefix(&MAGIC)?;
    let mut number = || take::<8>(&mut rest).map(u64::from_be_bytes);
    let (first, sequence, length) = (number()?, number()?, number()?);
    let payload_crc = u32::from_be_bytes(*body.last_chunk()?);
    Some(Frame { first, sequence, length, payload_crc })
}

fn next_entry(rest: &mut &[u8]) -> Option<Held> {
    let topic_id = TopicId::from_uuid(Uuid::from_bytes(take(rest)?));
    let partition = PartitionIndex::new(i32::from_be_bytes(take(rest)?))?;
    let segment = Offset::new(i64::from_be_bytes(take(rest)?))?;
    let position = u64::from_be_bytes(take(rest)?);
    let length = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Held { id: PartitionId { topic_id, partition }, segment, position, bytes: bytes.to_vec() })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// Empties what is there of the last run's journal; every segment must be durable.
pub(super) fn discard(disk: &dyn Disk, root: &Path) -> Result<(), StorageError> {
    let mut files = Vec::new();
    for (path, file) in self::files(disk, root, OpenMode::ReadWrite)? {
        let header = read_header(file.as_ref(), 0).map_err(failed("read", &path))?;
        // One that cannot be read was about to be used again, and may still hold its last turn: it is the older.
        files.push((header.map_or(0, |frame| frame.first), path, file));
    }
    files.sort_by_key(|(first, ..)| *first);
    for (_, path, file) in files {
        erase(file.as_ref()).map_err(failed("write", &path))?;
    }
    Ok(())
}
