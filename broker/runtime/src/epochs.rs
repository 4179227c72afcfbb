//! Which leader epoch wrote what: readers ask, to find out whether the log was cut behind them (KIP-320).

use tidelog_log::epoch_end;
use tidelog_model::{LeaderEpoch, Offset};

use crate::error::BrokerError;
use crate::partition::Partition;

impl Partition {
    /// The largest leader epoch known up to `epoch`, and the offset after the last of its records that can be
    /// read. `None` when `epoch` is newer than all.
    ///
    /// # Errors
    /// When the partition cannot be read.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Result<Option<(LeaderEpoch, Offset)>, BrokerError> {
        self.check_readable()?;
        let end = self.readable().high_watermark;
        Ok(epoch_end(&self.log()?.leader_epochs(), end, epoch))
    }

    /// The leader epoch in which the record at `offset` was written, or would be; `None` when nobody knows
    /// any more.
    ///
    /// # Errors
    /// When the partition cannot be read.
    pub fn epoch_at(&self, offset: Offset) -> Result<Option<LeaderEpoch>, BrokerError> {
        self.check_readable()?;
        let epochs = self.log()?.leader_epochs();
        Ok(epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch))
    }
}
