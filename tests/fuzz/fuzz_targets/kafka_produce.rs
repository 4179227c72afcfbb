//! See `tidelog_kafka::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidelog_kafka::fuzzing::produce_request(data));
