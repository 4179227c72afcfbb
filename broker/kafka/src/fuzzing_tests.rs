use std::path::PathBuf;

use super::*;

fn replay(target: &str, check: fn(&[u8])) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let seed = std::fs::read(entry.unwrap().path()).unwrap();
        // In every version, and each cut off and with one bit of each byte flipped.
        for version in 0..15 {
            let mut seed = seed.clone();
            seed[0] = version;
            check(&seed);
            for at in 0..seed.len() {
                check(&seed[..at]);
                seed[at] ^= 1 << (at % 8);
                check(&seed);
                seed[at] ^= 1 << (at % 8);
            }
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", dir.display());
}

#[test]
fn seeds_of_produce_requests_hold() {
    replay("kafka_produce", produce_request);
}

#[test]
fn seeds_of_fetch_requests_hold() {
    replay("kafka_fetch", fetch_request);
}
