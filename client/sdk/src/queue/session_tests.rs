use tidelog_proto::v1::{ErrorDetail, SettleAck, SettleRenew, SettleStatus, SettledRange};

use super::*;

const ACK: Verb = Verb::Ack(SettleAck {});

async fn session() -> Session {
    let client = Client::connect("127.0.0.1:1").await.unwrap();
    let (records, _) = mpsc::unbounded_channel();
    let (commander, commands) = mpsc::unbounded_channel();
    Session::new(client, SubscribeOpen::default(), records, commands, commander.downgrade())
}

fn status(status: SettleStatus) -> SettleResult {
    let settled = SettledRange { status: status.into(), ..SettledRange::default() };
    SettleResult { settled: vec![settled], ..SettleResult::default() }
}

fn refused() -> SettleResult {
    SettleResult { error: Some(ErrorDetail::default()), ..SettleResult::default() }
}

/// How many records are freed by an answer that somebody hears, or nobody does.
async fn freed(verb: Verb, result: SettleResult, heard: bool) -> i32 {
    let mut session = session().await;
    let (answer, listener) = oneshot::channel();
    let range = SettleRange { verb: Some(verb), ..SettleRange::default() };
    session.held = 5;
    session.said.insert(7, vec![Command { range, answer: Some(answer) }]);
    if !heard {
        drop(listener);
        let freed = session.settled(SettleResponse { request_id: 7, results: vec![result] });
        assert_eq!(session.held, 5 - freed);
        return freed;
    }
    let freed = session.settled(SettleResponse { request_id: 7, results: vec![result.clone()] });
    assert_eq!(listener.await.unwrap(), result);
    assert_eq!(session.held, 5 - freed);
    freed
}

#[tokio::test]
async fn only_what_left_the_programs_hands_gives_credit_back() {
    assert_eq!(freed(ACK, status(SettleStatus::Done), true).await, 1);
    assert_eq!(freed(ACK, status(SettleStatus::StaleLease), true).await, 1);
    assert_eq!(freed(Verb::Renew(SettleRenew::default()), status(SettleStatus::Done), true).await, 0);
    // It can be said again, or something else can be.
    assert_eq!(freed(ACK, status(SettleStatus::RetryLater), true).await, 0);
    assert_eq!(freed(ACK, refused(), true).await, 0);
    // Nobody will say anything any more: its lease ends.
    assert_eq!(freed(ACK, status(SettleStatus::RetryLater), false).await, 1);
    assert_eq!(freed(ACK, refused(), false).await, 1);
}

#[tokio::test]
async fn an_answer_to_something_never_said_gives_nothing() {
    let mut session = session().await;
    assert_eq!(session.settled(SettleResponse { request_id: 1, results: vec![refused()] }), 0);
}
