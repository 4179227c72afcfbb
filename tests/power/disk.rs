//! A disk whose power can be cut: a file system on an image file. The cut is the file system's own shutdown:
//! from one moment on nothing more gets to the disk, neither data nor its journal, and what only the page
//! cache had is gone with the unmount.
//!
//! What was handed to the disk stays, flushed or not: a disk that loses its own cache is the business of the
//! simulated disk of `broker/log`.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidelog_tests::broker::say;
use tidelog_tests::wait::wait_until;

/// How long a file system may be busy with what the killed broker had under way.
const UNMOUNT_DEADLINE: Duration = Duration::from_secs(10);

/// Waits for a line, then shuts the file system down without its log: `_IOR('X', 125, u32)`, which ext4 and
/// xfs share, with flag 2. The ioctl would need unsafe code here.
const SHUTDOWN: &str = r#"
import fcntl, os, struct, sys
place = os.open(sys.argv[1], os.O_RDONLY)
print("armed", flush=True)
if sys.stdin.readline():
    fcntl.ioctl(place, 0x8004587D, struct.pack("I", 2))
"#;

/// The file systems that know how to shut down.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    const fn mkfs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
        }
    }

    /// What this machine lacks to cut the power of such a disk.
    pub(crate) fn missing(self) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("mounting needs root".to_owned());
        }
        let tools = [self.mkfs().0, "mount", "umount", "python3"];
        let missing = tools.into_iter().find(|tool| {
            let mut command = Command::new(tool);
            command.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_err()
        });
        if let Some(tool) = missing {
            return Some(format!("{tool} is not installed"));
        }
        (!Path::new("/dev/loop-control").exists()).then(|| "there are no loop devices".to_owned())
    }
}

/// An image file with its file system, mounted; unmounted and its loop device freed when dropped.
pub(crate) struct Disk {
    image: PathBuf,
    place: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes a disk of so many bytes below `home` and mounts it.
    pub(crate) fn new(file_system: FileSystem, home: &Path, bytes: u64) -> Result<Self> {
        let (image, place) = (home.join("image"), home.join("disk"));
        fs::create_dir(&place)?;
        fs::File::create(&image)?.set_len(bytes)?;
        let (mkfs, arguments) = file_system.mkfs();
        run(mkfs, arguments.iter().map(OsStr::new).chain([image.as_os_str()]))?;
        let mut disk = Self { image, place, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Makes ready to cut.
    pub(crate) fn switch(&self) -> Result<Switch> {
        let mut command = Command::new("python3");
        command.args(["-c", SHUTDOWN]).arg(&self.place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut switch = Switch { child: command.spawn().context("starting python3")? };
        let mut line = String::new();
        let stdout = switch.child.stdout.take().context("python3 has an output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line != "armed\n" {
            bail!("python3 cannot open the disk: {line:?}");
        }
        Ok(switch)
    }

    /// The power comes back: what was only in memory is gone, the file system's own recovery runs.
    pub(crate) fn come_back(&mut self) -> Result<()> {
        let mut refused = None;
        let unmounted = wait_until("the disk is unmounted", UNMOUNT_DEADLINE, || {
            refused = run("umount", [self.place.as_os_str()]).err();
            Ok(refused.is_none())
        });
        unmounted.with_context(|| format!("{refused:?}"))?;
        self.mounted = false;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        let options = [OsStr::new("-o"), OsStr::new("loop"), self.image.as_os_str(), self.place.as_os_str()];
        run("mount", options)?;
        self.mounted = true;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.mounted || run("umount", [self.place.as_os_str()]).is_ok() {
            return;
        }
        // Somebody still has a file open: the disk goes when that one goes.
        if let Err(error) = run("umount", [OsStr::new("-l"), self.place.as_os_str()]) {
            say(&format!("{error:#}"));
        }
    }
}

/// A process that holds the disk and cuts its power on command.
pub(crate) struct Switch {
    child: Child,
}

impl Switch {
    /// Cuts the power.
    pub(crate) fn cut(mut self) -> Result<()> {
        let mut stdin = self.child.stdin.take().context("python3 has an input")?;
        stdin.write_all(b"cut\n")?;
        drop(stdin);
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the file system did not shut down: {status}");
        }
        Ok(())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().context(program.to_owned())?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
