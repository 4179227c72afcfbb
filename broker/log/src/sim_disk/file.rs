//! An open file of a simulated disk.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::faults::{CallKind, Fault};
use super::names::Inode;
use super::state::State;
use crate::disk::{DiskFile, SealedBytes};

/// A handle; it is dead once the machine or the process is.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) inode: Inode,
    pub(super) handle: u64,
    pub(super) writable: bool,
}

impl SimFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, kind: CallKind) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        match state.begin(kind)? {
            Some(fault) => Err(fault.error()),
            None => Ok(state),
        }
    }

    fn read(&self, kind: CallKind, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        let mut state = self.lock();
        let length = match state.begin(kind)? {
            None => buf.len(),
            Some(Fault::Short) => buf.len().div_ceil(2),
            Some(fault) => return Err(fault.error()),
        };
        let times = state.uncached_one_in;
        if kind == CallKind::ReadCached && times > 0 && state.fork_rng().one_in(times) {
            return Ok(None);
        }
        let buf = buf.get_mut(..length).unwrap_or_default();
        Ok(Some(state.content(self.inode)?.read(buf, place(position)?)))
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.call(CallKind::Size)?;
        Ok(wide(state.content(self.inode)?.size()))
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.read(CallKind::Read, buf, position).map(Option::unwrap_or_default)
    }

    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        self.read(CallKind::ReadCached, buf, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = self.lock();
        let fault = state.begin(CallKind::Write)?;
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        if fault == Some(Fault::Interrupted) {
            return Err(Fault::Interrupted.error());
        }
        let at = place(position)?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let wanted = bytes.len();
        let size = state.content(self.inode)?.size();
        let end = usize::try_from(state.free()).unwrap_or(usize::MAX).saturating_add(size);
        let fits = end.saturating_sub(at).min(wanted);
        if fits == 0 && wanted > 0 {
            return Err(Errno::NOSPC.into());
        }
        let some = usize::try_from(state.fork_rng().below(wide(wanted))).unwrap_or(0);
        bytes.truncate(match fault {
            Some(Fault::Short) => fits.min(some.max(1)),
            Some(_) => fits.min(some),
            None => fits,
        });
        let written = bytes.len();
        state.content_mut(self.inode)?.write(at, bytes);
        match fault {
            Some(fault @ (Fault::Io | Fault::Full)) => Err(fault.error()),
            _ => Ok(written),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        match state.begin(CallKind::SyncData)? {
            None => state.content_mut(self.inode)?.sync(),
            Some(fault) => {
                let mut rng = state.fork_rng();
                state.content_mut(self.inode)?.fail_sync(&mut rng);
                return Err(fault.error());
            }
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.call(CallKind::SetSize)?;
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let grows = size.saturating_sub(wide(state.content(self.inode)?.size()));
        if grows > state.free() {
            return Err(Errno::NOSPC.into());
        }
        state.content_mut(self.inode)?.set_size(place(size)?);
        Ok(())
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        let mut state = self.call(CallKind::DropCache)?;
        state.content_mut(self.inode)?.drop_cache(place(from)?);
        Ok(())
    }

    fn map_sealed(&self) -> io::Result<SealedBytes> {
        let state = self.call(CallKind::Map)?;
        Ok(SealedBytes::Copy(state.content(self.inode)?.bytes()))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.call(CallKind::Lock)?;
        let holder = *state.locks.entry(self.inode).or_insert(self.handle);
        Ok(holder == self.handle)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.lock();
        if state.locks.get(&self.inode) == Some(&self.handle) {
            state.locks.remove(&self.inode);
        }
    }
}

fn place(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| Errno::FBIG.into())
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
