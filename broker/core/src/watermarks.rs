//! The four offsets that say what a partition holds and what of it may be seen.
//!
//! ```text
//! log_start ≤ last_stable ≤ high_watermark ≤ log_end
//!     │           │              │              └ the next offset to assign
//!     │           │              └ everything below is as durable as the topic's flush policy promises
//!     │           └ everything below belongs to no open transaction
//!     └ the oldest record kept
//! ```
//!
//! **Invariant:** readers see nothing at or above the high watermark, and it never moves back: what was seen
//! stays; the same goes for readers of committed transactions and the last stable offset. The order is asserted on every move, in release builds too, because serving a reader from broken
//! watermarks is worse than stopping the partition.

use tidelog_model::Offset;

/// The watermarks of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The offset of the oldest record kept, or of the next one when there is none.
    pub log_start: Offset,
    /// Where a reader of committed transactions stops (exclusive).
    pub last_stable: Offset,
    /// Where every reader stops (exclusive).
    pub high_watermark: Offset,
    /// The next offset to assign.
    pub log_end: Offset,
}

/// A move of the watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatermarkMove {
    /// Batches up to here (exclusive) were assigned.
    Appended(Offset),
    /// Batches up to `end` (exclusive) are durable, and below `stable` there is nothing of a transaction that has
    /// not ended.
    Committed {
        /// The high watermark.
        end: Offset,
        /// The last stable offset; what lies above the high watermark does not count.
        stable: Offset,
    },
    /// Records below here are gone.
    Trimmed(Offset),
    /// Assigned batches from here on are not in the log: the next offset to assign is this one again.
    CutBack(Offset),
}

impl Watermarks {
    /// The watermarks of a recovered log: all of it is durable, and below `stable` every transaction has ended.
    ///
    /// # Panics
    /// When `log_start` lies above `log_end`.
    #[must_use]
    pub fn recovered(log_start: Offset, stable: Offset, log_end: Offset) -> Self {
        let last_stable = stable.max(log_start).min(log_end);
        Self { log_start, last_stable, high_watermark: log_end, log_end }.checked()
    }

    /// The watermarks after `step`. Moves that lead nowhere (a commit reported late, a trim below the start)
    /// change nothing.
    ///
    /// # Panics
    /// When the move would break their order, or take back what readers may have seen.
    #[must_use]
    pub fn advance(self, step: WatermarkMove) -> Self {
        let mut next = self;
        match step {
            WatermarkMove::Appended(end) => {
                assert!(end >= self.log_end, "append moves the end back from {} to {end}", self.log_end);
                next.log_end = end;
            }
            WatermarkMove::Committed { end, stable } => {
                next.high_watermark = self.high_watermark.max(end);
                next.last_stable = self.last_stable.max(stable.min(next.high_watermark));
            }
            WatermarkMove::Trimmed(start) => {
                next.log_start = self.log_start.max(start);
                // What is gone keeps nobody back.
                next.last_stable = self.last_stable.max(start.min(self.high_watermark));
            }
            WatermarkMove::CutBack(end) => {
                assert!(end <= self.log_end, "cut moves the end forward from {} to {end}", self.log_end);
                next.log_end = end;
            }
        }
        next.checked()
    }

    fn checked(self) -> Self {
        assert!(
            self.log_start <= self.last_stable
                && self.last_stable <= self.high_watermark
                && self.high_watermark <= self.log_end,
            "watermarks out of order: {self:?}"
        );
        self
    }
}

#[cfg(test)]
#[path = "watermarks_tests.rs"]
mod tests;
