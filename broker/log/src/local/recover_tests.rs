use std::path::Path;

use tidelog_model::LeaderEpoch;
use tidelog_model::batch::{BatchBuilder, Compression};

use super::*;
use crate::disk::OpenMode;
use crate::sim_disk::SimDisk;

const DIR: &str = "/partition";

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// Three durable segments of one batch each, the first of which is broken.
fn broken_in_the_middle() -> SimDisk {
    let (disk, dir) = (SimDisk::new(5), Path::new(DIR));
    file::ensure_dir(&disk, Path::new("/"), "partition").unwrap();
    for base in 0..3 {
        let segment = Segment::create(&disk, dir, offset(base)).unwrap();
        let mut builder = BatchBuilder::new(Compression::None, 100);
        builder.append(Timestamp::from_millis(1), None, Some(b"value"), &[]);
        let batch = builder.build().unwrap().assign(offset(base), LeaderEpoch::new(0).unwrap());
        let parts = &mut [std::io::IoSlice::new(batch.prefix()), std::io::IoSlice::new(batch.rest())];
        file::write_all(segment.file.as_ref(), parts, 0).unwrap();
        segment.file.sync_data().unwrap();
    }
    let first = dir.join(super::super::segment::file_name(Offset::ZERO, "log"));
    let size = disk.open(&first, OpenMode::Read).unwrap().size().unwrap();
    disk.corrupt(&first, size - 1, 1).unwrap();
    disk
}

fn recover_at(disk: &SimDisk) -> Result<Recovered, OpenError> {
    let known = Known {
        floor: None,
        clean: false,
        log_start: Offset::ZERO,
        index_interval_bytes: 4096,
        cleaned_to: Offset::ZERO,
        epoch: tidelog_model::LeaderEpoch::new(0).unwrap(),
        now: Timestamp::from_millis(0),
    };
    recover(disk, Path::new(DIR), known)
}

#[test]
fn a_power_cut_while_segments_are_set_aside_changes_nothing() {
    for steps in 0..40 {
        for seed in 0..10 {
            let disk = broken_in_the_middle();
            disk.stop_after(steps);
            drop(recover_at(&disk));
            let recovered = recover_at(&disk.crash(seed)).unwrap();
            assert!(recovered.damage.is_none(), "after {steps} calls, seed {seed}: {:?}", recovered.damage);
            assert_eq!(recovered.end(), Offset::ZERO);
        }
    }
}
