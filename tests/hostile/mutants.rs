//! Requests of every API with bytes changed, put in and left out at random.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidelog_tests::broker::{say, seed};
use tidelog_tests::load::draw;

use crate::peer::{Target, frame};
use crate::requests::{self, Request};

/// Frames of a run by default.
const FRAMES: u64 = 4_000;
/// How long an answer is waited for: some requests wait for others on purpose.
const PATIENCE: Duration = Duration::from_millis(30);
/// What the broker may have grown by in the end.
const GROWN_MAX: u64 = 256 * 1024 * 1024;
/// What counts and lengths often are when they are wrong, beside any bytes.
const SPLICES: [&[u8]; 9] = [
    &[0xff; 4],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80],
    &[0, 0, 0, 1],
    &[0, 6, b'h', b'o', b'n', b'e', b's', b't'],
    &[7, b'h', b'o', b'n', b'e', b's', b't'],
];

fn changed(body: &[u8], random: &mut u64) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..=draw(random, 4) {
        let at = usize::try_from(draw(random, body.len() as u64 + 1)).unwrap();
        let byte = u8::try_from(draw(random, 256)).unwrap();
        match draw(random, 6) {
            0 => body.truncate(at),
            1 => body.insert(at, byte),
            2 if at < body.len() => body[at] = byte,
            3 if at < body.len() => body[at] = byte % 3,
            4 if at < body.len() => drop(body.remove(at)),
            _ => {
                let splice = SPLICES[usize::try_from(draw(random, SPLICES.len() as u64)).unwrap()];
                body.splice(at..at, splice.iter().copied());
            }
        }
    }
    body
}

#[tokio::test]
async fn changed_requests_of_every_api_leave_the_broker_in_service() {
    let (seed, begin) = (seed(), Instant::now());
    let frames =
        std::env::var("TIDELOG_FRAMES").ok().and_then(|frames| frames.parse().ok()).unwrap_or(FRAMES);
    say(&format!("hostile: TIDELOG_SEED={seed} TIDELOG_FRAMES={frames}"));
    let all = requests::all().unwrap();
    let target = Target::start(&["topics.default_partitions=1"]).await.unwrap();
    let before = target.memory().unwrap();
    let mut random = seed;
    let (mut answered, mut served) = (0_u64, BTreeSet::new());
    let mut connection = target.connect().await.unwrap();
    for number in 0..frames {
        let Request { api, name, body } = &all[usize::try_from(draw(&mut random, all.len() as u64)).unwrap()];
        let bytes = frame(*api, &changed(body, &mut random));
        let sent = connection.send_bytes(&bytes).await.is_ok();
        let answer = tokio::time::timeout(PATIENCE, connection.receive()).await;
        if sent && matches!(answer, Ok(Ok(_))) {
            answered += 1;
            served.insert(*name);
        } else {
            connection = target.connect().await.expect("the broker takes connections");
        }
        if number.is_multiple_of(500) {
            target.serves_others().await.unwrap_or_else(|error| {
                panic!("TIDELOG_SEED={seed}: {error:#} after {name}\n{}", target.broker.log_tail())
            });
        }
    }
    target.serves_others().await.unwrap_or_else(|error| panic!("TIDELOG_SEED={seed}: {error:#}"));
    let grown = target.memory().unwrap().saturating_sub(before);
    let (apis, elapsed) = (served.len(), begin.elapsed());
    say(&format!(
        "hostile: {frames} changed requests, {answered} of {apis} APIs answered, {grown} bytes, {elapsed:?}"
    ));
    assert!(!target.broker.log().contains("panicked"), "TIDELOG_SEED={seed}\n{}", target.broker.log_tail());
    assert!(grown < GROWN_MAX, "TIDELOG_SEED={seed}: {grown} bytes");
    // Requests that are all broken would not try much.
    assert!(apis > 25 && answered > frames / 10, "only {answered} answers of {served:?}");
}
