//! The flights example is itself a test: it checks its own counts and exits non-zero when one is wrong.

use std::process::Command;

#[test]
fn a_month_of_flights_survives_a_kill_and_can_be_replayed() {
    let output = Command::new(env!("CARGO_BIN_EXE_flights")).output().unwrap();
    let (report, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{report}\n{complaint}");
    assert!(report.contains("27004"), "{report}");
}
