//! A test that never gets to the rare cases proves nothing about them: they are counted.

/// How often what is rare has happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    pub(crate) crash_points: u64,
    pub(crate) ends_inside_recovery: u64,
    pub(crate) torn_tails: u64,
    pub(crate) refused_on_full_disk: u64,
    pub(crate) trims: u64,
    pub(crate) retained: u64,
    pub(crate) compactions: u64,
    pub(crate) removals: u64,
    pub(crate) clean_ends: u64,
    pub(crate) saved: u64,
    pub(crate) aborted: u64,
    pub(crate) loose_synced: u64,
}

impl Reached {
    pub(crate) fn add(&mut self, other: Self) {
        self.crash_points += other.crash_points;
        self.ends_inside_recovery += other.ends_inside_recovery;
        self.torn_tails += other.torn_tails;
        self.refused_on_full_disk += other.refused_on_full_disk;
        self.trims += other.trims;
        self.retained += other.retained;
        self.compactions += other.compactions;
        self.removals += other.removals;
        self.clean_ends += other.clean_ends;
        self.saved += other.saved;
        self.aborted += other.aborted;
        self.loose_synced += other.loose_synced;
    }

    pub(crate) fn everything(&self) -> bool {
        let rest = [self.ends_inside_recovery, self.torn_tails, self.refused_on_full_disk, self.trims];
        let more = [self.retained, self.compactions, self.removals, self.clean_ends];
        let newer = [self.saved, self.aborted, self.loose_synced];
        rest.iter().chain(&more).chain(&newer).all(|count| *count > 0)
    }
}
