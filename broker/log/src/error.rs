//! What can fail, and what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tidelog_model::Offset;

/// An operation on a file failed.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
pub struct StorageError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the operating system answered.
    pub source: io::Error,
}

impl StorageError {
    /// Whether the device has no room left: nothing is broken, and writes work again when there is room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether as many files are open as may be: nothing is broken, and it works again when some were closed.
    #[must_use]
    pub fn is_out_of_files(&self) -> bool {
        limit_of_files(&self.source).is_some()
    }
}

/// Which limit of open files an error is about.
fn limit_of_files(error: &io::Error) -> Option<&'static str> {
    match rustix::io::Errno::from_io_error(error)? {
        rustix::io::Errno::MFILE => Some(
            "the broker has as many files and connections open as it may: raise its limit (ulimit -Hn, or \
             LimitNOFILE= of its systemd unit), or close connections or have fewer partitions or larger segments",
        ),
        rustix::io::Errno::NFILE => Some(
            "this machine has as many files open as it may: raise its limit (sysctl fs.file-max), or find out which \
             process has so many open",
        ),
        _ => None,
    }
}

fn remedy(error: &io::Error) -> String {
    limit_of_files(error).map_or_else(String::new, |remedy| format!("; {remedy}"))
}

/// Turns an I/O error into a [`StorageError`] that names the action and the file.
pub(crate) fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |source| StorageError { action, path: path.to_owned(), source }
}

/// A data directory or a partition could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another broker uses the directory.
    #[error("{} is in use by another broker: stop it, or choose another data directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer version wrote the directory.
    #[error(
        "{} was written in format {found}, this version reads up to {known}: start the newer version",
        path.display()
    )]
    NewerFormat {
        /// The format file.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The directory holds something else.
    #[error(
        "{} is not a data directory: it holds {name:?} and no FORMAT file; choose an empty or a new directory",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the names in it.
        name: String,
    },
    /// A file of the directory does not hold what it should.
    #[error("{} is broken: {reason}", path.display())]
    BrokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The device failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A read could not be served.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is outside {log_start}..{end}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first offset kept.
        log_start: Offset,
        /// The end of what may be read.
        end: Offset,
    },
    /// Bytes that were durable are broken.
    #[error("{} is broken at byte {position} (offset {offset} and later): {reason}", path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// The first offset that cannot be read.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
    /// The device failed; this says nothing about the bytes.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
