//! One call of `tidelog replay`: from the flags to the summary.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::Duration;

use jiff::Zoned;
use tidelog_client::admin::{PartitionDescription, TopicDescription};
use tidelog_client::{Client, Offset, Position, Timestamp, TopicPartition};

use super::args::{PartitionBy, ReplayArgs, Target};
use super::checkpoint::{self, Checkpoint, CheckpointError, SinkMark};
use super::filter::Filter;
use super::ledger::{Ledger, Limits, Share};
use super::plan::{Plan, Range};
use super::progress::Progress;
use super::report::{PlanReport, Summary, ranges, resume_command};
use super::run::{Ended, Keeper, Run, Timing};
use super::sink::{FileStart, Sink, TopicSink, Ways, Writer, Written, written_since};
use super::source::{Order, Source};
use crate::context::{Context, Interrupt};
use crate::failure::{Exit, Failure};
use crate::pace::Pace;
use crate::places;
use crate::values::counted;

/// Replays.
pub(crate) async fn run(args: ReplayArgs, context: &Context) -> Result<(), Failure> {
    args.check()?;
    let filter = Filter::new(&args.filter_spec()).map_err(|error| Failure::usage(error.to_string()))?;
    let mut job = Job::prepare(&args, context).await?;
    // A time and an offset may be in another order in each partition: some of them can be read.
    if let Some(reversed) = job.plan.reversed.as_ref().filter(|_| job.plan.records_max() == 0) {
        let failure = Failure::usage(format!("--until lies before --from: {reversed}"));
        return Err(failure.with_help("exchange them: a replay goes forward"));
    }
    for moved in &job.plan.moved {
        if args.range.strict {
            return Err(Failure::new(Exit::NotFound, moved.refusal()));
        }
        context.note(format_args!("note: {moved}"));
    }
    if args.run.dry_run {
        return job.show_plan(filter).await;
    }
    if let Some(previous) = job.previous.as_ref().filter(|previous| previous.complete) {
        context.note(format_args!("replay {} was completed before", previous.replay_id));
        return job.summarize("complete", &job.ledger(), Duration::ZERO);
    }
    if let (Target::Topic(topic), None) = (args.target(), &job.previous) {
        let records = counted(job.plan.records_max(), "record");
        args.run.confirm.ask(context, &format!("write up to {records} into topic {topic}"))?;
    }
    job.replay(filter).await
}

/// A replay that was looked up and checked, and not begun.
struct Job<'a> {
    args: &'a ReplayArgs,
    context: &'a Context,
    plan: Plan,
    target: Option<TopicDescription>,
    /// Ids of all topics, by name.
    topics: BTreeMap<String, String>,
    replay_id: String,
    /// Where an earlier run has come.
    previous: Option<Checkpoint>,
    /// Keeps other runs off that checkpoint.
    lock: Option<File>,
    /// The oldest offset that each partition keeps.
    log_starts: BTreeMap<TopicPartition, Offset>,
}

impl<'a> Job<'a> {
    async fn prepare(args: &'a ReplayArgs, context: &'a Context) -> Result<Self, Failure> {
        let now = Zoned::now();
        let (from, until) = (args.start_at(&now)?, args.stop_at(&now)?);
        args.check_times(&from, &until)?;
        let admin = context.client().admin();
        let mut sources: Vec<TopicDescription> = Vec::new();
        for topic in &args.topics {
            if !sources.iter().any(|source| source.name.as_str() == topic) {
                sources.push(admin.describe_topic(topic).await?);
            }
        }
        let target = match args.target() {
            Target::Topic(topic) => Some(admin.describe_topic(topic).await?),
            Target::Stdout | Target::File(_) => None,
        };
        if let Some(target) = &target {
            check_partitions(args, &sources, target)?;
        }
        let ids = sources.iter().chain(&target).map(|topic| (topic.name.to_string(), topic.id.clone()));
        let topics: BTreeMap<_, _> = ids.collect();
        let (previous, lock) = previous(args, &topics)?.unzip();
        let mut plan = Plan::default();
        match &previous {
            Some(previous) => plan.ranges = planned(previous)?,
            None => {
                let named = args.range.partition.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
                for topic in &sources {
                    let ids = places::partitions(topic, named)?;
                    let from = places::find(context.client(), topic, &ids, &from).await?;
                    let until = places::find(context.client(), topic, &ids, &until).await?;
                    plan.add(&from, &until, &partitions(topic, |partition| partition.size_bytes).collect());
                }
            }
        }
        if args.run.dry_run || args.pace.speed.0.is_some() {
            look_up_times(context.client(), &mut plan).await;
        }
        let replay_id = previous.as_ref().map_or_else(new_id, |previous| previous.replay_id.clone());
        let log_starts = sources.iter().flat_map(|source| partitions(source, |p| p.log_start)).collect();
        Ok(Self { args, context, plan, target, topics, replay_id, previous, lock, log_starts })
    }

    /// What is read and where it goes.
    fn name(&self) -> String {
        let topics = self.args.topics.join(",");
        match self.args.target() {
            Target::Stdout => topics,
            Target::File(path) => format!("{topics} to {}", path.display()),
            Target::Topic(topic) => format!("{topics} into {topic}"),
        }
    }

    fn ledger(&self) -> Ledger {
        let fresh = |range: &Range| Share {
            id: range.id.clone(),
            start: range.start,
            next: range.start,
            end: range.end,
            written: 0,
        };
        // The checkpoint was checked when it was loaded.
        let resumed = self.previous.as_ref().and_then(|previous| previous.shares().ok());
        let shares = resumed.unwrap_or_else(|| self.plan.ranges.iter().map(fresh).collect());
        let range = &self.args.range;
        let limits = Limits { total: range.limit, per_partition: range.per_partition };
        let mut ledger = Ledger::new(shares, limits);
        // What retention has taken since the replay was interrupted cannot be had any more.
        for (id, next, _) in ledger.left() {
            let log_start = self.log_starts.get(&id).copied().unwrap_or(next);
            if let Some(slot) = ledger.slot(&id).filter(|_| log_start > next) {
                self.context
                    .note(format_args!("note: {id}: {next}..{log_start} were deleted before they were read"));
                ledger.reach(slot, log_start);
            }
        }
        ledger
    }

    async fn show_plan(&self, filter: Filter) -> Result<(), Failure> {
        let (name, pace) = (self.name(), &self.args.pace);
        let mut report = PlanReport {
            plan: &self.plan,
            name: &name,
            filtered: !filter.is_empty(),
            duration: self.plan.duration(pace.rate, pace.speed.0),
            scanned: None,
        };
        if self.args.run.scan {
            let interrupt = Interrupt::install()?;
            let ledger = self.ledger();
            let source = self.open_source(&ledger, &filter).await?;
            let timing = Timing::start(Pace::new(None, None, None));
            let progress = self.progress(&ledger);
            let mut run = Run {
                source,
                filter,
                sink: Sink::Nothing,
                ledger,
                keeper: None,
                interrupt,
                progress,
                timing,
            };
            if run.run().await? == Ended::Interrupted {
                return Err(Failure::interrupted("the scan was interrupted"));
            }
            report.scanned = Some(run.ledger.total());
        }
        let mut output = self.context.stdout()?;
        if self.context.wants_json() {
            output.json(&report.json())?;
        } else {
            output.line(&report.text())?;
        }
        output.flush()
    }

    async fn replay(&mut self, filter: Filter) -> Result<(), Failure> {
        let interrupt = Interrupt::install()?;
        let ledger = self.ledger();
        let sink = self.open_sink().await?;
        let source = self.open_source(&ledger, &filter).await?;
        // Only now is it sure that there is somewhere to write.
        self.context.note(format_args!("replay {}: {}", self.name(), ranges(&self.plan)));
        if self.previous.is_none() && self.plan.records_max() == 0 {
            self.context.note("nothing to replay: no record lies in this range");
        }
        let path = self.args.checkpoint_path();
        let (head, lock) = (self.checkpoint_head(), self.lock.take());
        let keeper = path.as_ref().map(|path| Keeper::new(path.clone(), head, lock));
        let pace = &self.args.pace;
        let timing = Timing::start(Pace::new(pace.rate, pace.speed.0, pace.max_gap));
        let progress = self.progress(&ledger);
        let mut run = Run { source, filter, sink, ledger, keeper, interrupt, progress, timing };
        let ended = match run.run().await {
            Ok(ended) => ended,
            Err(failure) => {
                // It may be the checkpoint itself that cannot be written.
                let kept = path.filter(|path| failure.exit() != Exit::OutputClosed && path.exists());
                if let Some(path) = kept {
                    self.context.note(format_args!("{}", how_to_go_on(&path)));
                }
                return Err(failure);
            }
        };
        let elapsed = run.timing.elapsed();
        if ended == Ended::Interrupted {
            self.summarize("interrupted", &run.ledger, elapsed)?;
            let failure = Failure::interrupted("the replay was interrupted");
            return Err(match path {
                Some(path) => failure.with_help(how_to_go_on(&path)),
                None => failure,
            });
        }
        if let Some(path) = path.filter(|_| !self.args.keeps_checkpoint()) {
            // There is nothing to go on with. Left behind, it would only say so.
            drop(tokio::task::spawn_blocking(move || fs::remove_file(path)).await);
        }
        self.summarize("complete", &run.ledger, elapsed)
    }

    async fn open_source(&self, ledger: &Ledger, filter: &Filter) -> Result<Source, Failure> {
        let by_time = self.args.pace.merge || self.args.pace.speed.0.is_some();
        let order = if by_time { Order::ByTime } else { Order::AsTheyCome };
        Source::open(self.context.client(), &ledger.left(), filter.pushed(), order).await
    }

    fn progress(&self, ledger: &Ledger) -> Progress {
        let data_on_terminal =
            matches!(self.args.target(), Target::Stdout) && self.context.stdout_is_terminal();
        let topics = self.args.topics.join(",");
        Progress::new(self.args.run.progress, self.context, &topics, ledger, data_on_terminal)
    }

    async fn open_sink(&self) -> Result<Sink, Failure> {
        let format = self.args.sink.format.clone();
        let mark = self.previous.as_ref().map(|previous| &previous.sink);
        match (self.args.target(), &self.target) {
            (Target::File(path), _) => {
                let start = match mark {
                    Some(SinkMark::File { bytes }) => FileStart::Resume(*bytes),
                    _ if self.args.sink.force => FileStart::Overwrite,
                    _ => FileStart::New,
                };
                let path = path.to_owned();
                let opened = tokio::task::spawn_blocking(move || Writer::file(&path, start, format)).await;
                let opened = opened.map_err(|_| Failure::failed("opening the file was cut off"))?;
                Ok(Sink::Writer(opened?))
            }
            (Target::Topic(_), Some(target)) => {
                let client = self.context.client();
                let ends = |partition: &PartitionDescription| {
                    (partition.partition.get(), partition.high_watermark.get())
                };
                let (next, already) = match mark {
                    Some(SinkMark::Topic { next }) => {
                        let name = target.name.as_str();
                        (next.clone(), written_since(client, name, &self.replay_id, next).await?)
                    }
                    _ => (target.partitions.iter().map(ends).collect(), Written::new()),
                };
                let sink = &self.args.sink;
                let ways = Ways { partition_by: sink.partition_by, timestamps: sink.timestamps };
                let opened = TopicSink::open(client, target, ways, &self.replay_id, next, already);
                Ok(Sink::Topic(Box::new(opened?)))
            }
            _ => Ok(Sink::Writer(Writer::stdout(format)?)),
        }
    }

    fn checkpoint_head(&self) -> Checkpoint {
        Checkpoint {
            version: checkpoint::VERSION,
            replay_id: self.replay_id.clone(),
            saved_at: String::new(),
            complete: false,
            arguments: self.args.arguments(),
            topics: self.topics.clone(),
            sink: SinkMark::Stdout,
            partitions: Vec::new(),
        }
    }

    /// What was counted: on standard output, unless the records are there.
    fn summarize(&self, outcome: &'static str, ledger: &Ledger, elapsed: Duration) -> Result<(), Failure> {
        let path = self.args.checkpoint_path();
        let kept = path.filter(|_| self.args.keeps_checkpoint() || outcome != "complete");
        let summary = Summary {
            replay_id: &self.replay_id,
            outcome,
            ledger,
            elapsed,
            checkpoint: kept.map(|path| path.display().to_string()),
        };
        let line = if self.context.wants_json() { summary.json().to_string() } else { summary.text() };
        if matches!(self.args.target(), Target::Stdout) {
            self.context.note(line);
            return Ok(());
        }
        let mut output = self.context.stdout()?;
        output.line(&line)?;
        output.flush()
    }
}

fn how_to_go_on(path: &Path) -> String {
    let command = resume_command(std::env::args().skip(1));
    format!("what was done is in {}; go on with: {command}", path.display())
}

fn check_partitions(
    args: &ReplayArgs,
    sources: &[TopicDescription],
    target: &TopicDescription,
) -> Result<(), Failure> {
    let most = sources.iter().map(|source| source.partitions.len()).max().unwrap_or_default();
    if args.sink.partition_by == PartitionBy::Same && most > target.partitions.len() {
        let count = target.partitions.len();
        let message = format!("--partition-by same: topic {} has {count} partitions of {most}", target.name);
        return Err(Failure::usage(message).with_help("add partitions to it, or use --partition-by key"));
    }
    Ok(())
}

/// The checkpoint to go on from. Without `--resume` there must be none of an unfinished replay.
fn previous(
    args: &ReplayArgs,
    topics: &BTreeMap<String, String>,
) -> Result<Option<(Checkpoint, File)>, Failure> {
    let Some(path) = args.checkpoint_path() else { return Ok(None) };
    if args.run.resume {
        let lock = Checkpoint::lock(&path)?;
        let previous = Checkpoint::load(&path)?;
        previous.check(&args.arguments(), topics)?;
        return Ok(Some((previous, lock)));
    }
    if args.run.dry_run {
        return Ok(None);
    }
    match Checkpoint::load(&path) {
        Err(CheckpointError::Missing { .. }) => Ok(None),
        Ok(previous) if previous.complete => Ok(None),
        Ok(_) => {
            let message = format!("{} is the checkpoint of a replay that was not completed", path.display());
            Err(Failure::new(Exit::Conflict, message)
                .with_help("add --resume to go on with it, or delete it to start anew"))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is left of a replay that was begun before.
fn planned(previous: &Checkpoint) -> Result<Vec<Range>, Failure> {
    let range = |share: Share| Range {
        id: share.id,
        start: share.next,
        end: share.end,
        first_timestamp: None,
        last_timestamp: None,
        bytes: 0,
    };
    let shares = previous.shares().map_err(|reason| Failure::new(Exit::Conflict, reason))?;
    Ok(shares.into_iter().map(range).collect())
}

/// Something about each partition of a topic.
fn partitions<T>(
    topic: &TopicDescription,
    of: impl Fn(&PartitionDescription) -> T,
) -> impl Iterator<Item = (TopicPartition, T)> {
    let id = |partition| TopicPartition { topic: topic.name.clone(), partition };
    topic.partitions.iter().map(move |partition| (id(partition.partition), of(partition)))
}

/// The first and last timestamps of the ranges. They are for people: without them the plan is still right.
async fn look_up_times(client: &Client, plan: &mut Plan) {
    let mut filled: Vec<&mut Range> =
        plan.ranges.iter_mut().filter(|range| range.records_max() > 0).collect();
    let ends = filled.iter().flat_map(|range| {
        let last = Offset::new(range.end.get() - 1).unwrap_or(range.start);
        [(range.id.clone(), Position::Offset(range.start)), (range.id.clone(), Position::Offset(last))]
    });
    let ends: Vec<_> = ends.collect();
    let Ok(found) = client.admin().list_offsets(&ends).await else { return };
    let times: Vec<Option<Timestamp>> = found.into_iter().map(|info| info.timestamp).collect();
    for (range, times) in filled.iter_mut().zip(times.chunks_exact(2)) {
        if let [first, last] = times {
            (range.first_timestamp, range.last_timestamp) = (*first, *last);
        }
    }
}

/// Unlike any other with overwhelming likelihood.
fn new_id() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("r-{:012x}", random & 0xffff_ffff_ffff)
}
