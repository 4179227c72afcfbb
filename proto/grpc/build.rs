//! Compiles the .proto files without `protoc`.
use std::env;
use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 8] = [
    "tidelog/v1/common.proto",
    "tidelog/v1/topics.proto",
    "tidelog/v1/log.proto",
    "tidelog/v1/groups.proto",
    "tidelog/v1/membership.proto",
    "tidelog/v1/queue.proto",
    "tidelog/v1/group_admin.proto",
    "tidelog/v1/dlq.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("tidelog_v1_descriptor.bin");
    std::fs::write(&out, protox::prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        // Record bytes stay slices of the received frame.
        .bytes(".tidelog.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
