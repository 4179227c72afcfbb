//! What happens around consumers: dead letters are written, seen to and redriven, and retention deletes records.

use tidelog_core::delivery::Redrive;
use tidelog_model::PartitionIndex;

use super::planted::Plant;
use super::shadow::At;
use super::world::{Broken, World, ensure, index, offset};

impl World {
    /// Copies some of what is dying to the dead letters. An append may fail, its answer may get lost, and the broker
    /// may die at any point.
    pub(crate) fn bury(&mut self, healthy: bool) -> Result<bool, Broken> {
        self.tick()?;
        if self.plant != Plant::LetterBeforeIntent {
            self.sync();
        }
        let count = 1 + self.rng.index(3);
        let mut buried = false;
        for one in self.lane.dying(count) {
            let at = index(one.offset);
            ensure!(at >= self.partition.log_start, "I18: {one:?} was deleted before it was copied");
            let chance = if healthy { 99 } else { self.rng.below(100) };
            let fails = chance < 15;
            if fails && self.plant != Plant::DeadWithoutLetter {
                return Ok(buried);
            }
            let place = if fails { self.letters.len() } else { self.append_letter(one.sequence, at)? };
            if chance < 25 && !fails {
                self.tell(|| format!("the answer for letter {} is lost", one.sequence));
                return Ok(buried);
            }
            if chance < 30 && !fails {
                self.crash()?;
                return Ok(buried);
            }
            self.tell(|| format!("letter {} of {at} is at {place}", one.sequence));
            let place = offset(place);
            self.lane.died(one.sequence, one.sequence, PartitionIndex::ZERO, place);
            self.shadow.records[at].at = At::Dead(one.sequence, place.get());
            self.check()?;
            buried = true;
        }
        Ok(buried)
    }

    /// The append of a source with a name: a number that is there already is not written again.
    fn append_letter(&mut self, sequence: u64, at: usize) -> Result<usize, Broken> {
        if self.rng.percent(20) {
            self.letters.push(None);
        }
        let known = self.letters.iter().position(|letter| letter.is_some_and(|(known, _)| known == sequence));
        if let Some(place) = known
            && self.plant != Plant::LettersTwice
        {
            let letter = self.letters[place];
            ensure!(letter == Some((sequence, at)), "I2: {letter:?} is not of {at}");
            return Ok(place);
        }
        let last = self.letters.iter().flatten().map(|(sequence, _)| *sequence).max();
        let next = last.map_or(0, |last| last + 1);
        ensure!(sequence <= next, "I2: letter {sequence} comes before {next}");
        self.letters.push(Some((sequence, at)));
        Ok(self.letters.len() - 1)
    }

    pub(crate) fn retain(&mut self) -> Result<(), Broken> {
        self.tick()?;
        let wanted = self.partition.log_start + self.rng.index(6);
        let wanted = wanted.min(self.partition.keys.len());
        self.tell(|| format!("retention to {wanted}"));
        let now = self.told();
        self.lane.retention(now, offset(wanted));
        for at in 0..wanted {
            let record = &mut self.shadow.records[at];
            let is_free = matches!(record.at, At::Free) && !record.is_attempted();
            if is_free {
                record.at = At::Gone;
            }
        }
        self.check()?;
        self.sync();
        let held = self.lane.held_from();
        let deleted = if self.plant == Plant::RetentionEats { wanted } else { wanted.min(cap(held)) };
        self.partition.log_start = self.partition.log_start.max(deleted);
        self.shadow.log_start = self.partition.log_start;
        let kept = (0..self.partition.log_start).find(|at| {
            let record = &self.shadow.records[*at];
            record.is_attempted() && !record.is_terminal()
        });
        ensure!(kept.is_none(), "I18: {kept:?} has failed and is deleted");
        Ok(())
    }

    /// Hands a dead letter out again, once for each redrive.
    pub(crate) fn redrive(&mut self) -> Result<(), Broken> {
        self.tick()?;
        if self.rng.percent(50) || self.last_redrive == 0 {
            self.last_redrive += 1;
        }
        let id = self.last_redrive;
        let redriven: Vec<usize> = (self.partition.log_start..self.shadow.records.len())
            .filter(|at| {
                matches!(self.shadow.records[*at].at, At::Dead(..)) || self.shadow.records[*at].redrive == id
            })
            .collect();
        for at in redriven {
            let now = self.told();
            let answer = self.lane.redrive(now, id, offset(at));
            self.tell(|| format!("redrive {id} of {at}: {answer:?}"));
            self.redriven(id, at, answer)?;
            self.check()?;
        }
        Ok(())
    }

    fn redriven(&mut self, id: u64, at: usize, answer: Redrive) -> Result<(), Broken> {
        let limit = self.policy.max_redrives;
        let record = &mut self.shadow.records[at];
        let is_dead = matches!(record.at, At::Dead(..));
        let expected = match (is_dead, record.redrive == id) {
            (true, false) if record.redrives >= limit => Redrive::TooOften { limit },
            (true, false) => Redrive::Done,
            (true, true) => Redrive::HadIt,
            (false, true) if !record.is_terminal() => Redrive::HadIt,
            (false, _) => Redrive::NotDead,
        };
        ensure!(answer == expected, "I14: redrive {id} of {record:?} gives {answer:?}");
        if answer == Redrive::Done {
            (record.at, record.attempts, record.releases) = (At::Free, 0, 0);
            (record.alone, record.rejected) = (false, false);
            (record.redrive, record.redrives) = (id, record.redrives + 1);
            self.delivered[at] = 0;
            self.revived += 1;
        }
        Ok(())
    }

    pub(crate) fn resolve(&mut self) -> Result<(), Broken> {
        self.tick()?;
        let at = self.rng.index(self.shadow.records.len());
        let is_dead = matches!(self.shadow.records[at].at, At::Dead(..));
        let was_dead = self.lane.resolve(offset(at));
        ensure!(was_dead == is_dead, "a dead letter {at} that is {:?}", self.shadow.records[at]);
        if is_dead {
            self.shadow.records[at].at = At::Resolved;
        }
        self.check()
    }

    /// A newer record of its key has taken the place of a record.
    pub(crate) fn compacted_away(&mut self) -> Result<(), Broken> {
        self.tick()?;
        let end = index(self.lane.end());
        let at = self.rng.index(self.shadow.records.len());
        let record = &mut self.shadow.records[at];
        let is_in_hand = matches!(record.at, At::Leased(_));
        if at >= end || is_in_hand {
            return Ok(());
        }
        if !record.is_terminal() && !matches!(record.at, At::Dying(..)) {
            record.at = At::Gone;
        }
        self.lane.gone(offset(at));
        self.tell(|| format!("{at} is compacted away"));
        self.check()
    }

    /// I2: what is dead has one dead letter of its number, and no number has two.
    pub(crate) fn check_letters(&self) -> Result<(), Broken> {
        let written: Vec<(u64, usize)> = self.letters.iter().flatten().copied().collect();
        for (number, (sequence, at)) in written.iter().enumerate() {
            let first = written.iter().position(|(other, _)| other == sequence);
            ensure!(first == Some(number), "I2: number {sequence} of {at} twice");
        }
        for (at, record) in self.shadow.records.iter().enumerate() {
            if let At::Dead(sequence, place) = record.at {
                let letter = self.letters.get(usize::try_from(place).unwrap()).copied().flatten();
                ensure!(letter == Some((sequence, at)), "I2: {at}, {record:?}, has the letter {letter:?}");
            }
            let letters = written.iter().filter(|(_, of)| *of == at).count();
            let most = usize::from(record.redrives) + usize::from(record.at != At::Acked);
            ensure!(letters <= most, "I2: {letters} letters of {at}, {record:?}");
        }
        Ok(())
    }
}

fn cap(offset: tidelog_model::Offset) -> usize {
    usize::try_from(offset.get()).unwrap_or(usize::MAX)
}
