//! The operating system's file system.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use crate::disk::{DirEntry, Disk, DiskFile, OpenMode, SealedBytes};

/// Files and directories of this machine. Files are private to their owner.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600).custom_flags(nofollow());
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Create => {
                options.write(true).create(true);
            }
        }
        Ok(Arc::new(OsFile { file: options.open(path)? }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entry = |entry: io::Result<std::fs::DirEntry>| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok(DirEntry { name, is_dir: entry.file_type()?.is_dir() })
        };
        let mut entries = std::fs::read_dir(dir)?.map(entry).collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Symbolic links below the data directory are refused: they could lead writes out of it.
fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

#[derive(Debug)]
struct OsFile {
    file: File,
}

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        let parts = &mut [IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.file, parts, position, ReadWriteFlags::NOWAIT) {
            Ok(count) => Ok(Some(count)),
            // Not in memory, or a file system without such reads: the caller goes the long way.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn send_cached_at(
        &self,
        socket: BorrowedFd<'_>,
        position: u64,
        length: usize,
    ) -> io::Result<Option<usize>> {
        let Some(last) = length.checked_sub(1) else { return Ok(Some(0)) };
        // What was written or read lately is there from end to end, or not at all; where it is not, this waits
        // for the device as any access to a page may.
        for at in [position, position.saturating_add(u64::try_from(last).unwrap_or(u64::MAX))] {
            if self.read_cached_at(&mut [0], at)? != Some(1) {
                return Ok(None);
            }
        }
        match rustix::fs::sendfile(socket, &self.file, Some(&mut position.clone()), length) {
            Ok(0) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
            Ok(sent) => Ok(Some(sent)),
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.file, parts, position)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn begin_writeback(&self, from: u64, length: u64) -> io::Result<()> {
        // What Linux does with this advice for dirty pages: it starts to write them and keeps them.
        let length = std::num::NonZero::new(length);
        Ok(rustix::fs::fadvise(&self.file, from, length, Advice::DontNeed)?)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, from, None, Advice::DontNeed)?)
    }

    #[expect(unsafe_code, reason = "memory maps are the one thing that cannot be had without it")]
    fn map_sealed(&self) -> io::Result<SealedBytes> {
        if self.size()? == 0 {
            return Ok(SealedBytes::Copy(Vec::new()));
        }
        // SAFETY: the caller's promise (see the trait) is that the file is never written or cut again: only
        // index files of sealed segments are mapped, which are written whole and made durable under their
        // name before they are mapped, and removed by name only. The data directory is locked against a
        // second broker and private to its owner.
        let map = unsafe { memmap2::Mmap::map(&self.file) }?;
        Ok(SealedBytes::Map(map))
    }

    fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
