//! `tidelog produce`: lines become records.
//!
//! **Invariants:** every line up to the last one tried is counted exactly once, as stored, not stored or unknown;
//! a line that cannot be a record is named and costs no other line; input is read no faster than the broker
//! takes it.

mod input;
mod lines;
mod report;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde_json::json;
use tidelog_client::{
    Acks, Compression, ErrorKind, PartitionIndex, Producer, Receipt, RecordMetadata, SendError,
};

use crate::context::{Context, Interrupt};
use crate::envelope;
use crate::failure::Failure;
use crate::output::Output;
use crate::places;
use crate::values::parse_pair;
use input::Parser;
use lines::{Chunk, Line, Lines};
use report::{Ending, Report};

/// Records under way whose receipts are kept; reading waits beyond that.
const RECEIPTS_MAX: usize = 200_000;
/// How long records under way may take when the user or a failure ends the command.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic.
    topic: String,
    /// Values to send instead of the lines of standard input.
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// What the input holds: a value a line, or the JSON lines that consume and replay write.
    #[arg(long, short, value_name = "FORMAT", default_value = "lines", conflicts_with = "values")]
    input: InputFormat,
    /// Split each line at the first of these into key and value.
    #[arg(long, short = 'K', value_name = "TEXT", conflicts_with_all = ["key", "values"])]
    key_separator: Option<String>,
    /// The key of every record.
    #[arg(long, short, value_name = "KEY")]
    key: Option<String>,
    /// A header of every record; may be given more than once.
    #[arg(long, short = 'H', value_name = "KEY=VALUE", value_parser = parse_pair)]
    header: Vec<(String, String)>,
    /// The partition of every record [default: by key, or spread evenly].
    #[arg(long, short, value_name = "PARTITION", value_parser = clap::value_parser!(i32).range(0..), allow_hyphen_values = true)]
    partition: Option<i32>,
    /// Where JSON lines go that name a partition: by key, or to the same partition.
    #[arg(long, value_name = "RULE", default_value = "key", conflicts_with = "partition")]
    partition_by: PartitionBy,
    /// How batches are compressed.
    #[arg(long, short = 'z', value_name = "CODEC", default_value = "none")]
    compression: Codec,
    /// When a record counts as stored: on stable storage, in the broker's file, or with an offset only.
    #[arg(long, value_name = "LEVEL", default_value = "durable")]
    acks: AcksLevel,
    /// How long a record may take, tries included.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_timeout)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    Lines,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PartitionBy {
    Key,
    Same,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AcksLevel {
    Durable,
    Written,
    None,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

impl From<AcksLevel> for Acks {
    fn from(level: AcksLevel) -> Self {
        match level {
            AcksLevel::Durable => Self::Durable,
            AcksLevel::Written => Self::Written,
            AcksLevel::None => Self::None,
        }
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: use 30s or 2m");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero()).ok_or_else(wrong)
}

/// Does it.
pub(crate) async fn run(args: ProduceArgs, context: &Context) -> Result<(), Failure> {
    // An unknown topic is told before anybody types a line.
    let topic = context.client().admin().describe_topic(&args.topic).await?;
    if let Some(partition) = args.partition.and_then(PartitionIndex::new) {
        places::partitions(&topic, &[partition])?;
    }
    let producer = context.client().producer();
    let producer = producer.compression(args.compression.into()).acks(args.acks.into());
    let producer = producer.delivery_timeout(args.timeout).build()?;
    let interrupt = Interrupt::install()?;
    let lines = if args.values.is_empty() {
        if context.stdin_is_terminal() {
            context.note("a record a line; end with Ctrl-D");
        }
        Lines::of_stdin()?
    } else {
        Lines::of_values(args.values.clone())
    };
    let run = Run {
        context,
        parser: Parser::new(topic.name, &args),
        producer,
        lines,
        interrupt,
        receipts: VecDeque::new(),
        report: Report::new(),
        output: if context.wants_json() { Some(context.stdout()?) } else { None },
        read_all: false,
        stop: None,
    };
    run.finish().await
}

/// Lines on their way into the topic.
struct Run<'a> {
    context: &'a Context,
    parser: Parser,
    producer: Producer,
    lines: Lines,
    interrupt: Interrupt,
    /// Records under way, in the order of their lines.
    receipts: VecDeque<(u64, Receipt)>,
    report: Report,
    /// Where stored records are told, as long as somebody reads it.
    output: Option<Output>,
    read_all: bool,
    /// Why no more lines are read, when that is not their end.
    stop: Option<Ending>,
}

impl Run<'_> {
    async fn finish(mut self) -> Result<(), Failure> {
        while self.stop.is_none() && !(self.read_all && self.receipts.is_empty()) {
            self.step().await;
        }
        if self.stop.is_some() {
            self.close().await;
        }
        self.tell(Output::flush);
        self.report.end(self.context, self.parser.topic(), self.stop.unwrap_or(Ending::AllTried))
    }

    /// Whatever comes first: the user's end, a record's end, more lines.
    async fn step(&mut self) {
        let has_room = !self.read_all && self.receipts.len() < RECEIPTS_MAX;
        tokio::select! {
            biased;
            () = self.interrupt.raised() => self.stop = Some(Ending::Interrupted),
            (line, result) = Front(&mut self.receipts) => self.settle(line, result),
            chunk = self.lines.next(), if has_room => match chunk {
                None => self.read_all = true,
                Some(Chunk::Lines(lines)) => self.send(lines).await,
                Some(Chunk::Failed(error)) => {
                    self.report.input_failed(&error);
                    self.stop = Some(Ending::Failed);
                }
            },
        }
    }

    async fn send(&mut self, lines: Vec<Line>) {
        for line in lines {
            self.report.tried(line.number);
            let record = match line.text.and_then(|text| self.parser.parse(text)) {
                Ok(record) => record,
                Err(reason) => {
                    self.report.refused(line.number, &reason);
                    continue;
                }
            };
            let taken = tokio::select! {
                biased;
                () = self.interrupt.raised() => {
                    // The record was not taken.
                    self.report.tried(line.number.saturating_sub(1));
                    self.stop = Some(Ending::Interrupted);
                    return;
                }
                taken = self.producer.enqueue(record) => taken,
            };
            match taken {
                Ok(receipt) => self.receipts.push_back((line.number, receipt)),
                Err(error) => self.failed(line.number, &error),
            }
            if self.stop.is_some() {
                return;
            }
        }
    }

    fn settle(&mut self, line: u64, result: Result<RecordMetadata, SendError>) {
        match result {
            Ok(stored) => {
                self.report.stored();
                self.tell(|output| output.json(&to_json(&stored)));
            }
            Err(error) => self.failed(line, &error),
        }
        if self.receipts.is_empty() {
            // What waits for its reader should not wait for the next record.
            self.tell(Output::flush);
        }
    }

    /// Writes to standard output. When that fails, the records are stored all the same, and nothing more is told.
    fn tell(&mut self, write: impl FnOnce(&mut Output) -> Result<(), Failure>) {
        let Some(Err(failure)) = self.output.as_mut().map(write) else { return };
        self.output = None;
        self.report.output_failed(failure);
    }

    fn failed(&mut self, line: u64, error: &SendError) {
        self.report.failed(line, error.error());
        if !concerns_one_record(error.kind()) && self.stop.is_none() {
            self.stop = Some(Ending::Failed);
        }
    }

    /// Brings the records under way to an end.
    async fn close(&mut self) {
        // Each receipt tells its own story.
        drop(self.producer.close(CLOSE_TIMEOUT).await);
        while !self.receipts.is_empty() {
            let (line, result) = Front(&mut self.receipts).await;
            self.settle(line, result);
        }
    }
}

/// Whether other records may be stored although this one was not.
const fn concerns_one_record(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TooLarge | ErrorKind::InvalidRecord | ErrorKind::NotFound)
}

/// The end of the oldest record under way; never, when there is none. Cancel-safe.
struct Front<'a>(&'a mut VecDeque<(u64, Receipt)>);

impl Future for Front<'_> {
    type Output = (u64, Result<RecordMetadata, SendError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some((line, receipt)) = self.0.front_mut() else { return Poll::Pending };
        let (line, poll) = (*line, Pin::new(receipt).poll(cx));
        poll.map(|result| {
            self.0.pop_front();
            (line, result)
        })
    }
}

fn to_json(stored: &RecordMetadata) -> serde_json::Value {
    json!({
        "topic": stored.topic.as_str(),
        "partition": stored.partition.get(),
        "offset": stored.offset.get(),
        "timestamp": envelope::rfc3339(stored.timestamp),
    })
}
