//! Which call to a simulated disk goes wrong, and how.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use rustix::io::Errno;

/// What a call does to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of the methods of `Disk` and `DiskFile`")]
pub enum CallKind {
    Open,
    Create,
    List,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    FreeBytes,
    Size,
    Read,
    ReadCached,
    Write,
    SyncData,
    SetSize,
    DropCache,
    Map,
    Lock,
}

impl CallKind {
    /// Whether the call can change what a restart finds.
    #[must_use]
    pub const fn mutates(self) -> bool {
        use CallKind as K;
        matches!(
            self,
            K::Create
                | K::CreateDir
                | K::Rename
                | K::RemoveFile
                | K::RemoveDir
                | K::SyncDir
                | K::Write
                | K::SyncData
                | K::SetSize
        )
    }

    /// The ways in which such a call can go wrong.
    #[must_use]
    pub const fn faults(self) -> &'static [Fault] {
        use CallKind as K;
        match self {
            K::Write => &[Fault::Io, Fault::Full, Fault::Short, Fault::Interrupted],
            K::Read | K::ReadCached => &[Fault::Io, Fault::Short, Fault::Interrupted],
            K::Create => &[Fault::Io, Fault::Full, Fault::NoFiles],
            K::CreateDir | K::Rename | K::SetSize => &[Fault::Io, Fault::Full],
            // These open something.
            K::Open | K::List | K::SyncDir => &[Fault::Io, Fault::NoFiles],
            _ => &[Fault::Io],
        }
    }
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The device fails (`EIO`). A write may have happened in part; a sync has brought some of it to the device
    /// and never brings the rest.
    Io,
    /// There is no room (`ENOSPC`). A write may have happened in part.
    Full,
    /// Fewer bytes are read or written than could be.
    Short,
    /// A signal came first (`EINTR`); nothing happened.
    Interrupted,
    /// The process has as many files open as it may (`EMFILE`); nothing happened.
    NoFiles,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Io | Self::Short => Errno::IO.into(),
            Self::Full => Errno::NOSPC.into(),
            Self::Interrupted => Errno::INTR.into(),
            Self::NoFiles => Errno::MFILE.into(),
        }
    }
}

/// Counts calls and says what becomes of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    calls: u64,
    mutations: u64,
    planned: BTreeMap<u64, Fault>,
    stop_after: Option<u64>,
    recorded: Option<Vec<CallKind>>,
    /// Every call of this kind fails so.
    always: BTreeMap<CallKind, Fault>,
    /// Those of these calls that open something find too many files open.
    no_files: Range<u64>,
}

impl Faults {
    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) const fn mutations(&self) -> u64 {
        self.mutations
    }

    pub(super) fn plan(&mut self, call: u64, fault: Fault) {
        self.planned.insert(call, fault);
    }

    pub(super) fn set_always(&mut self, kind: CallKind, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.always.insert(kind, fault),
            None => self.always.remove(&kind),
        };
    }

    pub(super) fn set_no_files(&mut self, calls: Range<u64>) {
        self.no_files = calls;
    }

    pub(super) fn stop_after(&mut self, more: u64) {
        self.stop_after = Some(self.mutations.saturating_add(more));
    }

    pub(super) fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    pub(super) fn take_recorded(&mut self) -> Vec<CallKind> {
        self.recorded.take().unwrap_or_default()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop_after.is_some_and(|stop| self.mutations >= stop)
    }

    /// Counts a call; its fault, if it has one.
    pub(super) fn next(&mut self, kind: CallKind) -> io::Result<Option<Fault>> {
        if self.is_stopped() {
            return Err(gone());
        }
        let number = self.calls;
        self.calls = self.calls.saturating_add(1);
        if kind.mutates() {
            self.mutations = self.mutations.saturating_add(1);
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.push(kind);
        }
        if self.no_files.contains(&number) && kind.faults().contains(&Fault::NoFiles) {
            return Ok(Some(Fault::NoFiles));
        }
        Ok(self.planned.remove(&number).or_else(|| self.always.get(&kind).copied()))
    }
}

/// What every call gets after the machine or the process is gone.
pub(super) fn gone() -> io::Error {
    io::Error::other("the simulated machine is gone")
}
