//! What one client may ask for.

use tidelog_model::limits::BATCH_BYTES_MAX_CEILING;

/// Limits of requests and streams. Errors name the field, the limit and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest request message of the log service, in bytes. It must hold the largest batch a topic may
    /// allow, so by default it is `max.message.bytes`'s ceiling of 64 MiB and 1 MiB for what is around it.
    pub request_bytes_max: usize,
    /// The largest request message of the other services, in bytes.
    pub control_request_bytes_max: usize,
    /// Batches (or records in plain fields) in one produce request.
    pub batches_per_request_max: usize,
    /// What one produce stream may have waiting for durability, in bytes of batches. The stream is not read
    /// while it has more, which pushes back on the client's socket.
    pub stream_in_flight_bytes_max: usize,
    /// The same, in requests.
    pub stream_in_flight_requests_max: usize,
    /// Partitions that one fetch stream reads, or one request names.
    pub partitions_per_request_max: usize,
    /// The most bytes of batches in one fetch response a client may ask for.
    pub fetch_response_bytes_max: usize,
    /// The longest byte string in a read filter.
    pub filter_bytes_max: usize,
    /// Ranges of records that one request settles.
    pub settles_per_request_max: usize,
    /// Records that a member of a queue group may ask for at once.
    pub credit_records_max: usize,
    /// The most partitions a produce stream keeps in mind as failed before it is ended.
    pub failed_partitions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: BATCH_BYTES_MAX_CEILING + 1024 * 1024,
            control_request_bytes_max: 4 * 1024 * 1024,
            batches_per_request_max: 10_000,
            stream_in_flight_bytes_max: 32 * 1024 * 1024,
            stream_in_flight_requests_max: 1024,
            partitions_per_request_max: 10_000,
            fetch_response_bytes_max: 16 * 1024 * 1024,
            filter_bytes_max: 64 * 1024,
            settles_per_request_max: 1_000,
            credit_records_max: 100_000,
            failed_partitions_max: 10_000,
        }
    }
}
