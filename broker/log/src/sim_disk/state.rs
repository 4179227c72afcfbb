//! All files and directories of a simulated disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};

use rustix::io::Errno;

use super::content::Content;
use super::faults::{CallKind, Fault, Faults, gone};
use super::names::{Inode, Names};
use super::rng::SimRng;

/// What a name takes of the capacity.
const NAME_BYTES: u64 = 64;
const ROOT: Inode = 0;

/// A file or a directory.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Content),
    Dir(Names),
}

impl Node {
    pub(super) fn file() -> Self {
        Self::File(Content::default())
    }

    pub(super) fn dir() -> Self {
        Self::Dir(Names::default())
    }

    fn crash(&self, rng: &mut SimRng) -> Self {
        match self {
            Self::File(content) => Self::File(content.crash(rng)),
            Self::Dir(names) => Self::Dir(names.crash(rng)),
        }
    }
}

/// The disk behind all its handles.
#[derive(Debug)]
pub(super) struct State {
    pub(super) alive: bool,
    pub(super) faults: Faults,
    pub(super) capacity: Option<u64>,
    pub(super) uncached_one_in: u64,
    nodes: BTreeMap<Inode, Node>,
    /// Who has locked what.
    pub(super) locks: BTreeMap<Inode, u64>,
    next_inode: Inode,
    next_handle: u64,
    rng: SimRng,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            alive: true,
            faults: Faults::default(),
            capacity: None,
            uncached_one_in: 0,
            nodes: BTreeMap::from([(ROOT, Node::dir())]),
            locks: BTreeMap::new(),
            next_inode: ROOT + 1,
            next_handle: 0,
            rng: SimRng::new(seed),
        }
    }

    /// Counts a call; its fault, if it has one.
    pub(super) fn begin(&mut self, kind: CallKind) -> io::Result<Option<Fault>> {
        self.check_alive()?;
        self.faults.next(kind)
    }

    pub(super) fn check_alive(&self) -> io::Result<()> {
        if self.alive { Ok(()) } else { Err(gone()) }
    }

    pub(super) fn next_handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }

    /// A source of chance of its own for what happens next.
    pub(super) fn fork_rng(&mut self) -> SimRng {
        SimRng::new(self.rng.next())
    }

    /// The disk after a power cut.
    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut rng = SimRng::new(seed);
        let nodes = self.nodes.iter().map(|(inode, node)| (*inode, node.crash(&mut rng))).collect();
        self.successor(nodes, rng.next())
    }

    /// The disk as another process finds it.
    pub(super) fn reopen(&self) -> Self {
        self.successor(self.nodes.clone(), self.rng.clone().next())
    }

    fn successor(&self, nodes: BTreeMap<Inode, Node>, seed: u64) -> Self {
        let mut next = Self {
            nodes,
            capacity: self.capacity,
            uncached_one_in: self.uncached_one_in,
            next_inode: self.next_inode,
            ..Self::new(seed)
        };
        next.drop_nameless();
        next
    }

    /// What has no name is gone once nobody has it open.
    fn drop_nameless(&mut self) {
        let mut named = BTreeMap::new();
        let mut found = vec![ROOT];
        while let Some(inode) = found.pop() {
            let Some(node) = self.nodes.remove(&inode) else { continue };
            if let Node::Dir(names) = &node {
                found.extend(names.inodes());
            }
            named.insert(inode, node);
        }
        self.nodes = named;
    }

    /// The file or directory of this path.
    pub(super) fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => return Err(Errno::INVAL.into()),
                Component::Normal(name) => {
                    inode = self.names(inode)?.get(&text(name)?).ok_or(Errno::NOENT)?;
                }
            }
        }
        Ok(inode)
    }

    fn find_parent(&self, path: &Path) -> io::Result<(Inode, String)> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.find(parent)?, text(name)?))
    }

    pub(super) fn is_dir(&self, inode: Inode) -> bool {
        matches!(self.nodes.get(&inode), Some(Node::Dir(_)))
    }

    pub(super) fn names(&self, inode: Inode) -> io::Result<&Names> {
        match self.nodes.get(&inode) {
            Some(Node::Dir(names)) => Ok(names),
            Some(Node::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn names_mut(&mut self, inode: Inode) -> io::Result<&mut Names> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Dir(names)) => Ok(names),
            Some(Node::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn content(&self, inode: Inode) -> io::Result<&Content> {
        match self.nodes.get(&inode) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Dir(_)) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn content_mut(&mut self, inode: Inode) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Dir(_)) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let (parent, name) = self.find_parent(path)?;
        self.names(parent)?;
        if self.free() < NAME_BYTES {
            return Err(Errno::NOSPC.into());
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        self.names_mut(parent)?.link(name, inode);
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (parent, old) = self.find_parent(from)?;
        let (to_parent, new) = self.find_parent(to)?;
        if parent != to_parent {
            return Err(Errno::XDEV.into());
        }
        let inode = self.find(from)?;
        if let Ok(replaced) = self.find(to) {
            match (self.is_dir(inode), self.is_dir(replaced)) {
                (true, true) if !self.names(replaced)?.is_empty() => return Err(Errno::NOTEMPTY.into()),
                (true, false) => return Err(Errno::NOTDIR.into()),
                (false, true) => return Err(Errno::ISDIR.into()),
                _ => {}
            }
        }
        self.names_mut(parent)?.rename(old, new, inode);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path, dir: bool) -> io::Result<()> {
        let (parent, name) = self.find_parent(path)?;
        let inode = self.find(path)?;
        match (self.is_dir(inode), dir) {
            (true, true) if !self.names(inode)?.is_empty() => return Err(Errno::NOTEMPTY.into()),
            (true, false) => return Err(Errno::ISDIR.into()),
            (false, true) => return Err(Errno::NOTDIR.into()),
            _ => {}
        }
        self.names_mut(parent)?.unlink(name);
        Ok(())
    }

    /// The bytes that named files and names take.
    pub(super) fn used(&self) -> u64 {
        let mut used = 0_u64;
        let mut found = vec![ROOT];
        while let Some(inode) = found.pop() {
            match self.nodes.get(&inode) {
                Some(Node::File(content)) => {
                    used = used.saturating_add(u64::try_from(content.size()).unwrap_or(u64::MAX));
                }
                Some(Node::Dir(names)) => {
                    for (_, inode) in names.iter() {
                        used = used.saturating_add(NAME_BYTES);
                        found.push(inode);
                    }
                }
                None => {}
            }
        }
        used
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }
}

fn text(name: &OsStr) -> io::Result<String> {
    name.to_str().map(str::to_owned).ok_or_else(|| Errno::INVAL.into())
}
