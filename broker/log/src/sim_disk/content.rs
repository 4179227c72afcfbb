//! What one file holds: in the page cache, on the device, and on its way from the one to the other.
//!
//! ```text
//! write ──► cached (what reads see)          sync ──► device
//!      └──► pending (what a sync would bring to the device)
//! ```
//!
//! A power cut leaves each sector as it was after some of the pending changes, each sector by itself, and the
//! size as it was at some time in between. A failed sync leaves the pending changes where they fell and calls
//! them clean: a later sync does not bring them again, while reads go on showing them out of the cache.

use super::rng::SimRng;

/// What a device writes as one.
pub(super) const SECTOR: usize = 512;
/// What the cache keeps and drops as one.
const PAGE: usize = 4096;

/// A change that no sync has covered.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Size(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(content, *at, bytes),
            Self::Size(size) => content.resize(*size, 0),
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

/// How a power cut treats one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// All of it had been written back.
    All,
    /// None of it had.
    None,
    /// It had been written back up to some moment.
    UpTo(usize),
    /// Sectors in any order.
    Torn,
}

/// One file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    cached: Vec<u8>,
    device: Vec<u8>,
    pending: Vec<Change>,
    /// The cache shows bytes that no sync will bring to the device.
    lost: bool,
}

impl Content {
    pub(super) const fn size(&self) -> usize {
        self.cached.len()
    }

    /// Reads out of the cache.
    pub(super) fn read(&self, buf: &mut [u8], at: usize) -> usize {
        let rest = self.cached.get(at..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.cached.clone()
    }

    pub(super) fn write(&mut self, at: usize, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.change(Change::Write { at, bytes });
        }
    }

    pub(super) fn set_size(&mut self, size: usize) {
        if size != self.cached.len() {
            self.change(Change::Size(size));
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    /// Brings all pending changes to the device.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.device);
        }
        // The size is kept apart from the pages: it gets there even where pages were lost.
        self.device.resize(self.cached.len(), 0);
    }

    /// Some of the pending changes get to the device, and none of them is pending any more.
    pub(super) fn fail_sync(&mut self, rng: &mut SimRng) {
        if !self.pending.is_empty() {
            self.device = self.cut(rng);
            self.pending.clear();
            self.lost = true;
        }
    }

    /// Makes reads of clean pages from `from` on show what the device holds.
    pub(super) fn drop_cache(&mut self, from: usize) {
        if !self.lost {
            return;
        }
        let mut shown = self.device.clone();
        for change in &self.pending {
            change.apply(&mut shown);
        }
        shown.resize(self.cached.len(), 0);
        let from = from.next_multiple_of(PAGE).min(self.cached.len());
        if let (Some(to), Some(device)) = (self.cached.get_mut(from..), shown.get(from..)) {
            to.copy_from_slice(device);
        }
    }

    /// What a power cut leaves of the file.
    pub(super) fn crash(&self, rng: &mut SimRng) -> Self {
        let device = self.cut(rng);
        Self { cached: device.clone(), device, pending: Vec::new(), lost: false }
    }

    fn cut(&self, rng: &mut SimRng) -> Vec<u8> {
        let mut content = self.device.clone();
        if self.pending.is_empty() {
            return content;
        }
        let upto = match self.fate(rng) {
            Fate::All => self.pending.len(),
            Fate::None => 0,
            Fate::UpTo(moment) => moment,
            Fate::Torn => return self.torn(rng),
        };
        for change in self.pending.iter().take(upto) {
            change.apply(&mut content);
        }
        content
    }

    fn fate(&self, rng: &mut SimRng) -> Fate {
        let moments = u64::try_from(self.pending.len()).unwrap_or(u64::MAX).saturating_add(1);
        match rng.below(8) {
            0 => Fate::All,
            1 => Fate::None,
            2 | 3 => Fate::UpTo(to_usize(rng.below(moments))),
            _ => Fate::Torn,
        }
    }

    /// Each sector as it was at a moment of its own, and the size likewise.
    fn torn(&self, rng: &mut SimRng) -> Vec<u8> {
        let moments = u64::try_from(self.pending.len()).unwrap_or(u64::MAX).saturating_add(1);
        let mut states = self.device.clone();
        let mut largest = states.len();
        let size_at = to_usize(rng.below(moments));
        let mut size = states.len();
        for (number, change) in self.pending.iter().enumerate() {
            change.apply(&mut states);
            largest = largest.max(states.len());
            if number < size_at {
                size = states.len();
            }
        }
        let until: Vec<usize> = (0..largest.div_ceil(SECTOR)).map(|_| to_usize(rng.below(moments))).collect();
        let mut content = self.device.clone();
        content.resize(largest, 0);
        for (number, change) in self.pending.iter().enumerate() {
            apply_to_sectors(change, &mut content, |sector| until.get(sector).is_some_and(|at| number < *at));
        }
        if rng.one_in(8) {
            self.garble(&mut content, &until, rng);
        }
        content.truncate(size);
        content
    }

    /// Blocks that were given to the file and never written hold anything.
    fn garble(&self, content: &mut [u8], until: &[usize], rng: &mut SimRng) {
        for (sector, chunk) in content.chunks_mut(SECTOR).enumerate() {
            let new = sector.saturating_mul(SECTOR) >= self.device.len();
            if new && until.get(sector) == Some(&0) {
                for byte in chunk {
                    *byte = rng.next().to_le_bytes()[0];
                }
            }
        }
    }

    /// Flips bits on the device and in the cache; answers whether the file is that long.
    pub(super) fn corrupt(&mut self, at: usize, mask: u8) -> bool {
        let mut found = false;
        for bytes in [&mut self.device, &mut self.cached] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
                found = true;
            }
        }
        found
    }
}

/// Applies a change to those sectors of `content` (which is long enough) that `takes` names.
fn apply_to_sectors(change: &Change, content: &mut [u8], takes: impl Fn(usize) -> bool) {
    let (start, end) = match change {
        Change::Write { at, bytes } => (*at, at.saturating_add(bytes.len())),
        Change::Size(size) => (*size, content.len()),
    };
    let mut at = start;
    while at < end {
        let sector = at / SECTOR;
        let stop = sector.saturating_add(1).saturating_mul(SECTOR).min(end);
        if takes(sector)
            && let Some(place) = content.get_mut(at..stop)
        {
            match change {
                Change::Size(_) => place.fill(0),
                Change::Write { bytes, .. } => {
                    if let Some(new) = bytes.get(at - start..stop - start) {
                        place.copy_from_slice(new);
                    }
                }
            }
        }
        at = stop;
    }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
