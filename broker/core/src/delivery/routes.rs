//! Where dead letters go, and that they come to an end there: no group may read, through others, what its own dead
//! letters become.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use tidelog_model::{GroupId, TopicName};

/// What a queue group reads, and where its dead letters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The group.
    pub group: GroupId,
    /// What it reads.
    pub reads: BTreeSet<TopicName>,
    /// Where its dead letters go.
    pub dead_letters: TopicName,
}

/// Dead letters would go round in a circle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("dead letters would go round in a circle: {}; let one of these groups read another topic, or send its dead letters elsewhere", .circle.join(" -> "))]
pub struct CircleError {
    /// Groups and topics in turn, the first and last the same topic.
    pub circle: Vec<String>,
}

/// Checks that the dead letters of `new`, which takes the place of a group of its name, do not come back to it.
///
/// # Errors
/// [`CircleError`] names the groups and topics of a circle.
pub fn check_circles(new: &Route, others: &[Route]) -> Result<(), CircleError> {
    let others = others.iter().filter(|route| route.group != new.group);
    let routes: Vec<&Route> = others.chain([new]).collect();
    // From the topic of the new group's dead letters on: how each topic is reached.
    let mut reached: BTreeMap<&TopicName, (&Route, &TopicName)> = BTreeMap::new();
    let mut waiting = vec![&new.dead_letters];
    while let Some(topic) = waiting.pop() {
        if new.reads.contains(topic) {
            return Err(CircleError { circle: circle(new, topic, &reached) });
        }
        for route in routes.iter().filter(|route| route.reads.contains(topic)) {
            if route.dead_letters != new.dead_letters && !reached.contains_key(&route.dead_letters) {
                reached.insert(&route.dead_letters, (route, topic));
                waiting.push(&route.dead_letters);
            }
        }
    }
    Ok(())
}

/// The way from `last`, which the new group reads, through it and back.
fn circle(
    new: &Route,
    last: &TopicName,
    reached: &BTreeMap<&TopicName, (&Route, &TopicName)>,
) -> Vec<String> {
    let mut back = vec![last.to_string()];
    let mut topic = last;
    while let Some((route, from)) = reached.get(topic) {
        back.push(format!("group {}", route.group.as_str()));
        back.push(from.to_string());
        topic = from;
    }
    back.push(format!("group {}", new.group.as_str()));
    back.push(last.to_string());
    back.reverse();
    back
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
