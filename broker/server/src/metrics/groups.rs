//! Groups: how many of each protocol and state, their members, and how often they changed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tidelog_runtime::Broker;
use tidelog_runtime::group::{ListGroups, ListedGroup};
use tokio::runtime::Handle;

use super::writer::Writer;

/// How long the page waits for the groups.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Writes them. When the groups cannot be asked now, their gauges are left out: not knowing is not zero.
pub(super) fn write(out: &mut Writer<'_>, broker: &Broker) -> fmt::Result {
    let metrics = broker.metrics();
    let changed = [("classic", &metrics.rebalances_classic), ("consumer", &metrics.rebalances_consumer)];
    let changed = changed.map(|(protocol, count)| ([("protocol", protocol)], count.get()));
    let help = "Generations of classic groups and epochs of consumer groups that were stored";
    out.counters("tidelog_group_rebalances", help, changed)?;
    let Some(groups) = ask(broker) else { return Ok(()) };
    let mut states: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut members: BTreeMap<&str, usize> = BTreeMap::from([("classic", 0), ("consumer", 0)]);
    for group in &groups {
        let protocol = group.group_type.name();
        *states.entry((protocol, group.state.name())).or_default() += 1;
        *members.entry(protocol).or_default() += group.members;
    }
    let states = states
        .into_iter()
        .map(|((protocol, state), count)| ([("protocol", protocol), ("state", state)], count));
    out.gauges("tidelog_groups", "Groups, by who assigns and by their state", states)?;
    let members = members.into_iter().map(|(protocol, count)| ([("protocol", protocol)], count));
    out.gauges("tidelog_group_members", "Members of groups", members)
}

/// The page is made on a thread that may block.
fn ask(broker: &Broker) -> Option<Vec<ListedGroup>> {
    let all = broker.list_groups(ListGroups::default());
    let asked = async { tokio::time::timeout(WAIT_MAX, all).await };
    Handle::try_current().ok()?.block_on(asked).ok()?.ok()
}
