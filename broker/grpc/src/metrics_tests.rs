//! Calls are counted once, with their code and in their bucket.

use std::time::Duration;

use tonic::{Code, Status};

use super::{Api, ApiMetrics, DURATION_BUCKETS_MS};

fn codes(metrics: &ApiMetrics, api: Api) -> Vec<(Code, u64)> {
    metrics.iter().find(|(found, _)| *found == api).unwrap().1.codes().collect()
}

#[tokio::test]
async fn a_call_is_counted_with_its_code() {
    let metrics = ApiMetrics::default();
    metrics.observe(Api::CreateTopic, async { Ok(()) }).await.unwrap();
    let failed = metrics.observe(Api::CreateTopic, async { Err::<(), _>(Status::not_found("x")) }).await;
    assert_eq!(failed.unwrap_err().code(), Code::NotFound);
    assert_eq!(codes(&metrics, Api::CreateTopic), [(Code::Ok, 1), (Code::NotFound, 1)]);
    assert!(codes(&metrics, Api::ListTopics).is_empty());
}

#[tokio::test]
async fn a_call_the_client_gives_up_counts_as_cancelled() {
    let metrics = ApiMetrics::default();
    let call = metrics.observe(Api::FetchRecords, std::future::pending::<Result<(), Status>>());
    assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    assert_eq!(codes(&metrics, Api::FetchRecords), [(Code::Cancelled, 1)]);
    assert!(metrics.iter().all(|(_, stats)| stats.in_flight() == 0));
}

#[test]
fn durations_fall_into_the_bucket_that_holds_them() {
    let metrics = ApiMetrics::default();
    for (millis, bucket) in [(0.1, 0), (0.25, 0), (0.3, 1), (10_000.0, 13), (10_001.0, 14)] {
        metrics.record(Api::Produce, Code::Ok, Duration::from_secs_f64(millis / 1_000.0));
        let (_, stats) = metrics.iter().find(|(api, _)| *api == Api::Produce).unwrap();
        assert!(stats.durations().0[bucket] > 0, "{millis} ms");
    }
    assert_eq!(DURATION_BUCKETS_MS.len(), 14);
}
