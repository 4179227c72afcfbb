//! The command line's shape. Each command's own flags stand with the command.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::consume::ConsumeArgs;
use crate::dlq::DlqCommand;
use crate::group::GroupCommand;
use crate::offsets::OffsetsCommand;
use crate::produce::ProduceArgs;
use crate::replay::ReplayArgs;
use crate::retry::RetryCommand;
use crate::topic::TopicCommand;
use crate::usage::CompletionArgs;

/// Topics, produce, consume and replay for a Tidelog broker.
#[derive(Debug, Parser)]
#[command(name = "tidelog", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// The flags that every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The broker's address.
    #[arg(
        long,
        short,
        visible_alias = "server",
        value_name = "URL",
        env = "TIDELOG_BROKER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:9640",
        global = true
    )]
    pub(crate) broker: String,
    /// text for people, or json: one object per line, failures of the command included.
    #[arg(long, short, value_name = "FORMAT", default_value = "text", global = true)]
    pub(crate) output: OutputFormat,
    /// No progress, notes and summaries on standard error; failures are still told.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more on standard error: -v what the client does, -vv everything.
    #[arg(long, short, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables and lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Send lines as records.
    Produce(ProduceArgs),
    /// Print the records of topics.
    Consume(ConsumeArgs),
    /// Read ranges of topics again: to standard output, into a file or into another topic.
    Replay(Box<ReplayArgs>),
    /// Show named readers and how far they have come.
    #[command(subcommand, visible_alias = "groups")]
    Group(GroupCommand),
    /// Show and hurry the records of queue groups that wait for their next attempt.
    #[command(subcommand)]
    Retry(RetryCommand),
    /// Find, redrive and resolve the dead letters of queue groups.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Find positions, and set where groups go on.
    #[command(subcommand)]
    Offsets(OffsetsCommand),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
    /// Print the version.
    Version,
}
