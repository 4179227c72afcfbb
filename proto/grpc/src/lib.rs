//! The gRPC contract of Tidelog (`tidelog.v1`): messages, clients and servers generated from the `.proto`
//! files beside this crate, and the one place where error codes and gRPC statuses are mapped.

pub mod status;

/// The generated code of package `tidelog.v1`.
#[allow(missing_docs, clippy::all, reason = "generated from the .proto files, which carry the documentation")]
#[allow(
    unreachable_pub,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("tidelog.v1");
}

/// The compiled descriptors, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tidelog_v1_descriptor.bin"));
