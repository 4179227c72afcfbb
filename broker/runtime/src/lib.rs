//! Runs the core's machines over the log's partitions: the [`Broker`] API that every front end stands on.
//!
//! * [`Partition`]: append, read, watch the watermarks. Its owner is a struct behind a short lock.
//! * [`Broker`]: topics, committed offsets, admission, health, start and shutdown.
//! * `coordinator`: a machine of the core in service over an internal partition.
//!
//! **Invariant:** no file is touched on an async worker thread, except by reads that only look at memory.

mod admission;
mod broker;
mod clock;
mod coordinator;
mod door;
mod epochs;
mod error;
mod group_worker;
mod logs;
mod metrics;
mod open_error;
mod options;
mod owner;
mod partition;
mod producer_ids;
mod producers;
mod queue;
mod shared;
mod topic;

pub use admission::AdmitPermit;
pub use broker::{
    Broker, CommitOffsets, CommittedOffset, CreateTopic, EachResult, FetchOffsets, Health, ListedDeadLetter,
    OffsetCommit, QueueInfo, RedriveProgress, RedriveSpec, TopicRef,
};
pub use clock::{Clock, SystemClock};
pub use door::{CheckError, check_batch};
pub use error::BrokerError;
pub use metrics::{Counter, Histogram, HistogramSnapshot, Metrics};
pub use open_error::OpenError;
pub use options::BrokerOptions;
pub use owner::{AckFuture, Acks};
pub use partition::{Appended, Extent, Located, Partition, PartitionStatus};
pub use queue::{
    AlterQueue, CreateQueue, DeadLetterPage, DescribedLane, DescribedQueue, DescribedQueueMember, JoinQueue,
    JoinedQueue, QueueBatch, QueueMember, QueuePage, QueuePlace, QueueScope, RetryPage, SettleRecords,
    SettledRecords,
};
pub use tidelog_core::Watermarks;
pub use tidelog_core::catalog::{
    ConfigEntry, ConfigKey, ConfigKind, ConfigSource, KEPT_CONFIGS, RETIRED_CONFIGS, TOPIC_CONFIGS,
    TopicConfig,
};
pub use tidelog_core::delivery;
pub use tidelog_core::group::{GroupConfig, GroupLimits, api as group};
pub use tidelog_core::partition::ProducerLimits;
pub use tidelog_log::ReadSlice;
pub use topic::{Topic, TopicInfo};
