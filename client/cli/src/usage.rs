//! Reading the command line, and the commands that only talk about this program.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
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
        _ => {
            let format =
                if wants_json(std::env::args_os().skip(1)) { OutputFormat::Json } else { OutputFormat::Text };
            complaint(&error, std::env::args_os().skip(1)).report(format)
        }
    })
}

/// Whether the words, which clap could not read as a whole, ask for JSON.
fn wants_json(words: impl Iterator<Item = OsString>) -> bool {
    let mut before = OsString::new();
    for word in words {
        let joined = ["-ojson", "-o=json", "--output=json"].iter().any(|wanted| word == *wanted);
        if joined || (word == "json" && (before == "-o" || before == "--output")) {
            return true;
        }
        if word == "--" {
            return false;
        }
        before = word;
    }
    false
}

/// One line with the help page of the command that was meant.
fn complaint(error: &clap::Error, words: impl Iterator<Item = OsString>) -> Failure {
    Failure::usage(cause(error)).with_help(format!("see `{} --help`", command_path(words)))
}

/// The commands that the words name, as far as they go: `tidelog topic create`.
fn command_path(words: impl Iterator<Item = OsString>) -> String {
    let mut command = Cli::command();
    // Global flags are known to every command from here on, and help has its long names.
    command.build();
    let mut path = command.get_name().to_owned();
    let mut words = words;
    while let Some(word) = words.next() {
        if let Some(flag) = word.to_str().filter(|word| word.starts_with('-')) {
            if takes_next_word(&command, flag) {
                words.next();
            }
            continue;
        }
        let Some(inner) = command.find_subcommand(&word) else { break };
        path = format!("{path} {}", inner.get_name());
        command = inner.clone();
    }
    path
}

fn takes_next_word(command: &clap::Command, flag: &str) -> bool {
    let takes = |arg: &&clap::Arg| arg.get_action().takes_values();
    let is_named = |arg: &clap::Arg| match flag.strip_prefix("--") {
        Some(long) => arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)),
        None => arg.get_short().is_some_and(|short| flag == format!("-{short}")),
    };
    command.get_arguments().filter(takes).any(is_named)
}

/// What clap found wrong, in one line without the remedy that the help page is.
fn cause(error: &clap::Error) -> String {
    let get = |kind| error.get(kind).map(ContextValue::to_string).filter(|text| !text.is_empty());
    let argument = get(ContextKind::InvalidArg).unwrap_or_else(|| "the command line".to_owned());
    let value = get(ContextKind::InvalidValue);
    let mut line = match (error.kind(), value) {
        (ErrorKind::UnknownArgument, _) => format!("unexpected argument '{argument}'"),
        (ErrorKind::InvalidSubcommand, _) => {
            format!("unknown command '{}'", get(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        (ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues, None) => {
            format!("{argument} needs a value")
        }
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooManyValues, Some(value)) => {
            format!("invalid value '{value}' for '{argument}'")
        }
        (ErrorKind::ArgumentConflict, _) => match get(ContextKind::PriorArg) {
            Some(prior) if prior != argument => format!("'{argument}' cannot be used with '{prior}'"),
            _ => format!("'{argument}' is given more than once"),
        },
        (ErrorKind::MissingRequiredArgument, _) => format!("missing: {argument}"),
        (ErrorKind::MissingSubcommand, _) => "missing: a command".to_owned(),
        (ErrorKind::InvalidUtf8, _) => "an argument is not valid UTF-8".to_owned(),
        (kind, _) => format!("{argument}: {kind}"),
    };
    if let Some(source) = std::error::Error::source(error) {
        line.push_str(&format!(": {source}"));
    } else if let Some(values) = get(ContextKind::ValidValue) {
        line.push_str(&format!(": use one of {values}"));
    }
    let suggested =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    if let Some(meant) = suggested.into_iter().find_map(get) {
        line.push_str(&format!("; did you mean '{meant}'?"));
    }
    line.lines().map(str::trim).collect::<Vec<_>>().join(" ")
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
