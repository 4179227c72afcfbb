//! What the producer does when the broker misbehaves: order, receipts and memory across broken streams.

use std::time::Duration;

use crate::fake::{FakeBroker, ProduceFault};
use futures::FutureExt as _;
use futures::future::join_all;
use tidelog_client::producer::{Breaker, BreakerState};
use tidelog_client::{Client, ErrorKind, Producer, ProducerBuilder, Receipt, Record, SendError};
use tidelog_model::ErrorCode;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(20);

async fn builder(broker: &FakeBroker) -> ProducerBuilder {
    let client = Client::connect(&broker.url()).await.unwrap();
    let producer = client.producer().backoff(Duration::from_millis(1), Duration::from_millis(20));
    // Small requests, so that many are on the way at once.
    producer.batch_bytes(1024)
}

fn record(partition: i32, value: usize) -> Record {
    Record::new("orders").partition(partition).value(value.to_string())
}

/// One batch per record: each is flushed before the next is taken, without waiting for it.
async fn enqueue_apart(producer: &Producer, records: impl IntoIterator<Item = Record>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for record in records {
        receipts.push(producer.enqueue(record).await.unwrap());
        // Polled once: that closes the batch.
        let _unfinished = producer.flush().now_or_never();
    }
    receipts
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Until the condition holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn refusals_and_broken_streams_keep_the_order_and_lose_nothing() {
    let broker = FakeBroker::start(2);
    let refuse = |partition, code| ProduceFault::Refuse(partition, code);
    broker.produce_faults([
        ProduceFault::Store,
        refuse(0, ErrorCode::Overloaded),
        refuse(1, ErrorCode::DiskFull),
        ProduceFault::BreakBefore,
        ProduceFault::Store,
        refuse(0, ErrorCode::Overloaded),
        ProduceFault::BreakBefore,
        refuse(1, ErrorCode::ShuttingDown),
        ProduceFault::Store,
        refuse(0, ErrorCode::Overloaded),
    ]);
    let producer = builder(&broker).await.build().unwrap();
    let records = (0..200).map(|number| record(i32::from(number % 2 == 1), number));
    let receipts = enqueue_apart(&producer, records).await;
    let stored = timeout(SOON, join_all(receipts)).await.unwrap();
    for (number, stored) in stored.into_iter().enumerate() {
        let stored = stored.unwrap();
        assert_eq!(stored.offset.get(), i64::try_from(number / 2).unwrap());
    }
    let state = broker.state();
    assert_eq!(state.values(0), (0..200).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(state.values(1), (1..200).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(state.produce_streams >= 4);
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test]
async fn without_idempotence_a_lost_answer_may_store_twice_but_never_out_of_order() {
    let broker = FakeBroker::start(1);
    broker.produce_faults([
        ProduceFault::Store,
        ProduceFault::BreakAfter,
        ProduceFault::Store,
        ProduceFault::BreakAfter,
    ]);
    let producer = builder(&broker).await.idempotence(false).build().unwrap();
    let receipts = enqueue_apart(&producer, (0..50).map(|number| record(0, number))).await;
    for stored in timeout(SOON, join_all(receipts)).await.unwrap() {
        stored.unwrap();
    }
    let values = broker.state().values(0);
    let mut first_seen = Vec::new();
    for value in &values {
        if !first_seen.contains(value) {
            first_seen.push(value.clone());
        }
    }
    assert_eq!(first_seen, numbers(0..50));
    assert!(values.len() > 50, "the test stored nothing twice");
}

#[tokio::test]
async fn a_lost_answer_stores_once_and_in_order() {
    let broker = FakeBroker::start(2);
    let faults =
        [ProduceFault::Store, ProduceFault::BreakAfter, ProduceFault::BreakBefore, ProduceFault::BreakAfter];
    broker.produce_faults(faults.into_iter().cycle().take(40));
    let producer = builder(&broker).await.breaker(None).build().unwrap();
    let records = (0..100).map(|number| record(i32::from(number % 2 == 1), number));
    let receipts = enqueue_apart(&producer, records).await;
    for (number, stored) in timeout(SOON, join_all(receipts)).await.unwrap().into_iter().enumerate() {
        assert_eq!(stored.unwrap().offset.get(), i64::try_from(number / 2).unwrap());
    }
    let state = broker.state();
    assert_eq!(state.values(0), (0..100).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(state.values(1), (1..100).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(state.produce_streams >= 20, "answers were lost");
    assert_eq!(state.producers_given, 1);
}

#[tokio::test]
async fn a_batch_that_fails_for_good_does_not_hold_up_those_after_it() {
    let broker = FakeBroker::start(2);
    let producer = builder(&broker).await.build().unwrap();
    producer.send(record(0, 0)).await.unwrap();
    producer.send(record(1, 100)).await.unwrap();
    broker.produce_faults([ProduceFault::Refuse(0, ErrorCode::InvalidRecord)]);
    let receipts = enqueue_apart(&producer, (1..20).map(|number| record(0, number))).await;
    let results = timeout(SOON, join_all(receipts)).await.unwrap();
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert!((1..19).contains(&failed), "{failed}");
    // The other partition goes on under the number it had.
    timeout(SOON, producer.send(record(1, 101))).await.unwrap().unwrap();
    let state = broker.state();
    let order: Vec<usize> = state.values(0).iter().map(|value| value.parse().unwrap()).collect();
    assert!(order.is_sorted() && order.len() == 20 - failed, "{order:?}");
    assert_eq!(state.values(1), ["100", "101"]);
    assert_eq!(state.producers_given, 2);
}

#[tokio::test]
async fn without_retries_a_lost_answer_fails_says_so_and_gives_the_record_back() {
    let broker = FakeBroker::start(1);
    broker.produce_faults([ProduceFault::BreakAfter]);
    let producer = builder(&broker).await.retries(false).build().unwrap();
    let error: SendError = producer.send(record(0, 7).key("k").header("h", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.may_have_been_written() && error.is_retryable());
    let record = error.into_record().unwrap();
    assert_eq!(record.get_value().unwrap(), "7");
    assert_eq!(record.get_key().unwrap(), "k");
    assert_eq!(record.get_headers().len(), 1);
    assert_eq!(broker.state().values(0), ["7"]);
    let stored = timeout(SOON, producer.send(record)).await.unwrap().unwrap();
    assert_eq!(stored.offset.get(), 1, "the producer goes on");
}

#[tokio::test]
async fn a_bad_batch_fails_alone_and_what_follows_keeps_its_order() {
    let broker = FakeBroker::start(2);
    broker.produce_faults([ProduceFault::Store, ProduceFault::Refuse(0, ErrorCode::InvalidRecord)]);
    let producer = builder(&broker).await.build().unwrap();
    producer.send(record(0, 0)).await.unwrap();
    let receipts = enqueue_apart(&producer, (1..20).map(|number| record(0, number))).await;
    let results = timeout(SOON, join_all(receipts)).await.unwrap();
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(!failed.is_empty());
    assert!(failed.iter().all(|error| error.kind() == ErrorKind::InvalidRecord && !error.is_retryable()));
    let stored: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(stored.len() + failed.len(), 19);
    let values = broker.state().values(0);
    assert_eq!(values.len(), stored.len() + 1);
    let order: Vec<usize> = values.iter().map(|value| value.parse().unwrap()).collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn a_partition_that_refuses_for_long_does_not_hold_up_the_others() {
    let broker = FakeBroker::start(2);
    broker.produce_faults((0..40).map(|_| ProduceFault::Refuse(0, ErrorCode::DiskFull)));
    let producer =
        builder(&broker).await.backoff(Duration::from_millis(5), Duration::from_millis(400)).build().unwrap();
    let stuck = producer.enqueue(record(0, 0)).await.unwrap();
    for number in 0..30 {
        timeout(SOON, producer.send(record(1, number))).await.unwrap().unwrap();
    }
    assert!(stuck.now_or_never().is_none(), "the refused one is still being tried");
    assert_eq!(broker.state().values(1), numbers(0..30));
}

#[tokio::test]
async fn an_unreachable_broker_fails_records_at_the_deadline_as_not_written() {
    let mut broker = FakeBroker::start(1);
    let producer =
        builder(&broker).await.delivery_timeout(Duration::from_millis(300)).breaker(None).build().unwrap();
    producer.send(record(0, 0)).await.unwrap();
    broker.stop();
    let started = Instant::now();
    // The first may have been sent into the dying connection; the later ones meet a closed port.
    let first = timeout(SOON, producer.send(record(0, 1))).await.unwrap().unwrap_err();
    assert_eq!(first.kind(), ErrorKind::Unreachable);
    assert!(started.elapsed() >= Duration::from_millis(300));
    let later = timeout(SOON, producer.send(record(0, 2))).await.unwrap().unwrap_err();
    assert_eq!(later.kind(), ErrorKind::Unreachable);
    assert!(!later.may_have_been_written() && later.is_retryable());
    assert_eq!(later.into_record().unwrap().get_value().unwrap(), "2");
    let unknown = timeout(SOON, producer.send(Record::new("never-seen").value("3"))).await.unwrap();
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test]
async fn the_breaker_opens_fails_fast_and_closes_when_the_broker_is_back() {
    let mut broker = FakeBroker::start(1);
    let breaker = Breaker::after(3).cooldown(Duration::from_millis(200));
    let producer = builder(&broker).await.breaker(Some(breaker)).build().unwrap();
    producer.send(record(0, 0)).await.unwrap();
    assert_eq!(producer.breaker_state(), BreakerState::Closed);
    broker.stop();
    let waiting = producer.enqueue(record(0, 1)).await.unwrap();
    eventually("the breaker opens", || producer.breaker_state() == BreakerState::Open).await;
    let refused = producer.enqueue(record(0, 2)).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable);
    assert!(refused.error().retry_after().unwrap() <= Duration::from_millis(200));
    assert!(refused.is_retryable() && !refused.may_have_been_written());
    broker.restart().await;
    timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!(producer.breaker_state(), BreakerState::Closed);
    timeout(SOON, producer.send(refused.into_record().unwrap())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_memory_makes_enqueue_wait_until_answers_come() {
    let broker = FakeBroker::start(1);
    broker.produce_faults([ProduceFault::Silence]);
    let producer = builder(&broker)
        .await
        .batch_bytes(4096)
        .memory_bytes(16 * 1024)
        .request_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let value = "x".repeat(1000);
    let mut taken = 0_usize;
    let record = || Record::new("orders").partition(0).value(&value);
    let blocked = loop {
        let mut enqueue = Box::pin(producer.enqueue(record()));
        match timeout(Duration::from_millis(100), &mut enqueue).await {
            Ok(receipt) => drop(receipt.unwrap()),
            Err(_) => break enqueue,
        }
        taken += 1;
        assert!(producer.buffered_bytes() <= 16 * 1024);
        assert!(taken < 17);
    };
    assert!(taken >= 14, "the memory was not used: {taken}");
    // The silent stream is given up after the request timeout, and everything is sent again.
    drop(timeout(SOON, blocked).await.unwrap().unwrap());
    producer.flush().await.unwrap();
    assert_eq!(producer.buffered_bytes(), 0);
    assert!(broker.state().values(0).len() > taken);
}

#[tokio::test]
async fn a_record_larger_than_the_memory_is_refused_at_once() {
    let broker = FakeBroker::start(1);
    let producer = builder(&broker).await.batch_bytes(4096).memory_bytes(8192).build().unwrap();
    let error = producer.enqueue(Record::new("orders").value(vec![0; 9000])).await.unwrap_err();
    assert_eq!((error.kind(), error.error().limit()), (ErrorKind::TooLarge, Some(8192)));
    assert_eq!(error.into_record().unwrap().get_value().unwrap().len(), 9000);
}

#[tokio::test]
async fn close_gives_up_at_its_deadline_and_every_receipt_says_so() {
    let broker = FakeBroker::start(1);
    broker.produce_faults([ProduceFault::Silence]);
    let producer = builder(&broker).await.build().unwrap();
    let receipts = enqueue_apart(&producer, (0..3).map(|number| record(0, number))).await;
    eventually("the first batch is sent", || !broker.state().values(0).is_empty()).await;
    let error = timeout(SOON, producer.close(Duration::from_millis(50))).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let results = timeout(SOON, join_all(receipts)).await.unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::Closed));
    assert!(results[0].as_ref().unwrap_err().may_have_been_written(), "it was sent");
    let error = producer.enqueue(record(0, 9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test]
async fn close_sends_what_lingers_and_wakes_those_who_wait_for_memory() {
    let broker = FakeBroker::start(1);
    let producer = builder(&broker).await.linger(Duration::from_secs(60)).build().unwrap();
    let receipt = producer.enqueue(record(0, 1)).await.unwrap();
    timeout(SOON, producer.close(SOON)).await.unwrap().unwrap();
    receipt.now_or_never().unwrap().unwrap();
    assert_eq!(broker.state().values(0), ["1"]);
}

#[tokio::test]
async fn dropping_the_producer_returns_at_once_and_still_sends() {
    let broker = FakeBroker::start(1);
    let producer = builder(&broker).await.linger(Duration::from_secs(60)).build().unwrap();
    let receipt = producer.enqueue(record(0, 1)).await.unwrap();
    drop(producer);
    timeout(SOON, receipt).await.unwrap().unwrap();
}

#[test]
fn a_runtime_that_ends_settles_every_receipt() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = FakeBroker::start(1);
    let mut receipts = runtime.block_on(async {
        let producer = builder(&broker).await.linger(Duration::from_secs(60)).build().unwrap();
        let receipt = producer.enqueue(record(0, 1)).await.unwrap();
        vec![receipt]
    });
    drop(runtime);
    let error = receipts.remove(0).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.into_record().unwrap().get_value().unwrap(), "1");
}

#[tokio::test]
async fn unknown_topics_partitions_and_bad_names_come_back_with_the_record() {
    let broker = FakeBroker::start(2);
    let producer = builder(&broker).await.build().unwrap();
    let cases = [
        (Record::new("missing"), ErrorKind::NotFound),
        (Record::new("orders").partition(2), ErrorKind::NotFound),
        (Record::new("orders").partition(-1), ErrorKind::InvalidRequest),
        (Record::new("no/slash"), ErrorKind::InvalidRequest),
    ];
    for (record, kind) in cases {
        let error = producer.enqueue(record.value("v")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.into_record().unwrap().get_value().unwrap(), "v");
    }
}

#[tokio::test]
async fn partitions_added_later_are_found_when_they_are_asked_for() {
    let broker = FakeBroker::start(1);
    let producer = builder(&broker).await.build().unwrap();
    producer.send(record(0, 0)).await.unwrap();
    broker.state().partitions = 2;
    let stored = producer.send(record(1, 1)).await.unwrap();
    assert_eq!(stored.partition.get(), 1);
}
