//! The broker's binary: flags, logs, the ready line, signals and exit codes around [`tidelog_broker::Server`].

mod args;
mod logs;
mod ready;
mod signals;
mod usage;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tidelog_broker::{Config, Server, load};

use crate::args::Args;
use crate::signals::Signals;

/// What ends the program early.
const FAILED: u8 = 1;
/// A flag is wrong; what clap itself answers too.
const USAGE: u8 = 2;
/// Threads for files; the broker bounds what runs there by itself.
const BLOCKING_THREADS_MAX: usize = 128;
/// How long the last flush may take after connections are closed. What was acknowledged is safe without it.
const FLUSH_MAX: Duration = Duration::from_secs(4);

/// A failure: the exit code and one line for the user.
struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    fn new(line: impl std::fmt::Display) -> Self {
        Self { code: FAILED, line: line.to_string() }
    }
}

fn main() -> ExitCode {
    let ended = match Args::try_parse() {
        Ok(args) => run(args),
        // Help and version were asked for.
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => Err(Failure { code: USAGE, line: usage::one_line(&error) }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without a standard error there is nobody to tell.
            let _told = writeln!(std::io::stderr(), "tidelog-broker: {}", failure.line).is_ok();
            ExitCode::from(failure.code)
        }
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let print_config = args.print_config;
    let config = load(&args.inputs()).map_err(|error| {
        let code = if error.is_usage { USAGE } else { FAILED };
        Failure { code, line: error.to_string() }
    })?;
    if print_config {
        return write_stdout(&config.print());
    }
    logs::start(&config).map_err(Failure::new)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("tidelog")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(serve(config));
    // A read that hangs on a broken device must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals =
        Signals::new().map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let stop_max = config.shutdown_grace + FLUSH_MAX;
    let data_dir = config.data_dir.clone();
    let server = tokio::select! {
        started = Server::start(config) => started.map_err(Failure::new)?,
        // Recovery changes nothing that cannot be done again.
        () = signals.asked_to_stop() => return Ok(()),
    };
    write_stdout(&ready::message(server.api_addr(), server.kafka_addr(), &data_dir))?;
    signals.asked_to_stop().await;
    tokio::select! {
        stopped = tokio::time::timeout(stop_max, server.shutdown()) => match stopped {
            Ok(stopped) => stopped.map_err(Failure::new),
            Err(_) => Err(Failure::new("the last flush did not end in time: the next start recovers")),
        },
        () = signals.asked_to_stop() => Err(Failure::new("asked to stop twice: the next start recovers")),
    }
}

fn write_stdout(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever started the broker need not listen.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

/// Every segment and every connection is an open file: the soft limit of 1024 that most systems start with is
/// meant for programs that use `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
