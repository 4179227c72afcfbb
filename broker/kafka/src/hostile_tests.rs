//! Whatever bytes a peer sends: every API in every version answers, or says why it closes the connection.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::context::KafkaOptions;
use crate::dispatch;
use crate::frame::Frame;
use crate::testing::Bench;
use crate::versions::{APIS, Api};

/// Bytes that are often lengths, counts, booleans and ends of lists.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(0_u8),
        3 => Just(1_u8),
        3 => 2..6_u8,
        1 => Just(255_u8),
        1 => Just(b'a'),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..120)
}

fn frame(api: &Api, version: i16, body: &[u8]) -> Frame {
    let mut bytes = BytesMut::new();
    bytes.put_i16(api.key);
    bytes.put_i16(version);
    bytes.put_i32(7);
    bytes.put_i16(1);
    bytes.put_u8(b'c');
    if api.is_flexible(version) {
        bytes.put_u8(0);
    }
    bytes.put_slice(body);
    Frame { bytes: bytes.freeze(), permit: None }
}

async fn bench() -> Bench {
    let options = KafkaOptions { fetch_wait_max: Duration::from_millis(1), ..KafkaOptions::default() };
    let bench = Bench::with(options, |broker| {
        broker.catalog_limits.partitions_per_topic_max = 4;
        broker.catalog_limits.topics_max = 20;
    })
    .await;
    bench.create("a", 2).await;
    bench
}

/// Whether the request was answered. One that waits for other requests is given up soon.
async fn send(bench: &Bench, frame: Frame) -> bool {
    let context = bench.context();
    let answered = async {
        let begun = dispatch::begin(&context, frame).await;
        match begun {
            Ok(begun) => begun.pending.await.is_ok(),
            Err(_) => false,
        }
    };
    tokio::time::timeout(Duration::from_millis(20), answered).await.unwrap_or(false)
}

#[test]
fn any_body_in_any_version_is_answered_or_refused() {
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(bench());
    let versions = |api: &'static Api| (api.min..=api.max).map(move |version| (api, version));
    let all: Vec<(&Api, i16)> = APIS.iter().flat_map(versions).collect();
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    let answered = RefCell::new(BTreeSet::new());
    let strategy = (prop::sample::select(all), body());
    let tested = runner.run(&strategy, |((api, version), body)| {
        if runtime.block_on(send(&bench, frame(api, version, &body))) {
            answered.borrow_mut().insert(api.name);
        }
        Ok(())
    });
    tested.unwrap();
    // Bodies that are all broken would not try much.
    assert!(answered.borrow().len() > APIS.len() / 2, "only {answered:?} were ever answered");
    // The broker is still in service.
    runtime.block_on(bench.create("still", 1));
}

#[test]
fn counts_that_are_larger_than_the_request_are_refused_without_memory_for_them() {
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(bench());
    for api in APIS {
        for version in api.min..=api.max {
            // 2^31 - 1 in each position, in both forms.
            for skipped in 0..24 {
                let mut old = vec![0; skipped];
                old.extend([0x7f, 0xff, 0xff, 0xff]);
                let mut compact = vec![0; skipped];
                compact.extend([0xff, 0xff, 0xff, 0xff, 0x07]);
                for body in [old, compact] {
                    runtime.block_on(send(&bench, frame(api, version, &body)));
                }
            }
        }
    }
}

#[test]
fn frames_too_short_for_a_header_are_refused() {
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(bench());
    let whole = frame(&APIS[0], APIS[0].min, &[]).bytes;
    for len in 0..whole.len() {
        let frame = Frame { bytes: Bytes::copy_from_slice(&whole[..len]), permit: None };
        let context = Arc::clone(&bench.context);
        assert!(runtime.block_on(dispatch::begin(&context, frame)).is_err(), "{len} bytes");
    }
}
