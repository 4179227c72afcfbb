//! The negative control: bytes of the log are taken away behind the broker's back, and the loss must be
//! noticed. By the broker as long as it has its durable floor; by the checker when even that is gone.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Result;
use tidelog_tests::broker::BrokerCommand;
use tidelog_tests::checker::{Invariant, check};
use tidelog_tests::history::Event;
use tidelog_tests::run::Ended;

/// Every file below `dir` whose name ends as given, the largest first.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    found
}

/// Cuts the second half of the last segment of the partition that has the largest one.
fn cut(data: &Path) -> PathBuf {
    let largest = files(&data.join("topics"), "log").swap_remove(0);
    let last = files(largest.parent().unwrap(), "log").into_iter().max().unwrap();
    let size = fs::metadata(&last).unwrap().len();
    OpenOptions::new().write(true).open(&last).unwrap().set_len(size / 2).unwrap();
    last
}

fn forget(data: &Path, name: &str) {
    fs::remove_file(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
}

pub(crate) fn a_cut_segment_is_noticed(command: &BrokerCommand, run: &Ended) {
    let data = command.data_dir();
    let last = cut(data);
    // As after a kill: no clean marker, so the tail is looked at.
    forget(data, "clean-shutdown");

    // With the floor the broker knows that these bytes were durable.
    let finals = final_read(command, run);
    assert!(finals.is_err(), "{} was cut below the durable floor and served all the same", last.display());

    // Without it, they look like a tail that was never synced: only the checker can know.
    forget(data, "floor");
    let finals = final_read(command, run).expect("without a floor the tail is cut and served");
    let verdict = check(&run.history(finals));
    assert!(verdict.counts.contains_key(&Invariant::NoLostAck), "a blind checker: {verdict}");
}

fn final_read(command: &BrokerCommand, run: &Ended) -> Result<Vec<Event>> {
    run.final_read(&command.start()?)
}
