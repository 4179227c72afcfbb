//! How a command fails: one line on standard error that names the cause and the remedy, and an exit code that
//! says which sort of failure it was.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;
use tidelog_client::{Error, ErrorKind, SendError};

use crate::args::OutputFormat;

/// The exit codes, which scripts depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reader of standard output went away: not a failure of ours.
    OutputClosed = 0,
    /// Anything that has no code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Some records or partitions failed, others did not.
    Partial = 3,
    /// No such topic, partition or group, or an offset that is not in the log.
    NotFound = 4,
    /// The broker does not allow it.
    Denied = 5,
    /// The present state is in the way: the name is taken, a checkpoint belongs to another run.
    Conflict = 6,
    /// The broker cannot be reached, or did not answer in time.
    Unreachable = 7,
    /// Stored or received bytes are broken, or the broker's disk failed.
    Integrity = 8,
    /// Ended by a signal.
    Interrupted = 130,
}

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    code: Option<String>,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// A failure of this sort.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), help: None }
    }

    /// A failure with no code of its own.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Ended by the user.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, message)
    }

    /// Standard output could not be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::OutputClosed, "")
        } else {
            Self::failed(format!("cannot write to standard output: {error}"))
        }
    }

    /// What to do about it.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says where it happened.
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Which sort it is.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong, without the remedy.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Writes the failure to standard error; the process should end with the code returned.
    pub(crate) fn report(&self, format: OutputFormat) -> ExitCode {
        if self.exit != Exit::OutputClosed {
            let line = match format {
                OutputFormat::Text => self.to_string(),
                OutputFormat::Json => self.to_json().to_string(),
            };
            // Nobody is left to tell when standard error is gone too; the exit code still says it.
            drop(writeln!(io::stderr(), "{line}"));
        }
        ExitCode::from(self.exit as u8)
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "error": {
                "code": self.code,
                "message": self.message,
                "help": self.help,
                "exit_code": self.exit as u8,
            }
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.code {
            // What the user asked for is no error.
            _ if self.exit == Exit::Interrupted => {}
            Some(code) => write!(f, "error[{code}]: ")?,
            None => f.write_str("error: ")?,
        }
        // One line, whatever the broker or the system wrote.
        for (index, line) in self.message.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            f.write_str(if index == 0 { "" } else { " " })?;
            f.write_str(line)?;
        }
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let message = match error.partition() {
            Some(partition) => format!("{partition}: {}", error.message()),
            None => error.message().to_owned(),
        };
        Self {
            exit: exit_of(error.kind()),
            code: error.code().map(str::to_owned),
            message,
            help: error.help().map(str::to_owned),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::from(error.error())
    }
}

/// The exit code of each kind; kinds of a later client count as plain failures.
const fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Unreachable | ErrorKind::Timeout => Exit::Unreachable,
        ErrorKind::NotFound | ErrorKind::OutOfRange => Exit::NotFound,
        ErrorKind::Denied => Exit::Denied,
        ErrorKind::Conflict => Exit::Conflict,
        ErrorKind::Storage | ErrorKind::Protocol => Exit::Integrity,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
