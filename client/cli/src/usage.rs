//! Reading the command line, and the commands that only talk about this program.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser};
use clap_complete::Shell;
use serde_json::json;

use crate::args::{Cli, OutputFormat};
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

/// The command line, or the code to end with: help was asked for, or something is wrong.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let asked = error.exit_code() == 0;
            // With the terminal gone there is nobody to show it to.
            drop(error.print());
            if asked { ExitCode::SUCCESS } else { ExitCode::from(Exit::Usage as u8) }
        }
        _ => Failure::usage(one_line(&error.to_string())).report(OutputFormat::Text),
    })
}

/// What clap writes over many lines, in one: the cause, its tips, and where to read on.
fn one_line(text: &str) -> String {
    let mut parts = Vec::new();
    let mut program = "tidelog".to_owned();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            let words = usage.split(' ');
            let words: Vec<&str> = words.take_while(|word| !word.starts_with(['<', '[', '-'])).collect();
            program = words.join(" ");
        } else if !line.starts_with("For more information") {
            parts.push(line.trim_start_matches("error: "));
        }
    }
    format!("{} (see {program} --help)", parts.join("; ").replace(":;", ":"))
}

/// Prints a completion script.
pub(crate) fn completion(args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidelog", &mut script);
    let mut stdout = io::stdout();
    stdout.write_all(&script).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

/// Prints the version.
pub(crate) fn version(context: &Context) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({ "version": version }))?;
    } else {
        output.line(&format!("tidelog {version}"))?;
    }
    output.flush()
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
