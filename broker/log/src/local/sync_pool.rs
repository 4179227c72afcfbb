//! Syncing many files side by side: the device does more in one commit of its journal than in many.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::DiskFile;

struct Job {
    number: usize,
    file: Arc<dyn DiskFile>,
    done: Sender<(usize, io::Result<()>)>,
}

/// Threads that sync files; without any the caller syncs them itself, one by one.
pub(super) struct SyncPool {
    jobs: Option<Sender<Job>>,
}

impl SyncPool {
    /// A pool of `threads` threads; they end with the pool.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        if threads == 0 {
            return Ok(Self { jobs: None });
        }
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("log-sync-{number}"))
                .stack_size(256 * 1024)
                .spawn(move || work(&receiver))?;
        }
        Ok(Self { jobs: Some(sender) })
    }

    /// Syncs the files; the results are in their order.
    pub(super) fn sync_all(&self, files: &[Arc<dyn DiskFile>]) -> Vec<io::Result<()>> {
        match (&self.jobs, files) {
            // One file needs no other thread, and no hop to it.
            (_, [file]) => vec![file.sync_data()],
            (Some(jobs), files) if !files.is_empty() => spread(jobs, files),
            (_, files) => files.iter().map(|file| file.sync_data()).collect(),
        }
    }
}

fn spread(jobs: &Sender<Job>, files: &[Arc<dyn DiskFile>]) -> Vec<io::Result<()>> {
    let (done, results) = channel();
    let lost = || Err(io::Error::other("the sync thread is gone"));
    let mut all: Vec<io::Result<()>> = files.iter().map(|_| lost()).collect();
    for (number, file) in files.iter().enumerate() {
        let job = Job { number, file: Arc::clone(file), done: done.clone() };
        if jobs.send(job).is_err() {
            return all;
        }
    }
    drop(done);
    for (number, result) in results {
        if let Some(slot) = all.get_mut(number) {
            *slot = result;
        }
    }
    all
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, file, done }) = job else { return };
        // The caller waits for all results, so it is there to hear this one.
        if done.send((number, file.sync_data())).is_err() {
            return;
        }
    }
}
