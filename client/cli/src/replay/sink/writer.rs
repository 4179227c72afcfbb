//! Writes records to a file or to standard output, on a thread of its own: a slow disk or a reader that does
//! not read holds up the replay, but no other task.
//!
//! **Invariants:** bytes reach the file in order; [`Writer::sync`] returns when everything before it is in the
//! file and durable, or, on standard output, was taken by whoever reads it. A file that is resumed is cut back
//! to what its checkpoint covers.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::JoinHandle;

use tidelog_client::ConsumerRecord;
use tokio::sync::{mpsc, oneshot};

use crate::envelope;
use crate::failure::{Exit, Failure};
use crate::replay::args::RecordFormat;
use crate::replay::checkpoint::{SinkMark, sync_directory_of};

/// Bytes that are gathered before they are handed to the thread.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that may wait for the thread.
const CHUNKS_MAX: usize = 4;

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) enum FileStart {
    /// It must not exist.
    New,
    /// What is in it goes.
    Overwrite,
    /// It goes on behind so many bytes; what follows them goes.
    Resume(u64),
}

/// Writes records as bytes.
#[derive(Debug)]
pub(in crate::replay) struct Writer {
    format: RecordFormat,
    gathered: Vec<u8>,
    jobs: mpsc::Sender<Job>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// The size of the file with everything that was synced; `None` on standard output.
    synced_bytes: Option<u64>,
    name: String,
}

#[derive(Debug)]
enum Job {
    Write(Vec<u8>),
    /// Answers with the size of the file.
    Sync(oneshot::Sender<u64>),
}

impl Writer {
    /// Writes to standard output.
    pub(in crate::replay) fn stdout(format: RecordFormat) -> Result<Self, Failure> {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::output(&error))?;
        Ok(Self::start(File::from(stdout), None, format, "standard output".to_owned()))
    }

    /// Writes to a file. Blocks: not to be called on a worker.
    pub(in crate::replay) fn file(
        path: &Path,
        start: FileStart,
        format: RecordFormat,
    ) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let failed = |error: io::Error| {
            Failure::failed(format!("cannot write {name}: {error}"))
                .with_help("name a file in a directory that exists and may be written with --out")
        };
        let mut options = OpenOptions::new();
        options.write(true);
        match start {
            FileStart::New => options.create_new(true),
            // Cut only after the lock is held.
            FileStart::Overwrite => options.create(true),
            FileStart::Resume(_) => &mut options,
        };
        let mut file = options.open(path).map_err(|error| match (error.kind(), start) {
            (io::ErrorKind::AlreadyExists, _) => Failure::new(Exit::Conflict, format!("{name} exists"))
                .with_help("add --force to overwrite it, --resume to go on with it, or name another file"),
            (io::ErrorKind::NotFound, FileStart::Resume(_)) => {
                Failure::new(Exit::Conflict, format!("{name} is gone, and with it what was replayed"))
                    .with_help("delete the checkpoint to start anew")
            }
            _ => failed(error),
        })?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Failure::failed(format!("{name} is not a regular file"))
                .with_help("leave --out away and redirect standard output"));
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                Failure::new(Exit::Conflict, format!("another replay is writing {name}"))
            }
            TryLockError::Error(error) => failed(error),
        })?;
        let bytes = if let FileStart::Resume(bytes) = start { bytes } else { 0 };
        if metadata.len() < bytes {
            let message = format!(
                "{name} holds {} bytes, and its checkpoint covers {bytes}: it was changed since",
                metadata.len()
            );
            return Err(Failure::new(Exit::Conflict, message).with_help("delete both to start anew"));
        }
        let cut = file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes)));
        cut.and_then(|_| file.sync_all()).and_then(|()| sync_directory_of(path)).map_err(failed)?;
        Ok(Self::start(file, Some(bytes), format, name))
    }

    fn start(file: File, bytes: Option<u64>, format: RecordFormat, name: String) -> Self {
        let (jobs, queue) = mpsc::channel(CHUNKS_MAX);
        let thread = std::thread::spawn(move || work(file, bytes, queue));
        Self { format, gathered: Vec::new(), jobs, thread: Some(thread), synced_bytes: bytes, name }
    }

    /// Gathers a record.
    pub(in crate::replay) async fn write(&mut self, record: &ConsumerRecord) -> Result<(), Failure> {
        match &self.format {
            RecordFormat::Json => envelope::write(record, &mut self.gathered)
                .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?,
            RecordFormat::Raw => {
                self.gathered.extend_from_slice(record.value.as_deref().unwrap_or_default());
                self.gathered.push(b'\n');
            }
            RecordFormat::Pattern(_, template) => template.write(record, &mut self.gathered),
        }
        if self.gathered.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Hands what was gathered to the thread.
    pub(in crate::replay) async fn flush(&mut self) -> Result<(), Failure> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.gathered);
        self.send(Job::Write(chunk)).await
    }

    /// Waits until everything is where it belongs.
    pub(in crate::replay) async fn sync(&mut self) -> Result<(), Failure> {
        self.flush().await?;
        let (answer, answered) = oneshot::channel();
        self.send(Job::Sync(answer)).await?;
        match answered.await {
            Ok(bytes) => {
                self.synced_bytes = self.synced_bytes.map(|_| bytes);
                Ok(())
            }
            Err(_) => Err(self.failure()),
        }
    }

    /// How far it has come.
    pub(in crate::replay) const fn mark(&self) -> SinkMark {
        match self.synced_bytes {
            Some(bytes) => SinkMark::File { bytes },
            None => SinkMark::Stdout,
        }
    }

    async fn send(&mut self, job: Job) -> Result<(), Failure> {
        match self.jobs.send(job).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure()),
        }
    }

    /// Why the thread has ended: it does so by itself only when writing fails.
    fn failure(&mut self) -> Failure {
        let result = self.thread.take().map(JoinHandle::join);
        match result {
            Some(Ok(Err(error))) if self.synced_bytes.is_none() => Failure::output(&error),
            Some(Ok(Err(error))) => Failure::failed(format!("cannot write {}: {error}", self.name))
                .with_help("make room, then go on with --resume"),
            _ => Failure::failed(format!("writing {} has ended", self.name)),
        }
    }
}

/// Ends with the last sender, or with the first failure.
fn work(mut file: File, bytes: Option<u64>, mut jobs: mpsc::Receiver<Job>) -> io::Result<()> {
    let mut written = bytes.unwrap_or_default();
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Write(chunk) => {
                file.write_all(&chunk)?;
                written = written.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            }
            Job::Sync(answer) => {
                if bytes.is_some() {
                    file.sync_data()?;
                }
                if answer.send(written).is_err() {
                    // Nobody waits any more: the replay has failed meanwhile.
                    break;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
