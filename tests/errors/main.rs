//! Every error that a user can provoke on the real binaries: one clear line that names the cause and the
//! remedy, and nothing lost.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failure is a panic with its cause"
)]

mod command_line;
mod disk_full;
mod requests;
mod start;

use std::process::Output;

/// Holds a message against what it must name. It is one line for a person, not a dump.
fn assert_one_clear_line(what: &str, message: &str, names: &[&str]) {
    let lines: Vec<&str> = message.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "{what}: not one line:\n{message}");
    for name in names {
        assert!(message.contains(name), "{what}: does not name {name:?}:\n{message}");
    }
    for noise in ["panicked", "RUST_BACKTRACE", "Os {", "Some(", "Err(", "Caused by"] {
        assert!(!message.contains(noise), "{what}: {noise:?} is not for users:\n{message}");
    }
}

/// The last line that a failed program wrote to its standard error: what stands above is its log.
fn complaint(what: &str, output: &Output) -> String {
    assert!(!output.status.success(), "{what}: exit {}, no failure", output.status);
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or_else(|| panic!("{what}: failed without a word")).to_owned()
}
