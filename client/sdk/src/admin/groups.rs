//! What groups are at, and where they go on.

use tidelog_model::{GroupId, Offset, TopicPartition};
use tidelog_proto::v1;

use super::{Admin, wire};
use crate::error::{Error, Result};

/// What a group is at, and who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub group: GroupId,
    /// `Empty`, `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Assigning` or `Reconciling`.
    pub state: String,
    /// `classic`: members assign among themselves, or nobody is a member; `consumer`: the broker assigns.
    pub protocol: String,
    /// Who assigns: the assignor's name; empty when nobody does.
    pub assignor: String,
    /// The generation, or the group's epoch.
    pub epoch: i32,
    /// Its members, by id.
    pub members: Vec<GroupMember>,
    /// Where the group will go on once its members have given these partitions up.
    pub pending_seeks: Vec<(TopicPartition, Offset)>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// The client's address.
    pub host: String,
    /// Its epoch, or the group's generation.
    pub epoch: i32,
    /// What it reads, as far as the broker can tell.
    pub partitions: Vec<TopicPartition>,
}

/// What a seek does to a group whose members read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenActive {
    /// Nothing: it is refused.
    Refuse,
    /// It moves them, by a rebalance of the partitions concerned.
    Move,
}

/// How a seek went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seek {
    /// The group goes on there.
    Done,
    /// The broker remembers it, also over a restart, and does it when the members have given the partitions up;
    /// [`GroupDescription::pending_seeks`] tells.
    Pending,
}

impl Admin {
    /// What a group is at, and who is in it.
    ///
    /// # Errors
    /// `NotFound` when there is no such group.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let call = || {
            let mut api = self.client.membership_api();
            let request = v1::DescribeGroupRequest { group: group.to_owned() };
            async move { api.describe_group(request).await }
        };
        wire::group_description(group, self.client.call(call).await?)
    }

    /// Sets where a group goes on, in all these partitions or in none; durable when it returns.
    ///
    /// A group without members is set at once. Members are moved if `when_active` says so: they give the
    /// partitions up, the positions are set while nobody reads, and whoever gets a partition begins there. What
    /// they read before cannot be committed any more. Members of Kafka's classic protocol are waited for, so
    /// the call may take as long as their rebalance.
    ///
    /// # Errors
    /// `Conflict` when the group has members that may not be moved, or that would not follow (cooperative or
    /// unknown assignors of the classic protocol); `NotFound` when there is no such partition. After
    /// `Unreachable` or `Timeout` it may be done, or be done later.
    pub async fn seek_group(
        &self,
        group: &str,
        positions: &[(TopicPartition, Offset)],
        when_active: WhenActive,
    ) -> Result<Seek> {
        let position = |(partition, offset): &(TopicPartition, Offset)| v1::SeekPosition {
            topic: partition.topic.as_str().to_owned(),
            partition: partition.partition.get(),
            offset: offset.get(),
        };
        let request = v1::SeekGroupRequest {
            group: group.to_owned(),
            positions: positions.iter().map(position).collect(),
            active: when_active == WhenActive::Move,
        };
        let mut api = self.client.groups_api();
        let answer = self.client.call_once(api.seek_group(request)).await?;
        Ok(if answer.pending { Seek::Pending } else { Seek::Done })
    }

    /// Forgets a group's offsets of partitions whose topics none of its members subscribes to.
    ///
    /// # Errors
    /// `NotFound` when there is no such group. The first failure of any partition, which [`Error::partition`]
    /// names; the others may be forgotten.
    pub async fn delete_group_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<()> {
        let place = |partition: &TopicPartition| v1::TopicPartition {
            topic: partition.topic.as_str().to_owned(),
            partition: partition.partition.get(),
        };
        let request = v1::DeleteOffsetsRequest {
            group: group.to_owned(),
            partitions: partitions.iter().map(place).collect(),
        };
        let mut api = self.client.groups_api();
        let results = self.client.call_once(api.delete_offsets(request)).await?.results;
        for (partition, result) in partitions.iter().zip(results) {
            if let Some(detail) = result.error {
                return Err(Error::from_detail(detail).with_partition(partition.clone()));
            }
        }
        Ok(())
    }
}
