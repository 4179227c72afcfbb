//! Every seed of the fuzz targets in `tests/fuzz`, run through the same check.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use std::path::PathBuf;

#[path = "../../../tests/fuzz/src/checks.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets reach them from another crate")]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).expect("the seeds are part of the repository") {
        let path = entry.unwrap().path();
        let seed = std::fs::read(&path).unwrap();
        println!("{}", path.display());
        check(&seed);
        // Each seed also cut off and with one bit of each byte flipped: most of those are near misses.
        for end in 0..seed.len().min(512) {
            check(&seed[..end]);
        }
        let mut flipped = seed;
        for at in 0..flipped.len().min(512) {
            flipped[at] ^= 1 << (at % 8);
            check(&flipped);
            flipped[at] ^= 1 << (at % 8);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", dir.display());
}

#[test]
fn batch_seeds_keep_their_promise() {
    replay("batch", checks::batch);
}

#[test]
fn records_seeds_keep_their_promise() {
    replay("records", checks::records);
}

#[test]
fn varint_seeds_keep_their_promise() {
    replay("varint", checks::varint);
}

#[test]
fn compression_seeds_keep_their_promise() {
    replay("compression", checks::compression);
}
