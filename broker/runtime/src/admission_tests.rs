use std::time::Duration;

use tidelog_model::ErrorCode;

use super::Admission;

#[tokio::test]
async fn a_request_larger_than_the_budget_is_refused_for_good() {
    let admission = Admission::new(100, Duration::from_secs(5));
    let refused = admission.admit(101).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.limit, refused.actual),
        (ErrorCode::MessageTooLarge, Some(100), Some(101))
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_budget_refuses_after_the_wait_and_admits_when_bytes_come_back() {
    let admission = Admission::new(100, Duration::from_millis(50));
    let mut permit = admission.admit(80).await.unwrap();
    let refused = admission.admit(30).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Overloaded);
    assert!(refused.retry_after_ms.is_some());
    let share = permit.split(30).unwrap();
    assert!(permit.split(51).is_none());
    drop(share);
    assert_eq!(admission.in_flight_bytes(), 50);
    let second = admission.admit(50).await.unwrap();
    drop((permit, second));
    assert_eq!(admission.in_flight_bytes(), 0);
}

#[tokio::test]
async fn closing_sends_waiting_requests_away() {
    let admission = std::sync::Arc::new(Admission::new(10, Duration::from_secs(60)));
    let held = admission.admit(10).await.unwrap();
    let waiting = tokio::spawn({
        let admission = std::sync::Arc::clone(&admission);
        async move { admission.admit(1).await.map(|_| ()) }
    });
    admission.close();
    assert_eq!(waiting.await.unwrap().unwrap_err().code, ErrorCode::ShuttingDown);
    drop(held);
}
