//! A disk in memory that crashes, tears, forgets, fills up and fails on demand, the same way for the same seed.
//!
//! It keeps the least that the [`Disk`] promises: after [`SimDisk::crash`] a file holds what its last good sync
//! covered and, of later writes, any sectors in any order; a name is there for sure only after its directory
//! was synced, whatever was done to the file. [`SimDisk::kill`] ends the process only: all that was written is
//! there. Either way the handles of before are dead, and the disk that the next process finds is another one.
//!
//! **What it leaves out:** links, permissions, and renames from one directory to another.

mod content;
mod faults;
mod file;
mod names;
mod rng;
mod state;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

pub use faults::{CallKind, Fault};
pub use rng::SimRng;

use crate::disk::{DirEntry, Disk, DiskFile, OpenMode};
use file::SimFile;
use state::{Node, State};

/// The simulated disk; clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk without a bound.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(State::new(seed))
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts the power: the disk that the next start finds. Another seed gives another outcome of the same cut.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut state = self.lock();
        state.alive = false;
        Self::of(state.crash(seed))
    }

    /// Ends the process: the disk that the next start finds has all that was written, synced or not.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.alive = false;
        Self::of(state.reopen())
    }

    /// Lets the machine stop after `more` further mutating calls: every call after that fails.
    pub fn stop_after(&self, more: u64) {
        self.lock().faults.stop_after(more);
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().faults.is_stopped()
    }

    /// Lets the call with this number (from 0) go wrong, once.
    pub fn fail_call(&self, number: u64, fault: Fault) {
        self.lock().faults.plan(number, fault);
    }

    /// Lets the calls with these numbers find as many files open as may be, where they open something.
    pub fn no_files(&self, calls: Range<u64>) {
        self.lock().faults.set_no_files(calls);
    }

    /// Lets every call of a kind go wrong, or none again.
    pub fn fail_always(&self, kind: CallKind, fault: Option<Fault>) {
        self.lock().faults.set_always(kind, fault);
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().faults.calls()
    }

    /// How many mutating calls there were.
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.lock().faults.mutations()
    }

    /// Notes the kinds of the calls from now on.
    pub fn record(&self) {
        self.lock().faults.record();
    }

    /// The kinds of the calls since [`Self::record`].
    #[must_use]
    pub fn take_recorded(&self) -> Vec<CallKind> {
        self.lock().faults.take_recorded()
    }

    /// Bounds what files and names may take, in bytes. `None` is no bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// The bytes that files and names take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().used()
    }

    /// Lets one in `times` reads of [`DiskFile::read_cached_at`] find nothing in memory; 0 lets none.
    pub fn set_uncached_one_in(&self, times: u64) {
        self.lock().uncached_one_in = times;
    }

    /// Flips the bits of `mask` in one byte of a file, on the device and in memory.
    ///
    /// # Errors
    /// When there is no such file or byte.
    pub fn corrupt(&self, path: &Path, position: u64, mask: u8) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.find(path)?;
        let at = usize::try_from(position).map_err(|_| Errno::INVAL)?;
        if state.content_mut(inode)?.corrupt(at, mask) { Ok(()) } else { Err(Errno::INVAL.into()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if the call does not fail before it does anything.
    fn call(&self, kind: CallKind) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        match state.begin(kind)? {
            Some(fault) => Err(fault.error()),
            None => Ok(state),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let creates = {
            let state = self.lock();
            state.check_alive()?;
            matches!(mode, OpenMode::Create | OpenMode::CreateNew) && state.find(path).is_err()
        };
        let mut state = self.call(if creates { CallKind::Create } else { CallKind::Open })?;
        let inode = match state.find(path) {
            Ok(_) if mode == OpenMode::CreateNew => return Err(Errno::EXIST.into()),
            Ok(inode) => inode,
            Err(_) if creates => state.create(path, Node::file())?,
            Err(error) => return Err(error),
        };
        state.content_mut(inode)?;
        let handle = state.next_handle();
        drop(state);
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { state: Arc::clone(&self.state), inode, handle, writable }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.call(CallKind::List)?;
        let inode = state.find(dir)?;
        let entries = state.names(inode)?.iter();
        Ok(entries
            .map(|(name, inode)| DirEntry { name: name.clone(), is_dir: state.is_dir(inode) })
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call(CallKind::CreateDir)?;
        if state.find(dir).is_ok() {
            return Err(Errno::EXIST.into());
        }
        state.create(dir, Node::dir()).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(CallKind::Rename)?.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(CallKind::RemoveFile)?.remove(path, false)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(CallKind::RemoveDir)?.remove(dir, true)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call(CallKind::SyncDir)?;
        let inode = state.find(dir)?;
        state.names_mut(inode)?.sync();
        Ok(())
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let state = self.call(CallKind::FreeBytes)?;
        state.find(dir)?;
        Ok(state.free())
    }
}

#[cfg(test)]
mod tests;
