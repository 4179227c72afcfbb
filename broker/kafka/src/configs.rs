//! What configs of topics and of the broker are called and look like in the protocol.

use tidelog_runtime::ConfigSource;

/// Where a value comes from: the topic, the broker's configuration, or the table.
pub(crate) const fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::Broker => 4,
        ConfigSource::Default => 5,
    }
}
