//! Plain append followed by `fdatasync`: the floor under every durable write.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::stats::{megabytes_per_second, quantile};

/// What one size of append reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskFigures {
    /// Median time of one append and its sync.
    pub(crate) p50: Duration,
    /// The same for the slowest hundredth.
    pub(crate) p99: Duration,
    /// Bytes appended a second, in MB.
    pub(crate) megabytes: f64,
}

/// Appends `total` bytes to a new file below `dir`, `size` bytes at a time, each followed by a sync.
pub(crate) fn append_and_sync(dir: &Path, size: usize, total: u64) -> Result<DiskFigures> {
    let path = dir.join("append-and-sync");
    let mut file = create(&path)?;
    let block = noise(size);
    let rounds = usize::try_from(total)?.div_ceil(size).max(16);
    let mut times = Vec::with_capacity(rounds);
    let started = Instant::now();
    for _ in 0..rounds {
        let round = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(round.elapsed());
    }
    let elapsed = started.elapsed();
    drop(file);
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    let bytes = u64::try_from(rounds.saturating_mul(size)).unwrap_or(u64::MAX);
    Ok(DiskFigures {
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
        megabytes: megabytes_per_second(bytes, elapsed),
    })
}

/// Appends `total` bytes to a new file below `dir`, `size` bytes at a time, without a sync: MB a second. What
/// the kernel takes into its page cache is what writes without a sync can reach.
pub(crate) fn append_unsynced(dir: &Path, size: usize, total: u64) -> Result<f64> {
    let path = dir.join("append-unsynced");
    let mut file = create(&path)?;
    let block = noise(size);
    let rounds = usize::try_from(total)?.div_ceil(size);
    let started = Instant::now();
    for _ in 0..rounds {
        file.write_all(&block)?;
    }
    let elapsed = started.elapsed();
    drop(file);
    std::fs::remove_file(&path)?;
    let bytes = u64::try_from(rounds.saturating_mul(size)).unwrap_or(u64::MAX);
    Ok(megabytes_per_second(bytes, elapsed))
}

/// Writes and removes `bytes` once, because the first write to fresh blocks of a virtual disk is several
/// times slower than every later one.
pub(crate) fn warm(dir: &Path, bytes: u64) -> Result<()> {
    let path = dir.join("warm");
    let mut file = create(&path)?;
    let block = noise(4 << 20);
    let mut left = bytes;
    while left > 0 {
        file.write_all(&block)?;
        left = left.saturating_sub(4 << 20);
    }
    file.sync_data()?;
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(())
}

/// Touches and frees `bytes` of memory. A virtual machine gives memory that it does not use back to its host, and
/// the first touch of a page that has to be fetched again costs more than all that is measured here; without
/// this, whoever comes second in a run pays for the page cache that the first one has used.
pub(crate) fn warm_memory(bytes: u64) -> Result<()> {
    let mut block = vec![0_u8; usize::try_from(bytes)?];
    for byte in block.iter_mut().step_by(4096) {
        *byte = 1;
    }
    std::hint::black_box(&block);
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

/// Bytes that no device can shrink: a xorshift sequence.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out
}
