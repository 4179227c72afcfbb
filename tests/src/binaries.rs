//! Finds the real binaries, building them first: a test must not judge yesterday's broker.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};

/// The packages whose binaries the tests run.
const PACKAGES: [&str; 2] = ["tidelog-broker", "tidelog"];

/// The broker's binary.
///
/// # Errors
/// When it cannot be built.
pub fn broker() -> Result<PathBuf> {
    binary("tidelog-broker")
}

/// The command line's binary.
///
/// # Errors
/// When it cannot be built.
pub fn cli() -> Result<PathBuf> {
    binary("tidelog")
}

/// `TIDELOG_BIN_DIR` names a directory of binaries to test instead of building them.
fn binary(name: &str) -> Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY
        .get_or_init(|| match env::var_os("TIDELOG_BIN_DIR") {
            Some(directory) => Ok(PathBuf::from(directory)),
            None => build().map_err(|error| format!("{error:#}")),
        })
        .as_ref()
        .map_err(|error| anyhow!("{error}"))?;
    let path = directory.join(name);
    if !path.is_file() {
        bail!("{} does not exist", path.display());
    }
    Ok(path)
}

/// Builds in the profile of the running program and returns the directory of its binaries.
fn build() -> Result<PathBuf> {
    let exe = env::current_exe().context("finding the running program")?;
    // target/<profile>/deps/<test>, or target/<profile>/<program>.
    let parent = exe.parent().context("the running program has no directory")?;
    let directory =
        if parent.ends_with("deps") { parent.parent().unwrap_or(parent) } else { parent }.to_path_buf();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(["build", "--quiet"]).stdin(Stdio::null());
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
        None => bail!("{} is in no target directory: set TIDELOG_BIN_DIR", exe.display()),
    }
    let output = command.output().context("running cargo")?;
    if !output.status.success() {
        bail!("building the binaries failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(directory)
}

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}
