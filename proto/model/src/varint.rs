//! Zig-zag variable-length integers, as in Kafka records.
