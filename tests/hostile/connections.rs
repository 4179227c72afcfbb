//! Many connections, and connections that do nothing or next to nothing.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidelog_tests::broker::say;
use tidelog_tests::wait::let_pass;

use crate::peer::{SOON, Target, announced, asked};

const CONNECTIONS: usize = 10_000;
/// What the test itself and the rest of the broker need.
const OTHER_FILES: usize = 500;
/// The most memory a connection may cost that has asked once and is silent.
const BYTES_PER_CONNECTION: u64 = 24 * 1024;
/// What the broker may take beside that.
const BYTES_BESIDE: u64 = 64 * 1024 * 1024;
/// How long a frame may take to arrive is the broker's to say: 30 s, and some to notice.
const SLOW_DEADLINE: Duration = Duration::from_secs(45);
const SLOW_PEERS: usize = 100;

/// Lets this process and the broker it starts open as many files as the system allows; how many connections
/// that is good for.
fn connections_possible() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let files = limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    files.saturating_sub(OTHER_FILES).min(CONNECTIONS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_are_served_and_those_above_the_limit_are_closed() {
    let max = connections_possible();
    let target = Target::start(&[&format!("kafka.connections_max={max}")]).await.unwrap();
    let before = target.memory().unwrap();
    let begin = Instant::now();
    let mut open = Vec::with_capacity(max);
    for _ in 0..max {
        let mut connection = target.connect().await.unwrap();
        asked(&mut connection).await.unwrap();
        open.push(connection);
    }
    let grown = target.memory().unwrap().saturating_sub(before);
    say(&format!("hostile: {max} connections in {:?}, {} bytes each", begin.elapsed(), grown / max as u64));
    assert!(grown < BYTES_PER_CONNECTION * max as u64 + BYTES_BESIDE, "{grown} bytes for {max} connections");

    let mut above = target.connect().await.unwrap();
    let peer = above.local_addr().unwrap().to_string();
    above.closed(SOON).await.unwrap();
    target.logs(&["too many Kafka connections", &peer, "kafka.connections_max"]).unwrap();
    // Those that are in go on.
    for connection in open.iter_mut().step_by(97) {
        asked(connection).await.unwrap();
    }
    // The place of one that goes is free again.
    open.truncate(max / 2);
    let begin = Instant::now();
    while target.serves_others().await.is_err() {
        assert!(begin.elapsed() < SOON, "no place is free\n{}", target.broker.log_tail());
        let_pass(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn silent_connections_are_closed_after_the_idle_time() {
    let target = Target::start(&["kafka.connection_idle=1s"]).await.unwrap();
    let mut silent = target.connect().await.unwrap();
    let mut begun = target.connect().await.unwrap();
    // Half of a length is no request either.
    begun.send_bytes(&[0, 0]).await.unwrap();
    let mut asked_once = target.connect().await.unwrap();
    asked(&mut asked_once).await.unwrap();
    for connection in [&mut silent, &mut begun, &mut asked_once] {
        connection.closed(SOON).await.unwrap();
    }
    target.serves_others().await.unwrap();
}

#[tokio::test]
async fn peers_that_send_a_byte_a_second_cost_little_and_are_closed() {
    let target = Target::start(&[]).await.unwrap();
    let before = target.memory().unwrap();
    let mut slow = Vec::new();
    for _ in 0..SLOW_PEERS {
        let mut connection = target.connect().await.unwrap();
        // A request of a megabyte; of its memory there is to be as much as came.
        connection.send_bytes(&announced(1 << 20, &[0, 0])).await.unwrap();
        slow.push(connection);
    }
    let peer = slow[0].local_addr().unwrap().to_string();
    let begin = Instant::now();
    let mut most = 0;
    loop {
        let mut alive = 0;
        for connection in &mut slow {
            alive += usize::from(connection.send_bytes(&[0]).await.is_ok());
        }
        most = target.memory().unwrap().saturating_sub(before).max(most);
        target.serves_others().await.unwrap();
        if alive == 0 {
            break;
        }
        assert!(begin.elapsed() < SLOW_DEADLINE, "{alive} slow peers are still connected");
        let_pass(Duration::from_secs(1)).await;
    }
    say(&format!("hostile: {SLOW_PEERS} slow peers cost {most} bytes, closed after {:?}", begin.elapsed()));
    assert!(most < BYTES_BESIDE, "{most} bytes for {SLOW_PEERS} slow peers");
    target.logs(&["did not arrive within", &peer]).unwrap();
}
