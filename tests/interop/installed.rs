//! Finds what `./test` has installed, and what is on the machine anyway.

use std::env;
use std::path::{Path, PathBuf};

use tidelog_tests::broker::say;

/// Where `./test` puts clients, readers and tools.
pub(crate) fn directory() -> PathBuf {
    let target = || {
        let exe = env::current_exe().unwrap();
        exe.ancestors().nth(3).unwrap().join("interop")
    };
    env::var_os("TIDELOG_INTEROP").map_or_else(target, PathBuf::from)
}

/// A path below that directory, or nothing when it is not there and may be missing.
#[track_caller]
pub(crate) fn installed(what: &str) -> Option<PathBuf> {
    let path = directory().join(what);
    present(&path, "./test installs it").then_some(path)
}

/// A program on the `PATH`, or nothing when it is not there and may be missing.
#[track_caller]
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let found = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    let path = found.unwrap_or_else(|| PathBuf::from(program));
    present(&path, "install it").then_some(path)
}

#[track_caller]
fn present(path: &Path, remedy: &str) -> bool {
    if path.exists() {
        return true;
    }
    let missing = format!("{} is not installed; {remedy}", path.display());
    assert!(env::var_os("TIDELOG_INTEROP_ALL").is_none(), "{missing}");
    say(&format!("SKIPPED: {missing}"));
    false
}
