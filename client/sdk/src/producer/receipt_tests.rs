//! Receipts: offsets, wake-ups, and records given back.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::task::{ArcWake, waker};
use tidelog_model::batch::{BatchBuilder, Compression};

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl ArcWake for Count {
    fn wake_by_ref(count: &Arc<Self>) {
        count.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn completion() -> Arc<Completion> {
    Arc::new(Completion::new(TopicName::new("orders").unwrap(), PartitionIndex::new(2).unwrap()))
}

fn receipt(completion: &Arc<Completion>, index: u32) -> Receipt {
    Receipt::new(Arc::clone(completion), index, Timestamp::from_millis(7))
}

fn stored(base: i64) -> Outcome {
    Outcome::Stored { base_offset: Offset::new(base).unwrap(), log_append_time: None }
}

#[test]
fn each_receipt_gets_its_own_offset_and_its_own_time() {
    let batch = completion();
    let (first, third) = (receipt(&batch, 0), receipt(&batch, 2));
    batch.settle(stored(40));
    let first = first.now_or_never().unwrap().unwrap();
    assert_eq!((first.offset.get(), first.timestamp.millis(), first.partition.get()), (40, 7, 2));
    assert_eq!(third.now_or_never().unwrap().unwrap().offset.get(), 42);
}

#[test]
fn the_brokers_time_replaces_the_records() {
    let batch = completion();
    let log_append_time = Some(Timestamp::from_millis(99));
    batch.settle(Outcome::Stored { base_offset: Offset::ZERO, log_append_time });
    assert_eq!(receipt(&batch, 0).now_or_never().unwrap().unwrap().timestamp.millis(), 99);
}

#[test]
fn every_waiting_task_is_woken_once_and_a_dropped_one_leaves_nothing() {
    let batch = completion();
    let counts: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
    let mut receipts: Vec<_> = (0..3).map(|index| receipt(&batch, index)).collect();
    for (receipt, count) in receipts.iter_mut().zip(&counts) {
        let waker = waker(Arc::clone(count));
        for _ in 0..2 {
            assert!(receipt.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
    }
    drop(receipts.pop());
    batch.settle(stored(0));
    let woken: Vec<_> = counts.iter().map(|count| count.0.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [1, 1, 0]);
}

#[test]
fn the_first_settlement_counts() {
    let batch = completion();
    batch.settle(stored(1));
    batch.settle(Outcome::Failed { error: Error::closed("producer"), batch: None });
    assert_eq!(receipt(&batch, 0).now_or_never().unwrap().unwrap().offset.get(), 1);
}

#[test]
fn a_failed_record_comes_back_as_it_was_given() {
    let batch = completion();
    let mut builder = BatchBuilder::new(Compression::Lz4, 0);
    for index in 0..3 {
        let key = format!("k{index}");
        let headers = [(&b"h"[..], None)];
        builder.append(Timestamp::from_millis(5), Some(key.as_bytes()), None, &headers);
    }
    let error = Error::closed("producer").maybe_written(true);
    batch.settle(Outcome::Failed { error, batch: Some(builder.build().unwrap()) });
    let failed = receipt(&batch, 1).now_or_never().unwrap().unwrap_err();
    assert!(failed.may_have_been_written());
    let record = failed.into_record().unwrap();
    assert_eq!(record.get_key().unwrap(), "k1");
    assert_eq!((record.get_value(), record.get_partition()), (None, Some(2)));
    assert_eq!(record.get_headers(), [("h".into(), None)]);
    assert_eq!(record.get_timestamp(), Some(Timestamp::from_millis(5)));
    assert_eq!(record.topic_name().unwrap().as_str(), "orders");
}
