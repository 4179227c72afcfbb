//! The seam between the log and a device: what a file system promises, and nothing more.
//!
//! [`OsDisk`](crate::OsDisk) is the real one; `sim_disk` is one that crashes, tears, reorders and fails on demand. Only
//! the log crate and its owner's start-up code name a disk.
//!
//! What an implementation promises: bytes written are read back by later reads of the same file; they
//! survive a crash of the *process*; they survive a power cut once [`DiskFile::sync_data`] has returned
//! `Ok` after the write returned; a name created, renamed or removed survives a power cut once
//! [`Disk::sync_dir`] of its directory has returned `Ok`. After a failed sync nothing is known about the
//! bytes it covered, and no later sync makes them known again.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing; it must not exist.
    CreateNew,
    /// For reading and writing; created when it does not exist.
    Create,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A file system.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the operating system answers: not found, exists already, no permission, no space.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// As the operating system answers.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates one directory; its parent must exist.
    ///
    /// # Errors
    /// As the operating system answers; `AlreadyExists` when the name is taken.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or directory, replacing a file of the new name.
    ///
    /// # Errors
    /// As the operating system answers.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// As the operating system answers.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As the operating system answers.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the operating system answers; nothing is known about the names then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// How many bytes can still be written below `dir`.
    ///
    /// # Errors
    /// As the operating system answers.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. All methods take `&self`: positions are arguments, callers order their writes themselves.
pub trait DiskFile: Debug + Send + Sync {
    /// The file's size in bytes.
    ///
    /// # Errors
    /// As the operating system answers.
    fn size(&self) -> io::Result<u64>;

    /// Reads at `position` into `buf`; returns how many bytes there were (0 at the end).
    ///
    /// # Errors
    /// As the operating system answers. An error says nothing about the bytes on the device.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// As [`Self::read_at`], but only bytes that are in memory: `None` when the device would have to be
    /// asked.
    ///
    /// # Errors
    /// As the operating system answers.
    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>>;

    /// Lets the kernel send bytes that are in memory to a socket that does not block; returns how many the socket
    /// took. `None` when the device would have to be asked, or there is no such way.
    ///
    /// # Errors
    /// As the operating system answers, for either of the two.
    fn send_cached_at(
        &self,
        _socket: BorrowedFd<'_>,
        _position: u64,
        _length: usize,
    ) -> io::Result<Option<usize>> {
        Ok(None)
    }

    /// Writes the parts one after the other at `position`; returns how many bytes were written, which may
    /// be fewer than given.
    ///
    /// # Errors
    /// As the operating system answers; some of the bytes may have been written.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes every write that has returned durable, and the file's size with them.
    ///
    /// # Errors
    /// As the operating system answers; the caller must give the file up.
    fn sync_data(&self) -> io::Result<()>;

    /// Lets the device begin with the bytes of a range that were written and not synced yet, so that the sync
    /// to come has less to wait for. Promises nothing and waits for nothing.
    ///
    /// # Errors
    /// As the operating system answers; the bytes are as they were.
    fn begin_writeback(&self, _from: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// As the operating system answers.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Drops clean pages from `from` on out of memory, so that later reads show what the device holds.
    ///
    /// # Errors
    /// As the operating system answers.
    fn drop_cache(&self, from: u64) -> io::Result<()>;

    /// The file's bytes as they are now, for a file that is never written or cut again.
    ///
    /// # Errors
    /// As the operating system answers.
    fn map_sealed(&self) -> io::Result<SealedBytes>;

    /// Takes an exclusive lock that ends with the file or the process; `false` when another holds it.
    ///
    /// # Errors
    /// As the operating system answers.
    fn try_lock(&self) -> io::Result<bool>;
}

/// The bytes of a sealed file: a memory map, or a copy where there is none.
#[derive(Debug)]
pub enum SealedBytes {
    /// A read-only map.
    Map(memmap2::Mmap),
    /// A copy in memory.
    Copy(Vec<u8>),
}

impl Deref for SealedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Copy(bytes) => bytes,
        }
    }
}
