//! `tidelog consume`: the records of topics, as they are or as they come.
//!
//! **Invariants:** a group's committed offsets never pass what was written to standard output; every record
//! that was written is counted once.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Zoned;
use tidelog_client::{Consumer, ConsumerBuilder, ConsumerRecord, Position, TopicPartition};
use tokio::time::Instant;

use crate::context::{Context, Interrupt, warn};
use crate::envelope;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::places::{self, Found};
use crate::position::{self, Place, PositionSpec};
use crate::template::Template;
use crate::values::{PartitionList, counted, parse_partitions};

/// How often a group's offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// The places of more partitions than this are not told one by one.
const TOLD_PARTITIONS_MAX: usize = 16;

/// Arguments of `consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only these partitions, such as 3, 0,2 or 0,3-5.
    #[arg(long, short, value_name = "LIST", value_parser = parse_partitions)]
    partition: Option<PartitionList>,
    /// Where to start: start, end, an offset, +N, -N, a time, -1h30m, group:NAME, file:PATH or 0=N,3=TIME
    /// [default: start, or where the group has committed].
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    from: Option<String>,
    /// Start so long ago, such as 1h30m or 7d.
    #[arg(long, value_name = "DURATION", conflicts_with = "from")]
    since: Option<String>,
    /// Stop before this position.
    #[arg(
        long,
        visible_alias = "to",
        value_name = "POSITION",
        allow_hyphen_values = true,
        conflicts_with = "follow"
    )]
    until: Option<String>,
    /// Stop after so many records.
    #[arg(long, short = 'n', visible_alias = "limit", value_name = "COUNT")]
    max: Option<u64>,
    /// Start where this group has committed, and commit what was written.
    #[arg(long, short, value_name = "NAME")]
    group: Option<String>,
    /// Go on with records as they come [default when the output is a terminal].
    #[arg(long, conflicts_with = "exit")]
    follow: bool,
    /// End when everything is read that is there at the start [default when the output is no terminal].
    #[arg(long, short)]
    exit: bool,
    /// How records are written: raw (the values, one per line), json (one object per line, without loss), or a
    /// pattern such as '%t-%p@%o %k: %v\n' [default: raw, or json with --output json].
    #[arg(long, short, value_name = "FORMAT", conflicts_with = "output")]
    format: Option<String>,
}

/// How records are written.
#[derive(Debug)]
enum Form {
    Envelope,
    Template(Template),
}

impl Form {
    fn new(args: &ConsumeArgs, context: &Context) -> Result<Self, Failure> {
        let format = match args.format.as_deref() {
            Some("json") => return Ok(Self::Envelope),
            None if context.wants_json() => return Ok(Self::Envelope),
            None | Some("raw") => "%v\\n",
            Some(format) => format,
        };
        let template = Template::parse(format);
        template.map(Self::Template).map_err(|error| Failure::usage(format!("--format: {error}")))
    }

    fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Envelope => envelope::write(record, out)
                .map_err(|error| Failure::failed(format!("cannot write JSON: {error}"))),
            Self::Template(template) => {
                template.write(record, out);
                Ok(())
            }
        }
    }
}

/// Does it.
pub(crate) async fn run(args: ConsumeArgs, context: &Context) -> Result<(), Failure> {
    let form = Form::new(&args, context)?;
    let range = Range::parse(&args, context)?;
    let consumer = range.open(&args, context).await?;
    let interrupt = Interrupt::install()?;
    let run = Run {
        context,
        form,
        output: context.stdout()?,
        consumer,
        interrupt,
        commits: args.group.is_some(),
        committed_at: Instant::now(),
        left: args.max.unwrap_or(u64::MAX),
        written: 0,
        line: Vec::new(),
    };
    run.finish().await
}

/// What is to be read, as the user said it.
#[derive(Debug)]
struct Range {
    from: Option<PositionSpec>,
    until: Option<PositionSpec>,
    follow: bool,
}

impl Range {
    fn parse(args: &ConsumeArgs, context: &Context) -> Result<Self, Failure> {
        let now = Zoned::now();
        let read = |flag: &str, text: &str| {
            position::parse(text, &now).map_err(|error| Failure::usage(format!("{flag}: {error}")))
        };
        let from = match (&args.from, &args.since) {
            (Some(from), _) => Some(read("--from", from)?),
            (None, Some(since)) => {
                let millis = position::before(since, &now);
                let wrong =
                    || Failure::usage(format!("--since: {since:?} is not a duration: use 1h30m or 7d"));
                Some(PositionSpec::everywhere(Place::Time(millis.ok_or_else(wrong)?)))
            }
            (None, None) => None,
        };
        let until = args.until.as_deref().map(|until| read("--until", until)).transpose()?;
        let bounded = args.exit || until.is_some();
        let follow = args.follow || (context.stdout_is_terminal() && !bounded);
        Ok(Self { from, until, follow })
    }

    async fn open(&self, args: &ConsumeArgs, context: &Context) -> Result<Consumer, Failure> {
        let mut builder = context.client().consumer();
        if let Some(group) = &args.group {
            builder = builder.group(group);
        }
        if !self.follow {
            builder = builder.until_end();
        }
        for name in &args.topics {
            builder = self.add_topic(builder, name, args, context).await?;
        }
        Ok(builder.build().await?)
    }

    async fn add_topic(
        &self,
        mut builder: ConsumerBuilder,
        name: &str,
        args: &ConsumeArgs,
        context: &Context,
    ) -> Result<ConsumerBuilder, Failure> {
        let client = context.client();
        let topic = client.admin().describe_topic(name).await?;
        let named = args.partition.as_ref().map_or(&[][..], |list| &list.0[..]);
        let partitions = places::partitions(&topic, named)?;
        let starts = match &self.from {
            Some(from) => Some(places::find(client, &topic, &partitions, from).await?),
            None => None,
        };
        for id in &partitions {
            let position = match &starts {
                // A list of places names the partitions to read.
                Some(starts) => match starts.get(id) {
                    Some(found) => Position::Offset(found.offset),
                    None => continue,
                },
                None if args.group.is_some() => Position::Committed,
                None => Position::Earliest,
            };
            builder = builder.partition(name, id.partition.get(), position);
        }
        let read = |id: &TopicPartition| starts.as_ref().is_none_or(|starts| starts.contains_key(id));
        let read: Vec<TopicPartition> = partitions.iter().filter(|id| read(id)).cloned().collect();
        if let Some(starts) = &starts {
            tell_places(context, "from", starts);
        }
        if let Some(until) = &self.until {
            let ends = places::find(client, &topic, &read, until).await?;
            tell_places(context, "until", &ends);
            builder = builder.until(ends.into_iter().map(|(id, found)| (id, found.offset)));
        }
        Ok(builder)
    }
}

/// Tells what a position came to, in the words that name it exactly.
fn tell_places(context: &Context, word: &str, places: &BTreeMap<TopicPartition, Found>) {
    for (id, found) in places {
        if let Some(wanted) = found.moved_from {
            let (start, end) = (found.log_start, found.high_watermark);
            let taken = found.offset;
            warn(format_args!("{id}: offset {wanted} is not in the log ({start} to {end}); taking {taken}"));
        }
    }
    let Some(topic) = places.keys().next().map(|id| &id.topic) else { return };
    if places.len() <= TOLD_PARTITIONS_MAX {
        let list = places.iter().map(|(id, found)| format!("{}={}", id.partition, found.offset));
        context.note(format_args!("{topic}: {word} {}", list.collect::<Vec<_>>().join(",")));
    }
}

/// Records on their way to standard output.
struct Run<'a> {
    context: &'a Context,
    form: Form,
    output: Output,
    consumer: Consumer,
    interrupt: Interrupt,
    commits: bool,
    committed_at: Instant,
    left: u64,
    written: u64,
    line: Vec<u8>,
}

impl Run<'_> {
    async fn finish(mut self) -> Result<(), Failure> {
        let mut failures = Vec::new();
        while self.left > 0 {
            match self.next().await? {
                Next::Record(record) => self.write(&record).await?,
                Next::Failure(failure) => {
                    warn(&failure);
                    failures.push(failure);
                }
                Next::Nothing => {}
                Next::End => break,
                Next::Interrupted => {
                    self.settle().await?;
                    let count = counted(self.written, "record");
                    return Err(Failure::interrupted(format!("interrupted after {count}")));
                }
            }
        }
        self.settle().await?;
        self.context.note(counted(self.written, "record"));
        match failures.pop() {
            None => Ok(()),
            Some(only) if failures.is_empty() && self.written == 0 => Err(only),
            Some(_) => {
                let count = u64::try_from(failures.len()).unwrap_or(u64::MAX).saturating_add(1);
                let partitions = counted(count, "partition");
                let message = format!("{partitions} failed; {} written", counted(self.written, "record"));
                Err(Failure::new(Exit::Partial, message))
            }
        }
    }

    /// What comes next. What was written is sent on before anything is waited for.
    async fn next(&mut self) -> Result<Next, Failure> {
        if self.interrupt.is_raised() {
            return Ok(Next::Interrupted);
        }
        let ready = self.consumer.next().now_or_never();
        let item = match ready {
            Some(item) => item,
            None => {
                self.output.flush()?;
                tokio::select! {
                    biased;
                    () = self.interrupt.raised() => return Ok(Next::Interrupted),
                    () = tokio::time::sleep_until(self.committed_at + COMMIT_INTERVAL), if self.commits => {
                        self.commit_in_between().await?;
                        return Ok(Next::Nothing);
                    }
                    item = self.consumer.next() => item,
                }
            }
        };
        Ok(match item {
            None => Next::End,
            Some(Ok(record)) => Next::Record(record),
            // Without a partition, the whole stream ended.
            Some(Err(error)) if error.partition().is_none() => return Err(error.into()),
            Some(Err(error)) => Next::Failure(error.into()),
        })
    }

    async fn write(&mut self, record: &ConsumerRecord) -> Result<(), Failure> {
        self.line.clear();
        self.form.write(record, &mut self.line)?;
        self.output.bytes(&self.line)?;
        self.written += 1;
        self.left -= 1;
        if self.commits && self.committed_at.elapsed() >= COMMIT_INTERVAL {
            self.commit_in_between().await?;
        }
        Ok(())
    }

    /// A commit that need not succeed: while the broker is away, the next one tries again.
    async fn commit_in_between(&mut self) -> Result<(), Failure> {
        self.output.flush()?;
        self.committed_at = Instant::now();
        match self.consumer.commit().await {
            Err(error) if error.is_retryable() => {
                warn(format_args!("not committed for now: {error}"));
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Sends on what was written, then commits it.
    async fn settle(&mut self) -> Result<(), Failure> {
        self.output.flush()?;
        if self.commits {
            self.consumer.commit().await?;
        }
        Ok(())
    }
}

/// What a step of the run brought.
enum Next {
    Record(ConsumerRecord),
    /// A partition is not read any further.
    Failure(Failure),
    Nothing,
    End,
    Interrupted,
}
