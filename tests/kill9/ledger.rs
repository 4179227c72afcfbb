//! What the members of one group were told, and what that forbids to be told later.
//!
//! A fact counts from the moment its answer arrived. An answer is held against the facts that were known
//! before its question left, so that whatever is complained of is the broker's doing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};

/// Partition to offset.
pub(crate) type Offsets = BTreeMap<i32, i64>;

#[derive(Debug, Default)]
struct Told {
    tried: Offsets,
    acked: Offsets,
    epoch: i32,
    /// Of a generation and a member's name.
    assignments: BTreeMap<(i32, String), BTreeSet<i32>>,
    owners: BTreeMap<i32, String>,
    commits: u64,
    rebalances: u64,
}

/// The facts about one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Told>>);

impl Ledger {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next offset to commit for a partition: larger than every one that was tried.
    pub(crate) fn next_offset(&self, partition: i32) -> i64 {
        let mut told = self.told();
        let tried = told.tried.entry(partition).or_default();
        *tried += 1;
        *tried
    }

    /// An offset is about to be committed.
    pub(crate) fn tried(&self, partition: i32, offset: i64) {
        let mut told = self.told();
        let tried = told.tried.entry(partition).or_default();
        *tried = offset.max(*tried);
    }

    /// A commit was acknowledged.
    pub(crate) fn acked(&self, partition: i32, offset: i64) {
        let mut told = self.told();
        told.commits += 1;
        let acked = told.acked.entry(partition).or_default();
        *acked = offset.max(*acked);
    }

    /// What is committed at least.
    pub(crate) fn committed_at_least(&self) -> Offsets {
        self.told().acked.clone()
    }

    /// What the broker says is committed, and what was known when it was asked.
    pub(crate) fn committed(&self, known: &Offsets, now: &Offsets) -> Result<()> {
        let told = self.told();
        for (partition, least) in known {
            let found = now.get(partition).copied();
            ensure!(
                found >= Some(*least),
                "partition {partition}: {least} was committed, now it is {found:?}"
            );
        }
        for (partition, found) in now {
            let most = told.tried.get(partition).copied().unwrap_or(-1);
            ensure!(*found <= most, "partition {partition}: {found} is committed, at most {most} was tried");
        }
        Ok(())
    }

    /// The highest generation or epoch that anybody was told.
    pub(crate) fn epoch(&self) -> i32 {
        self.told().epoch
    }

    /// A member was told a generation or epoch, after this one was `known`.
    pub(crate) fn epoch_told(&self, known: i32, epoch: i32) -> Result<()> {
        ensure!(epoch >= known, "after generation {known} came {epoch}");
        let mut told = self.told();
        told.rebalances += u64::from(epoch > told.epoch);
        told.epoch = epoch.max(told.epoch);
        Ok(())
    }

    /// A member's assignment in a generation: never another one, and nothing that another member has.
    pub(crate) fn assigned(&self, generation: i32, name: &str, partitions: BTreeSet<i32>) -> Result<()> {
        let mut told = self.told();
        let of_generation = (generation, String::new())..(generation + 1, String::new());
        for ((_, other), theirs) in told.assignments.range(of_generation) {
            if other == name {
                ensure!(
                    *theirs == partitions,
                    "{name} has {partitions:?} in generation {generation}, it had {theirs:?}"
                );
            } else {
                let both: Vec<_> = theirs.intersection(&partitions).collect();
                ensure!(both.is_empty(), "{name} and {other} both have {both:?} in generation {generation}");
            }
        }
        told.assignments.insert((generation, name.to_owned()), partitions);
        Ok(())
    }

    /// A member was given partitions by the consumer protocol: nobody may have them still.
    pub(crate) fn owns(&self, name: &str, partitions: &BTreeSet<i32>) -> Result<()> {
        let mut told = self.told();
        for partition in partitions {
            let owner = told.owners.insert(*partition, name.to_owned());
            let free = owner.as_deref().is_none_or(|owner| owner == name);
            ensure!(free, "{name} is given partition {partition}, which {owner:?} has");
        }
        Ok(())
    }

    /// A member is about to report that it has only these.
    pub(crate) fn keeps(&self, name: &str, partitions: &BTreeSet<i32>) {
        let kept = |partition: &i32, owner: &mut String| owner != name || partitions.contains(partition);
        self.told().owners.retain(kept);
    }

    /// How many commits were acknowledged, and how many generations were met.
    pub(crate) fn figures(&self) -> (u64, u64) {
        let told = self.told();
        (told.commits, told.rebalances)
    }
}

#[test]
fn what_must_not_be_told_is_noticed() {
    let set = |partitions: &[i32]| partitions.iter().copied().collect::<BTreeSet<_>>();
    let ledger = Ledger::default();
    assert_eq!((ledger.next_offset(0), ledger.next_offset(0)), (1, 2));
    ledger.acked(0, 2);
    let known = ledger.committed_at_least();
    assert!(ledger.committed(&known, &BTreeMap::from([(0, 2)])).is_ok());
    assert!(ledger.committed(&known, &BTreeMap::from([(0, 1)])).is_err(), "went back");
    assert!(ledger.committed(&known, &BTreeMap::new()).is_err(), "is gone");
    assert!(ledger.committed(&known, &BTreeMap::from([(0, 3)])).is_err(), "was never committed");

    assert!(ledger.epoch_told(ledger.epoch(), 4).is_ok());
    assert!(ledger.epoch_told(ledger.epoch(), 3).is_err(), "a generation came back");

    assert!(ledger.assigned(4, "a", set(&[0, 1])).is_ok());
    assert!(ledger.assigned(4, "a", set(&[0, 1])).is_ok());
    assert!(ledger.assigned(4, "a", set(&[0])).is_err(), "changed within a generation");
    assert!(ledger.assigned(4, "b", set(&[1, 2])).is_err(), "has two owners");
    assert!(ledger.assigned(5, "b", set(&[1, 2])).is_ok());

    assert!(ledger.owns("a", &set(&[0, 1])).is_ok());
    ledger.keeps("a", &set(&[0]));
    assert!(ledger.owns("b", &set(&[1])).is_ok());
    assert!(ledger.owns("b", &set(&[0])).is_err(), "has two owners");
    assert_eq!(ledger.figures(), (1, 1));
}
