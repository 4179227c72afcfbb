//! Small things every file of the log needs: whole reads and writes, and files replaced as one.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{StorageError, failed};

/// The most parts handed to one vectored write (`IOV_MAX` is 1,024 on Linux).
const PARTS_MAX: usize = 1024;

/// Reads until `buf` is full or the file ends; returns how many bytes there were.
pub(crate) fn read_at(file: &dyn DiskFile, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position.saturating_add(wide(done))) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all the parts one after the other at `position`.
pub(super) fn write_all(file: &dyn DiskFile, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
    let mut parts = parts;
    let mut position = position;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let now = parts.get(..PARTS_MAX).unwrap_or(parts);
        match file.write_at(now, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                IoSlice::advance_slices(&mut parts, count);
                position = position.saturating_add(wide(count));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts `content` in the place of the file `name`: after a crash it holds the old or the new content.
pub(super) fn replace(disk: &dyn Disk, dir: &Path, name: &str, content: &[u8]) -> Result<(), StorageError> {
    let temporary = dir.join(format!("{name}.tmp"));
    let target = dir.join(name);
    let file = disk.open(&temporary, OpenMode::Create).map_err(failed("create", &temporary))?;
    file.set_size(0).map_err(failed("empty", &temporary))?;
    write_all(file.as_ref(), &mut [IoSlice::new(content)], 0).map_err(failed("write", &temporary))?;
    file.sync_data().map_err(failed("sync", &temporary))?;
    disk.rename(&temporary, &target).map_err(failed("rename a file to", &target))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))
}

/// The content of a small file, or `None` when there is none.
pub(super) fn read_small(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    const BYTES_MAX: u64 = 64 << 20;
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let size = file.size().map_err(failed("read the size of", path))?.min(BYTES_MAX);
    let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
    let read = read_at(file.as_ref(), &mut content, 0).map_err(failed("read", path))?;
    content.truncate(read);
    Ok(Some(content))
}

/// Creates a directory and makes its name durable; one that exists is fine.
pub(super) fn ensure_dir(disk: &dyn Disk, parent: &Path, name: &str) -> Result<(), StorageError> {
    let dir = parent.join(name);
    match disk.create_dir(&dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("create the directory", &dir)(error)),
    }
    disk.sync_dir(parent).map_err(failed("sync", parent))
}

/// A length in memory as a length in a file.
pub(super) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
