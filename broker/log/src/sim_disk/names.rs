//! The names in one directory: as programs see them, as the device holds them, and the changes in between.
//!
//! A power cut keeps any of the changes that no sync of the directory has covered: sometimes those up to some
//! moment, as a journal does, and sometimes any of them. A rename is one change: the old name or the new one.
//! A failed sync leaves all of them as uncertain as before, and a later one that succeeds covers them: a file
//! system that cannot write its journal stops instead of forgetting.

use std::collections::BTreeMap;

use super::rng::SimRng;

/// A file or directory, whatever it is called.
pub(super) type Inode = u64;

#[derive(Debug, Clone)]
enum Change {
    Link { name: String, inode: Inode },
    Unlink { name: String },
    Rename { from: String, to: String, inode: Inode },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Inode>) {
        match self {
            Self::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// One directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    seen: BTreeMap<String, Inode>,
    device: BTreeMap<String, Inode>,
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Inode> {
        self.seen.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, Inode)> {
        self.seen.iter().map(|(name, inode)| (name, *inode))
    }

    /// All that a name leads to, or may lead to after a power cut.
    pub(super) fn inodes(&self) -> impl Iterator<Item = Inode> {
        let pending = self.pending.iter().filter_map(|change| match change {
            Change::Link { inode, .. } | Change::Rename { inode, .. } => Some(*inode),
            Change::Unlink { .. } => None,
        });
        self.seen.values().chain(self.device.values()).copied().chain(pending)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    pub(super) fn link(&mut self, name: String, inode: Inode) {
        self.change(Change::Link { name, inode });
    }

    pub(super) fn unlink(&mut self, name: String) {
        self.change(Change::Unlink { name });
    }

    pub(super) fn rename(&mut self, from: String, to: String, inode: Inode) {
        self.change(Change::Rename { from, to, inode });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.device);
        }
    }

    /// What a power cut leaves of the directory.
    pub(super) fn crash(&self, rng: &mut SimRng) -> Self {
        let device = self.cut(rng);
        Self { seen: device.clone(), device, pending: Vec::new() }
    }

    fn cut(&self, rng: &mut SimRng) -> BTreeMap<String, Inode> {
        let mut names = self.device.clone();
        if self.pending.is_empty() {
            return names;
        }
        let count = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        let moment = rng.below(count.saturating_add(1));
        let journal = rng.one_in(2);
        for (number, change) in (0_u64..).zip(&self.pending) {
            if if journal { number < moment } else { rng.one_in(2) } {
                change.apply(&mut names);
            }
        }
        names
    }
}
