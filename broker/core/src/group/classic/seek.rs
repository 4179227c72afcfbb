//! A seek while the members of a classic group read: the group's positions change between two generations.
//!
//! Members of an eager protocol give everything up before they join again, and begin at the group's positions
//! when they have their assignment. Between the last join and the assignment nobody reads, and commits of the
//! generation before are refused from then on: that is when the positions are set. Members of a cooperative
//! protocol go on where they are with what they keep, so they cannot be moved and the seek is refused.
//!
//! **Invariant:** before the positions are stored, the group is stored as empty in the new generation. A crash
//! after it finds nobody who may commit what was read before.

use super::{ClassicGroup, ClassicImage, Step, subscription};
use crate::group::api::{CommittedOffset, GroupReply, Sought};
use crate::group::consumer::Positions;
use crate::group::error::GroupError;
use crate::group::events::GroupEvent;
use crate::group::groups::Token;

/// The assignors of Kafka's consumers that only an eager member offers.
const EAGER: [&str; 3] = ["range", "roundrobin", "sticky"];

/// What is to happen when the members have joined again.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingSeek {
    positions: Positions,
    tokens: Vec<Token>,
}

impl ClassicGroup {
    /// Where the group will go on when its members have joined again.
    pub(in crate::group) fn pending_seek(&self) -> Positions {
        self.seek.as_ref().map(|seek| seek.positions.clone()).unwrap_or_default()
    }

    /// Moves the members; answered when the positions are set.
    ///
    /// # Errors
    /// [`GroupError::CannotFollow`].
    pub(in crate::group) fn seek(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        positions: Positions,
    ) -> Result<(), GroupError> {
        if !self.follows() {
            return Err(GroupError::CannotFollow { group: step.group.clone() });
        }
        let seek = self.seek.get_or_insert_default();
        seek.positions.extend(positions);
        seek.tokens.push(token);
        self.rebalance(step);
        Ok(())
    }

    /// Whether each member begins anew at the group's positions after a rebalance.
    fn follows(&self) -> bool {
        let eager = |member: &super::Member| {
            member.protocols.iter().any(|protocol| EAGER.contains(&protocol.name.as_str()))
        };
        self.protocol_type() == subscription::PROTOCOL_TYPE && self.members.values().all(eager)
    }

    /// Sets the positions: the members have joined the new generation and have no assignment yet, or there are
    /// none.
    pub(super) fn finish_seek(&mut self, step: &mut Step<'_>) {
        let Some(PendingSeek { positions, tokens }) = self.seek.take() else { return };
        if !self.members.is_empty() {
            let image = ClassicImage {
                generation: self.generation,
                protocol_type: self.protocol_type().to_owned(),
                protocol_name: String::new(),
                leader: String::new(),
                since: step.now,
                members: Vec::new(),
            };
            let group = step.group.clone();
            step.out.events.push(GroupEvent::ClassicStored { group, image: image.clone() });
            self.stored = Some(image);
        }
        for ((topic_id, partition), offset) in positions {
            let committed = CommittedOffset::sought(offset, step.now);
            let group = step.group.clone();
            step.out.events.push(GroupEvent::OffsetCommitted { group, topic_id, partition, committed });
        }
        for token in tokens {
            step.answer(token, Ok(GroupReply::Seek(Sought::Done)));
        }
    }
}
