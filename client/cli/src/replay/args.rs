//! The flags of `tidelog replay`, and what they mean together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Zoned};

use super::checkpoint::Arguments;
use super::filter::{FilterSpec, Sample, Tombstones};
use crate::confirm::Confirm;
use crate::failure::Failure;
use crate::pace::{Rate, parse_rate, parse_speed};
use crate::position::{self, Place, PositionSpec};
use crate::template::Template;
use crate::values::{PartitionList, parse_partitions};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// What to read.
    #[arg(required = true, value_name = "TOPIC", value_delimiter = ',')]
    pub(super) topics: Vec<String>,
    #[command(flatten)]
    pub(super) range: RangeArgs,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    #[command(flatten)]
    pub(super) sink: SinkArgs,
    #[command(flatten)]
    pub(super) pace: PaceArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// Which part of the topics.
#[derive(Debug, Args)]
#[command(next_help_heading = "Range")]
pub(crate) struct RangeArgs {
    /// Only these partitions, such as 0,3-5.
    #[arg(long, short, value_name = "LIST", value_parser = parse_partitions)]
    pub(super) partition: Option<PartitionList>,
    /// The first record: start, an offset, +N, -N (the last N), a time, -1h30m, group:NAME, file:PATH, or one
    /// of these for each partition: 0=120,3=end.
    #[arg(long, value_name = "POSITION", default_value = "start", allow_hyphen_values = true)]
    pub(super) from: String,
    /// Stop before this position. The end is the one at the start of the replay.
    #[arg(
        long,
        visible_alias = "to",
        value_name = "POSITION",
        default_value = "end",
        allow_hyphen_values = true
    )]
    pub(super) until: String,
    /// From so long ago: 1h is the same as --from -1h.
    #[arg(long, value_name = "DURATION", conflicts_with = "from")]
    pub(super) since: Option<String>,
    /// Stop after so many records that pass the filter.
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(super) limit: Option<u64>,
    /// At most so many records of each partition.
    #[arg(long, value_name = "COUNT")]
    pub(super) per_partition: Option<u64>,
    /// Fail when an offset asked for is not in the log, instead of using the nearest one.
    #[arg(long)]
    pub(super) strict: bool,
}

/// Which records of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filter (a record must pass every kind of test given)")]
pub(crate) struct FilterArgs {
    /// Records with this key; several: any of them.
    #[arg(long, value_name = "KEY")]
    pub(super) key: Vec<String>,
    /// Records whose key begins so.
    #[arg(long, value_name = "TEXT")]
    pub(super) key_prefix: Option<String>,
    /// Records whose key matches a regular expression somewhere.
    #[arg(long, value_name = "REGEX")]
    pub(super) key_regex: Vec<String>,
    /// Records with this header, with this value, or with a value that matches.
    #[arg(long, value_name = "NAME[=VALUE|~REGEX]")]
    pub(super) header: Vec<String>,
    /// Records whose value holds this text.
    #[arg(long, value_name = "TEXT")]
    pub(super) contains: Vec<String>,
    /// Records whose value matches a regular expression somewhere.
    #[arg(long = "match", value_name = "REGEX")]
    pub(super) value_regex: Vec<String>,
    /// Records whose value is JSON with this at a path, such as .user.id=42, or anything but null there.
    #[arg(long, value_name = "PATH[=VALUE]")]
    pub(super) json: Vec<String>,
    /// What to do with records without a value.
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub(super) tombstones: Tombstones,
    /// Only a share of the records, the same ones each time, such as 1/100.
    #[arg(long, value_name = "SHARE")]
    pub(super) sample: Option<Sample>,
    /// The records that do not pass, instead of those that do.
    #[arg(long)]
    pub(super) invert: bool,
}

/// Where they go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where to")]
pub(crate) struct SinkArgs {
    /// To standard output, which is the default.
    #[arg(long, group = "sink")]
    pub(super) to_stdout: bool,
    /// Into a file, which must not exist.
    #[arg(long, value_name = "FILE", group = "sink")]
    pub(super) out: Option<PathBuf>,
    /// Into a topic, with headers added that say where each record came from.
    #[arg(long, value_name = "TOPIC", group = "sink")]
    pub(super) into: Option<String>,
    /// How records are written to a file or to standard output: json (one object per line, without loss), raw
    /// (the values, one per line), or a pattern such as '%o %k %v\n'.
    #[arg(long, short, value_name = "FORMAT", default_value = "json", value_parser = parse_format, conflicts_with = "into")]
    pub(super) format: RecordFormat,
    /// Overwrite the file.
    #[arg(long, requires = "out")]
    pub(super) force: bool,
    /// Into which partition of the topic a record goes.
    #[arg(long, value_name = "HOW", default_value = "key", requires = "into")]
    pub(super) partition_by: PartitionBy,
    /// Which timestamp a record gets in the topic.
    #[arg(long, value_name = "WHICH", default_value = "keep", requires = "into")]
    pub(super) timestamps: Timestamps,
    /// Write into a topic that is read. It ends all the same, but each such replay makes the next one longer.
    #[arg(long, requires = "into")]
    pub(super) allow_same_topic: bool,
}

/// How fast.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct PaceArgs {
    /// No faster than this: 500/s for records, 10MB/s for bytes of keys and values.
    #[arg(long, value_name = "RATE", value_parser = parse_rate, allow_hyphen_values = true)]
    pub(super) rate: Option<Rate>,
    /// At a multiple of the pace at which the records were written, such as 1x, 10x or 0.5x, or max.
    /// Partitions are merged by time.
    #[arg(long, value_name = "SPEED", default_value = "max", value_parser = speed, allow_hyphen_values = true)]
    pub(super) speed: Speed,
    /// Cut idle stretches of the original down to this.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "speed")]
    pub(super) max_gap: Option<Duration>,
    /// Merge the partitions by time also at full speed.
    #[arg(long)]
    pub(super) merge: bool,
}

/// How it is done.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArgs {
    /// Show what would be read, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// With --dry-run: read everything and count what passes the filter.
    #[arg(long, requires = "dry_run")]
    pub(super) scan: bool,
    /// Where to keep how far the replay has come, or none [default: beside the file, or in this directory when
    /// a topic is written; none for standard output].
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Go on where the checkpoint stands. The other arguments must be the same.
    #[arg(long)]
    pub(super) resume: bool,
    /// How progress is shown on standard error.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(super) progress: ProgressMode,
    #[command(flatten)]
    pub(super) confirm: Confirm,
}

/// How a record is written as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    /// The envelope, without loss.
    Json,
    /// The value and a line feed; records without a value are empty lines.
    Raw,
    /// A pattern, as it was given and ready for use.
    Pattern(String, Template),
}

impl fmt::Display for RecordFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Pattern(text, _) => text,
        })
    }
}

/// How the partition of a target topic is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartitionBy {
    /// By the key's hash, as producers do. Records without a key stay together as in the source.
    Key,
    /// The same number as in the source.
    Same,
    /// One after the other.
    RoundRobin,
}

/// Which timestamp a record gets in a target topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Timestamps {
    /// Its own.
    Keep,
    /// The time of the replay.
    Now,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, else nothing.
    Auto,
    /// A bar.
    Bar,
    /// A line every few seconds.
    Plain,
    /// Nothing.
    None,
}

/// A multiple of the original pace; `None` is as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed(pub(super) Option<f64>);

fn speed(text: &str) -> Result<Speed, String> {
    parse_speed(text).map(Speed).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| format!("{text:?} is not a duration: use 5s, 1m30s or 2h"))
}

fn parse_format(text: &str) -> Result<RecordFormat, String> {
    match text {
        "json" | "jsonl" => Ok(RecordFormat::Json),
        "raw" => Ok(RecordFormat::Raw),
        pattern if pattern.contains('%') => {
            let template = Template::parse(pattern).map_err(|error| error.to_string())?;
            Ok(RecordFormat::Pattern(pattern.to_owned(), template))
        }
        _ => Err("use json, raw, or a pattern such as '%o %k %v\\n'".to_owned()),
    }
}

/// Where records go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// To standard output.
    Stdout,
    /// Into a file.
    File(&'a Path),
    /// Into a topic.
    Topic(&'a str),
}

impl ReplayArgs {
    /// Where records go.
    pub(super) fn target(&self) -> Target<'_> {
        match (&self.sink.out, &self.sink.into) {
            (Some(path), _) => Target::File(path),
            (_, Some(topic)) => Target::Topic(topic),
            _ => Target::Stdout,
        }
    }

    /// What clap cannot check.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if let Target::Topic(topic) = self.target()
            && self.topics.iter().any(|source| source == topic)
            && !self.sink.allow_same_topic
        {
            let message = format!("{topic} is read and written: each such replay makes the next one longer");
            return Err(
                Failure::usage(message).with_help("add --allow-same-topic when that is what you want")
            );
        }
        if self.run.resume && self.checkpoint_path().is_none() {
            return Err(Failure::usage("--resume needs a checkpoint").with_help("name it: --checkpoint FILE"));
        }
        Ok(())
    }

    /// Where to start.
    pub(super) fn start_at(&self, now: &Zoned) -> Result<PositionSpec, Failure> {
        let Some(since) = &self.range.since else { return read_position("--from", &self.range.from, now) };
        let wrong = || Failure::usage(format!("--since: {since:?} is not a duration: use 1h30m"));
        let time = position::before(since, now).ok_or_else(wrong)?;
        Ok(PositionSpec::everywhere(Place::Time(time)))
    }

    /// Where to stop.
    pub(super) fn stop_at(&self, now: &Zoned) -> Result<PositionSpec, Failure> {
        read_position("--until", &self.range.until, now)
    }

    /// Refuses times of which the second is before the first: where there are no records they would meet.
    pub(super) fn check_times(&self, from: &PositionSpec, until: &PositionSpec) -> Result<(), Failure> {
        let (Some(Place::Time(start)), Some(Place::Time(stop))) = (&from.default, &until.default) else {
            return Ok(());
        };
        if stop >= start {
            return Ok(());
        }
        let failure = Failure::usage(format!(
            "--until lies before {}",
            if self.range.since.is_some() { "--since" } else { "--from" }
        ));
        Err(failure.with_help("exchange them: a replay goes forward"))
    }

    /// Which records pass.
    pub(super) fn filter_spec(&self) -> FilterSpec {
        let filter = &self.filter;
        FilterSpec {
            keys: filter.key.clone(),
            key_prefix: filter.key_prefix.clone(),
            key_regexes: filter.key_regex.clone(),
            headers: filter.header.clone(),
            contains: filter.contains.clone(),
            value_regexes: filter.value_regex.clone(),
            json: filter.json.clone(),
            tombstones: filter.tombstones,
            sample: filter.sample,
            invert: filter.invert,
        }
    }

    /// Where to keep how far the replay has come.
    pub(super) fn checkpoint_path(&self) -> Option<PathBuf> {
        if let Some(path) = &self.run.checkpoint {
            return (path.as_os_str() != "none").then(|| path.clone());
        }
        match self.target() {
            Target::Stdout => None,
            Target::File(path) => {
                let mut beside = path.as_os_str().to_owned();
                beside.push(".checkpoint");
                Some(beside.into())
            }
            Target::Topic(topic) => Some(format!("{}-into-{topic}.checkpoint", self.topics.join("+")).into()),
        }
    }

    /// Whether the checkpoint is the user's to keep, and not only there in case the replay is interrupted.
    pub(super) const fn keeps_checkpoint(&self) -> bool {
        self.run.checkpoint.is_some()
    }

    /// The arguments that decide which records are written where and how. Pace and progress do not.
    pub(super) fn arguments(&self) -> Arguments {
        let (range, filter, sink) = (&self.range, &self.filter, &self.sink);
        let mut arguments = Arguments::new();
        let mut put = |flag: &str, values: Vec<String>| {
            if !values.is_empty() {
                arguments.insert(flag.to_owned(), values);
            }
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string()).into_iter().collect();
        let switch = |on: bool, text: &str| if on { vec![text.to_owned()] } else { Vec::new() };
        let partitions = range.partition.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
        put("TOPIC", self.topics.clone());
        put("--partition", partitions.iter().map(ToString::to_string).collect());
        match &range.since {
            Some(since) => put("--since", vec![since.clone()]),
            None => put("--from", vec![range.from.clone()]),
        }
        put("--until", vec![range.until.clone()]);
        put("--limit", number(range.limit));
        put("--per-partition", number(range.per_partition));
        put("--key", filter.key.clone());
        put("--key-prefix", filter.key_prefix.iter().cloned().collect());
        put("--key-regex", filter.key_regex.clone());
        put("--header", filter.header.clone());
        put("--contains", filter.contains.clone());
        put("--match", filter.value_regex.clone());
        put("--json", filter.json.clone());
        put("--tombstones", named(filter.tombstones));
        put("--sample", filter.sample.iter().map(ToString::to_string).collect());
        put("--invert", switch(filter.invert, "yes"));
        match self.target() {
            Target::Stdout => put("--to-stdout", switch(true, "yes")),
            Target::File(path) => put("--out", vec![path.display().to_string()]),
            Target::Topic(topic) => {
                put("--into", vec![topic.to_owned()]);
                put("--partition-by", named(sink.partition_by));
                put("--timestamps", named(sink.timestamps));
                return arguments;
            }
        }
        put("--format", vec![sink.format.to_string()]);
        arguments
    }
}

/// The name of a choice on the command line.
fn named(choice: impl ValueEnum) -> Vec<String> {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).into_iter().collect()
}

fn read_position(flag: &str, text: &str, now: &Zoned) -> Result<PositionSpec, Failure> {
    position::parse(text, now).map_err(|error| Failure::usage(format!("{flag}: {error}")))
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
