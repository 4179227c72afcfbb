//! The one thing the broker reads of members' metadata: the topics a consumer subscribes to.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use tidelog_model::TopicName;

/// The kind of groups whose metadata can be read.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// The topics of a consumer's subscription: a version, then an array of strings, then what newer versions add.
/// `None` when it is not one. Names that no topic can have are left out.
pub(super) fn topics(metadata: &Bytes) -> Option<BTreeSet<TopicName>> {
    let mut rest = metadata.clone();
    let version = rest.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = rest.try_get_i32().ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        if length > rest.remaining() {
            return None;
        }
        let name = rest.split_to(length);
        topics.extend(std::str::from_utf8(&name).ok().and_then(|name| TopicName::new(name).ok()));
    }
    Some(topics)
}
