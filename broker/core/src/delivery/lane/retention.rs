//! What retention may delete, and records that are gone.

use tidelog_model::{Offset, Timestamp};

use super::Lane;
use crate::delivery::event::Op;
use crate::delivery::policy::{Backoff, Cause};
use crate::delivery::window::State;

impl<B: Backoff> Lane<B> {
    /// The first record that must not be deleted: somebody has had it, and it is neither settled nor copied.
    #[must_use]
    pub fn held_from(&self) -> Offset {
        let held = self
            .window
            .iter()
            .find(|(_, open)| open.is_attempted() || !matches!(open.state, State::Available));
        held.map_or(Offset::MAX, |(offset, _)| offset)
    }

    /// Retention wants the log to start at `wanted`. Records below that have failed before go to the dead letters
    /// first; those that nobody had yet are skipped. [`Self::held_from`] says how far retention may go now.
    pub fn retention(&mut self, now: Timestamp, wanted: Offset) {
        self.tick(now);
        let below: Vec<Offset> =
            self.window.iter().map(|(offset, _)| offset).take_while(|offset| *offset < wanted).collect();
        for offset in below {
            let Some(open) = self.window.get(offset) else { continue };
            match open.state {
                // Its consumer may still settle it.
                State::Leased(_) | State::Dying(..) => {}
                // Without room it waits, and holds the log.
                _ if open.is_attempted() => drop(self.kill(offset, Cause::Retention, None)),
                State::Available | State::Delayed(_) => self.skip(offset),
            }
        }
        if wanted > self.end {
            self.skipped = self.skipped.saturating_add(wanted.since(self.end));
            self.ops.push(Op::Settled { first: self.end, last: wanted.before() });
            self.end = wanted;
            self.advance();
        }
    }

    fn skip(&mut self, offset: Offset) {
        self.skipped = self.skipped.saturating_add(1);
        self.gone(offset);
    }

    /// There is no record at this offset any more: it was compacted away, or never was one. One that is on its way
    /// to the dead letters stays on it, because their numbers have no gaps: a letter without a record is written.
    pub fn gone(&mut self, offset: Offset) {
        let dying = self.window.get(offset).is_some_and(|open| matches!(open.state, State::Dying(..)));
        if !dying && self.close(offset).is_some() {
            self.ops.push(Op::Settled { first: offset, last: offset });
        }
    }
}
