//! The `tidelog` command line.
//!
//! **Invariant:** data goes to standard output and everything else to standard error; a failure is one line
//! there, and the exit code says which sort it is (`failure`).

mod args;
mod confirm;
mod consume;
mod context;
mod dlq;
mod envelope;
mod failure;
mod group;
mod offsets;
mod output;
mod pace;
mod places;
mod position;
mod produce;
mod replay;
mod retry;
mod template;
mod topic;
mod usage;
mod values;

use std::process::ExitCode;

use args::{Cli, Command};
use context::Context;
use failure::Failure;

fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let format = cli.global.output;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    context::log_to_stderr(&cli.global);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(dispatch(cli));
    // A thread that waits for standard input would hold up the end.
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let context = Context::new(cli.global).await?;
    match cli.command {
        Command::Topic(command) => topic::run(command, &context).await,
        Command::Produce(args) => produce::run(args, &context).await,
        Command::Consume(args) => consume::run(args, &context).await,
        Command::Group(command) => group::run(command, &context).await,
        Command::Retry(command) => retry::run(command, &context).await,
        Command::Dlq(command) => dlq::run(command, &context).await,
        Command::Offsets(command) => offsets::run(command, &context).await,
        Command::Replay(args) => replay::run(*args, &context).await,
        Command::Completion(args) => usage::completion(&args),
        Command::Version => usage::version(&context),
    }
}
