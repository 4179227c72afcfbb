//! What Linux says about the process and the disk. What cannot be read is left out.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::writer::Writer;

pub(super) fn write(out: &mut Writer<'_>, started: SystemTime) -> fmt::Result {
    if let Ok(since) = started.duration_since(UNIX_EPOCH) {
        out.gauge("process_start_time_seconds", "When the broker started", since.as_secs_f64())?;
    }
    if let Some(bytes) = resident_bytes() {
        out.gauge("process_resident_memory_bytes", "Memory of the process", bytes)?;
    }
    if let Some(seconds) = cpu_seconds() {
        out.counter("process_cpu_seconds", "Processor time of the process", seconds)?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", "Files and sockets the process has open", open.count())?;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(limit) = limit.current {
        out.gauge("process_max_fds", "The most it may have open", limit)?;
    }
    Ok(())
}

/// Free space for the broker, and the size of the disk.
pub(crate) struct DiskSpace {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// The space of the disk that `path`, or the nearest of its parents that exists, lies on.
pub(crate) fn disk_space(path: &Path) -> Option<DiskSpace> {
    let of = |path: &Path| {
        if path.as_os_str().is_empty() { rustix::fs::statvfs(".") } else { rustix::fs::statvfs(path) }
    };
    let found = path.ancestors().find_map(|path| of(path).ok())?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(DiskSpace { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

fn resident_bytes() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map_while(|field| field.parse::<u32>().ok());
    let all = f64::from(ticks.next()?) + f64::from(ticks.next()?);
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(all / f64::from(per_second))
}
