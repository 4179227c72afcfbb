//! What every command works with: the broker, the output format, what stands at the other end of the standard
//! streams, and Ctrl-C.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tidelog_client::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::args::{Global, OutputFormat};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    client: Client,
    format: OutputFormat,
    quiet: bool,
    stdin_is_terminal: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

impl Context {
    /// Checks the broker's address; the first call connects.
    pub(crate) async fn new(global: Global) -> Result<Self, Failure> {
        let client = Client::connect(&global.broker).await.map_err(|error| {
            let message = format!("--broker: {}", error.message());
            Failure::usage(message).with_help(error.help().unwrap_or("write it as host:port"))
        })?;
        Ok(Self {
            client,
            format: global.output,
            quiet: global.quiet,
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
        })
    }

    /// The broker.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether results are to be written as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Whether notes, progress and summaries are not wanted.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a person can be asked: somebody reads the question and types the answer.
    pub(crate) const fn can_ask(&self) -> bool {
        self.stdin_is_terminal && self.stderr_is_terminal
    }

    /// Whether a person types the input.
    pub(crate) const fn stdin_is_terminal(&self) -> bool {
        self.stdin_is_terminal
    }

    /// Whether a person reads the data.
    pub(crate) const fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether a person reads the notes: progress may be drawn.
    pub(crate) const fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
    }

    /// Standard output.
    pub(crate) fn stdout(&self) -> Result<Output, Failure> {
        Output::stdout()
    }

    /// Tells the user something on standard error, unless `--quiet`.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.quiet {
            warn(text);
        }
    }
}

/// Tells the user something on standard error, `--quiet` or not.
pub(crate) fn warn(text: impl fmt::Display) {
    // Without a standard error there is nobody to tell; the work goes on.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Ctrl-C and SIGTERM, for commands that have something to bring to an end. A second signal ends the process
/// at once.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    raised: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes the signals over from the system, which would end the process.
    pub(crate) fn install() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
        };
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let (raise, raised) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            raise.send_replace(true);
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(Exit::Interrupted as i32);
        });
        Ok(Self { raised })
    }

    /// Returns when the user wants the command to end. Cancel-safe.
    pub(crate) async fn raised(&mut self) {
        if self.raised.wait_for(|raised| *raised).await.is_err() {
            // The listener never ends before the process does.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the user wants the command to end.
    pub(crate) fn is_raised(&self) -> bool {
        *self.raised.borrow()
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The client's own log, on standard error: warnings, more with `-v`, or as `TIDELOG_LOG` says.
pub(crate) fn log_to_stderr(global: &Global) {
    use tracing_subscriber::EnvFilter;
    let default = match (global.quiet, global.verbose) {
        (true, 0) => "error",
        (false, 0) => "warn",
        (_, 1) => "tidelog=debug,tidelog_client=debug,warn",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("TIDELOG_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let subscriber = subscriber.with_ansi(io::stderr().is_terminal());
    if global.verbose == 0 {
        subscriber.without_time().with_target(false).init();
    } else {
        subscriber.init();
    }
}
