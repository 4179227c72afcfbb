//! Fetch (1): records from where the client is, as they lie in the log.
//!
//! * Only the headers of batches are read to make an answer; the kernel sends the batches from where they lie, a
//!   few small ones leave together with what is written around them.
//! * Long poll: the answer leaves when there are `min_bytes`, a partition has an error, something did not fit,
//!   the broker stops, or `max_wait_ms` is over. `max_bytes` is bounded by the broker's own limit, `min_bytes`
//!   by that, and the wait by the broker's longest.
//! * Only whole batches, so the first one may begin before the offset asked for. The first batch of a response
//!   is sent whatever its size, so that no client is stuck before it.
//! * Sessions (KIP-227) are not kept: every answer has session id 0, after which clients name all their
//!   partitions in each request. A request for a session is FETCH_SESSION_ID_NOT_FOUND.
//! * There are no transactions: the last stable offset is the high watermark, and a client that reads committed
//!   records is told that none were aborted.
//! * v7+ has a top-level error, v9+ checks the leader epoch (KIP-320), v12+ is flexible and tells where the logs
//!   of client and broker parted (KIP-595), v13+ names topics by their ids.

mod answer;
pub(crate) mod request;
mod slot;
mod work;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::answer::{Form, TopicAnswer};
use self::request::FetchRequest;
use self::slot::Slot;
use self::work::{Bounds, Work};
use crate::context::{Call, Context, KafkaOptions};
use crate::error::KafkaError;
use crate::response::Response;
use crate::wire::WireError;

/// The session epochs of requests that name all their partitions: for a new session, and for none.
const FULL_EPOCHS: [i32; 2] = [0, -1];
/// The isolation level of clients that read committed records only.
const READ_COMMITTED: i8 = 1;

/// Answers a request.
pub(crate) async fn handle(context: Arc<Context>, call: Call, body: Bytes) -> Result<Response, WireError> {
    let version = call.version;
    let request = FetchRequest::read(body, version)?;
    if !FULL_EPOCHS.contains(&request.session_epoch) {
        return Ok(answer::refusal(KafkaError::FETCH_SESSION_ID_NOT_FOUND, version));
    }
    let bounds = bounds(&request, &context.shared.options);
    let form = Form { version, read_committed: request.isolation_level == READ_COMMITTED };
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut slots = Vec::with_capacity(count);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = topic.topic.find(context.broker()).map_err(|failure| failure.error);
        slots.extend(topic.partitions.iter().map(|asked| Slot::new(&found, *asked)));
        topics.push((topic.topic, topic.partitions.len()));
    }
    let work = Work::new(slots, bounds, Arc::clone(&context.shared.fetch_room));
    let slots = work.run(&context.shared.drain).await;
    let mut slots = slots.into_iter();
    let topics = topics.into_iter().map(|(topic, count)| {
        let partitions = slots.by_ref().take(count).map(Slot::into_answer).collect();
        TopicAnswer { topic, partitions }
    });
    Ok(answer::write(KafkaError::NONE, topics.collect(), form))
}

fn bounds(request: &FetchRequest, options: &KafkaOptions) -> Bounds {
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(options.fetch_bytes_max);
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    Bounds { bytes_min, bytes_max, wait_max: wait.min(options.fetch_wait_max) }
}
