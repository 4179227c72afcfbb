//! A pass of compaction that a crash ends, at each step of a swap and at each call to the disk.

use super::*;
use crate::sim_disk::SimDisk;

#[test]
fn a_crash_at_any_step_of_a_swap_leaves_the_old_segments_or_the_new_one() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 4096, ..config() });
    rig.log.reconfigure(config());
    rig.fill((0..20).map(|round| round % 3));
    rig.log.reconfigure(LogConfig { segment_bytes: 1 << 20, ..config() });
    let end = rig.active_base();
    let old = rig.files();
    rig.compact(1000);
    assert_eq!(rig.log.segments().len(), 2, "all of it fits into one segment");
    let fresh = std::fs::read(&rig.log.segments()[0].path).unwrap();
    let compacted = rig.rows();
    let dir = rig.log.dir.clone();
    let before = Progress { first_dirty: Offset::ZERO, gaps_to: end };
    let logs: Vec<PathBuf> = old
        .iter()
        .map(|(path, _)| path.clone())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "log") && base_of_path(path).is_some_and(|base| base < end)
        })
        .collect();
    assert!(logs.len() > 2);
    let swap = dir.join(format!("{:020}.{:020}.swap", 0, end.get()));
    let cleaned = compact_swap::cleaned_path(&dir, Offset::ZERO, end);
    let steps = logs.len() + 4;
    for step in 0..steps {
        let torn = fresh.get(..fresh.len() / 2).unwrap().to_vec();
        let mut files: BTreeMap<PathBuf, Vec<u8>> = old.iter().cloned().collect();
        let done = match step {
            0 => {
                files.insert(cleaned.clone(), torn);
                false
            }
            1 => {
                files.insert(cleaned.clone(), fresh.clone());
                false
            }
            _ => {
                for path in logs.iter().take(step - 2) {
                    let bytes = files.remove(path).unwrap();
                    files.insert(path.with_extension("log.deleted"), bytes);
                }
                let name = if step == steps - 1 { logs[0].clone() } else { swap.clone() };
                files.insert(name, fresh.clone());
                true
            }
        };
        drop(rig.dir.take());
        rig.set_files(&files.into_iter().collect::<Vec<_>>());
        before.write(&OsDisk, &dir).unwrap();
        rig.reopen();
        let rows = if done { compacted.clone() } else { rig.appended.clone() };
        assert_eq!(rig.rows(), rows, "step {step}");
        let stray = |path: &PathBuf| {
            path.extension().is_some_and(|e| e == "swap" || e == "cleaned" || e == "deleted")
        };
        assert!(!rig.files().iter().any(|(path, _)| stray(path)), "step {step}");
        rig.compact(1000);
        assert_eq!(rig.rows(), compacted, "step {step}: the pass is made again");
    }
}

fn base_of_path(path: &Path) -> Option<Offset> {
    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).and_then(Offset::new)
}

/// A log in which much can go: nothing of it compacted yet, or the front of it.
fn cluttered(sim: &SimDisk, compacted: bool) -> Rig {
    let config = LogConfig { delete_retention_ms: 0, segment_bytes: 600, ..config() };
    let mut rig = Rig::on(Arc::new(sim.clone()), PathBuf::from("/data"), config);
    rig.fill([1, 2, 3, 1, 2, 3, 1, 2]);
    rig.append(&[(1, None), (2, Some(30))], Compression::None);
    rig.fill([5, 6, 5, 6, 5]);
    if compacted {
        rig.compact(8);
    }
    rig.fill([2, 6, 7, 7, 7, 7, 3]);
    // More of it fits into one segment now.
    rig.config.segment_bytes = 1800;
    rig.log.reconfigure(rig.config.clone());
    rig
}

#[test]
fn a_power_cut_at_any_call_of_a_pass_loses_nothing() {
    for compacted in [false, true] {
        let mut cuts = 0_u64;
        loop {
            let sim = SimDisk::new(cuts);
            let mut rig = cluttered(&sim, compacted);
            sim.stop_after(cuts);
            drop(compact(&rig.log, at(rig.now), rig.end(), 6 * SLOT_BYTES));
            for seed in 0..6 {
                drop(rig.dir.take());
                rig.disk = Arc::new(sim.crash(seed));
                check_after_cut(&mut rig, &format!("compacted {compacted}, cut {cuts}, seed {seed}"));
            }
            if !sim.is_stopped() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 40, "a pass makes more than {cuts} calls");
    }
}

fn check_after_cut(rig: &mut Rig, case: &str) {
    let values = |rows: Vec<Row>| rows.into_iter().filter(|row| row.3.is_some()).collect::<Vec<_>>();
    let last = values(rig.expected(rig.active_base()));
    rig.reopen();
    rig.log.verify().unwrap();
    let found = rig.rows();
    assert!(found.iter().all(|row| rig.appended.contains(row)), "{case}");
    assert!(last.iter().all(|row| found.contains(row)), "{case}: {found:?}");
    let count = rig.appended.len();
    rig.fill([9; 9]);
    rig.compact(1000);
    assert_eq!(values(rig.rows()), values(rig.expected(rig.active_base())), "{case}: the next pass");
    rig.appended.truncate(count);
}
