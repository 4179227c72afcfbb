//! Whole batches where they lie in a file, so that they can leave without passing through memory of ours.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidelog_model::Offset;

use crate::disk::DiskFile;
use crate::engine::ReadWait;
use crate::error::{ReadError, failed};
use crate::local::file;

/// Whole batches, one after the other, in one file. They stay readable as long as the value lives, also when the
/// log drops them meanwhile.
#[derive(Debug, Clone)]
pub struct Extent {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) position: u64,
    pub(crate) size: usize,
    /// Of the first batch.
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
}

impl Extent {
    /// Bytes of the batches.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Where the next read starts.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Reads `length` bytes from the byte `at` of the batches on, fewer where they end. `None` when the device
    /// would have to be asked and `wait` does not allow it.
    ///
    /// # Errors
    /// When the device fails, or the file has become shorter.
    pub fn read(&self, at: usize, length: usize, wait: ReadWait) -> Result<Option<Bytes>, ReadError> {
        let mut buffer = BytesMut::zeroed(length.min(self.size.saturating_sub(at)));
        let position = self.place(at);
        let read = match wait {
            ReadWait::MayBlock => file::read_at(self.file.as_ref(), &mut buffer, position).map(Some),
            ReadWait::CachedOnly => self.file.read_cached_at(&mut buffer, position),
        };
        let read = read.map_err(failed("read", &self.path))?;
        if read == Some(buffer.len()) {
            return Ok(Some(buffer.freeze()));
        }
        match wait {
            ReadWait::CachedOnly => Ok(None),
            ReadWait::MayBlock => Err(ReadError::Corrupt {
                path: self.path.clone(),
                position,
                offset: self.base_offset,
                reason: "the file ends inside a batch".to_owned(),
            }),
        }
    }

    /// Lets the kernel send `length` bytes from the byte `at` of the batches on to a socket that does not block;
    /// returns how many bytes the socket took. `None` when the device would have to be asked, or there is no such
    /// way: they have to be read then.
    ///
    /// # Errors
    /// As the operating system answers, `WouldBlock` when the socket takes nothing at the moment.
    pub fn send(&self, at: usize, length: usize, socket: BorrowedFd<'_>) -> io::Result<Option<usize>> {
        let length = length.min(self.size.saturating_sub(at));
        self.file.send_cached_at(socket, self.place(at), length)
    }

    fn place(&self, at: usize) -> u64 {
        self.position.saturating_add(u64::try_from(at).unwrap_or(u64::MAX))
    }
}
