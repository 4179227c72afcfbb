//! Which records a replay passes on.
//!
//! The tests of a filter run from the cheapest to the dearest, so that most records are left out before a
//! regular expression or a JSON parser sees them. What the broker can judge itself is pushed to it.
//!
//! **Invariants:** every record that passes also passes [`Filter::pushed`]; whether a record passes depends on
//! the record alone, so that a replay that was interrupted and resumed passes the same records.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use memchr::memmem::Finder;
use regex::bytes::Regex;
use thiserror::Error;
use tidelog_client::{Bytes, ConsumerRecord, ReadFilter};

use super::json_path::{JsonTest, JsonTestError};

/// What to do with records without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Tombstones {
    /// Pass them on as the others.
    #[default]
    Keep,
    /// Leave them out.
    Drop,
    /// Leave out all others.
    Only,
}

/// One record in so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    take: NonZeroU64,
    of: NonZeroU64,
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(take, of)| Some((take.trim().parse().ok()?, of.trim().parse().ok()?)));
        let sample = parts.map(|(take, of)| Self { take, of });
        sample
            .filter(|sample| sample.take <= sample.of)
            .ok_or_else(|| format!("{text:?} is not a share: use 1/100 for one record in a hundred"))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.take, self.of)
    }
}

impl Sample {
    /// By the record's place, not by chance: the same records are taken each time.
    fn takes(self, record: &ConsumerRecord) -> bool {
        let seed = record.topic.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let place = seed ^ u64::from(record.partition.unsigned()).rotate_left(48) ^ record.offset.unsigned();
        mixed(place) % self.of < self.take.get()
    }
}

/// The finisher of splitmix64: neighbours end up far apart.
const fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A filter as the command line gives it. A record passes when it passes every part; `keys` is one part, which
/// any of the keys passes.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilterSpec {
    /// Keys that are wanted.
    pub(crate) keys: Vec<String>,
    /// How keys begin.
    pub(crate) key_prefix: Option<String>,
    /// Regular expressions that match somewhere in the key.
    pub(crate) key_regexes: Vec<String>,
    /// `NAME`, `NAME=VALUE` or `NAME~REGEX`.
    pub(crate) headers: Vec<String>,
    /// Texts that the value holds.
    pub(crate) contains: Vec<String>,
    /// Regular expressions that match somewhere in the value.
    pub(crate) value_regexes: Vec<String>,
    /// `.path.to[0].field` or `.path=VALUE` in a JSON value.
    pub(crate) json: Vec<String>,
    /// What becomes of records without a value.
    pub(crate) tombstones: Tombstones,
    /// A share of what passes.
    pub(crate) sample: Option<Sample>,
    /// Whether the records are wanted that do not pass (the sample is still taken).
    pub(crate) invert: bool,
}

/// A filter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FilterError {
    /// Not a regular expression.
    #[error("{flag} {text:?}: {reason}")]
    Regex {
        /// Where it stands.
        flag: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it, in one line.
        reason: String,
    },
    /// A header test without a name.
    #[error("--header {text:?} names no header: use NAME, NAME=VALUE or NAME~REGEX")]
    Header {
        /// The text.
        text: String,
    },
    /// Not a JSON test.
    #[error(transparent)]
    Json(#[from] JsonTestError),
}

impl FilterError {
    /// Quotes the whole argument of which the expression is a part.
    fn within(mut self, argument: &str) -> Self {
        if let Self::Regex { text, .. } = &mut self {
            argument.clone_into(text);
        }
        self
    }
}

/// One test, named by what it looks at.
#[derive(Debug)]
enum Test {
    HasValue(bool),
    KeyIs(Vec<Bytes>),
    KeyStarts(Bytes),
    HasHeader(Bytes),
    HeaderIs(Bytes, Bytes),
    ValueHolds(Box<Finder<'static>>),
    KeyMatches(Regex),
    HeaderMatches(Bytes, Regex),
    ValueMatches(Regex),
    Json(JsonTest),
}

impl Test {
    /// Cheap tests have low numbers. What a test costs grows with what it looks at: nothing, the key, the
    /// headers, then the value; and a search costs less than an expression, which costs less than a parser.
    const fn cost(&self) -> u8 {
        match self {
            Self::HasValue(_) => 0,
            Self::KeyIs(_) => 1,
            Self::KeyStarts(_) => 2,
            Self::HasHeader(_) => 3,
            Self::HeaderIs(..) => 4,
            Self::KeyMatches(_) => 5,
            Self::HeaderMatches(..) => 6,
            Self::ValueHolds(_) => 7,
            Self::ValueMatches(_) => 8,
            Self::Json(_) => 9,
        }
    }

    fn passes(&self, record: &ConsumerRecord) -> bool {
        let (key, value) = (record.key.as_ref(), record.value.as_ref());
        let header = |name: &Bytes, test: &dyn Fn(Option<&Bytes>) -> bool| {
            record.headers.iter().any(|(found, value)| found == name && test(value.as_ref()))
        };
        match self {
            Self::HasValue(wanted) => value.is_some() == *wanted,
            Self::KeyIs(wanted) => key.is_some_and(|key| wanted.contains(key)),
            Self::KeyStarts(start) => key.is_some_and(|key| key.starts_with(start)),
            Self::HasHeader(name) => header(name, &|_| true),
            Self::HeaderIs(name, wanted) => header(name, &|value| value == Some(wanted)),
            Self::ValueHolds(part) => value.is_some_and(|value| part.find(value).is_some()),
            Self::KeyMatches(regex) => key.is_some_and(|key| regex.is_match(key)),
            Self::HeaderMatches(name, regex) => {
                header(name, &|value| value.is_some_and(|v| regex.is_match(v)))
            }
            Self::ValueMatches(regex) => value.is_some_and(|value| regex.is_match(value)),
            Self::Json(test) => value.is_some_and(|value| test.passes(value)),
        }
    }
}

/// A filter ready for use.
#[derive(Debug)]
pub(crate) struct Filter {
    /// From the cheapest to the dearest.
    tests: Vec<Test>,
    sample: Option<Sample>,
    invert: bool,
    pushed: ReadFilter,
}

impl Filter {
    /// Reads the expressions and puts the tests in order.
    pub(crate) fn new(spec: &FilterSpec) -> Result<Self, FilterError> {
        let mut tests = Vec::new();
        match spec.tombstones {
            Tombstones::Keep => {}
            Tombstones::Drop => tests.push(Test::HasValue(true)),
            Tombstones::Only => tests.push(Test::HasValue(false)),
        }
        if !spec.keys.is_empty() {
            tests.push(Test::KeyIs(spec.keys.iter().cloned().map(Bytes::from).collect()));
        }
        tests.extend(spec.key_prefix.clone().map(|start| Test::KeyStarts(start.into())));
        for text in &spec.key_regexes {
            tests.push(Test::KeyMatches(regex("--key-regex", text)?));
        }
        for text in &spec.headers {
            tests.push(header_test(text)?);
        }
        let finder = |text: &String| Test::ValueHolds(Box::new(Finder::new(text).into_owned()));
        tests.extend(spec.contains.iter().map(finder));
        for text in &spec.value_regexes {
            tests.push(Test::ValueMatches(regex("--match", text)?));
        }
        for text in &spec.json {
            tests.push(Test::Json(text.parse()?));
        }
        tests.sort_by_key(Test::cost);
        let pushed = if spec.invert { ReadFilter::new() } else { pushed(spec, &tests) };
        Ok(Self { tests, sample: spec.sample, invert: spec.invert, pushed })
    }

    /// Whether the record is passed on.
    pub(crate) fn passes(&self, record: &ConsumerRecord) -> bool {
        self.sample.is_none_or(|sample| sample.takes(record))
            && self.tests.iter().all(|test| test.passes(record)) != self.invert
    }

    /// The part that the broker judges, so that batches in which nothing passes never cross the network.
    pub(crate) const fn pushed(&self) -> &ReadFilter {
        &self.pushed
    }

    /// Whether every record passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.sample.is_none() && !self.invert
    }
}

fn regex(flag: &'static str, text: &str) -> Result<Regex, FilterError> {
    Regex::new(text).map_err(|error| {
        // The last line says what is wrong; those before it point at the place.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        FilterError::Regex { flag, text: text.to_owned(), reason }
    })
}

fn header_test(text: &str) -> Result<Test, FilterError> {
    let split = text.find(['=', '~']).map(|at| text.split_at(at));
    let (name, rest) = split.unwrap_or((text, ""));
    if name.is_empty() {
        return Err(FilterError::Header { text: text.to_owned() });
    }
    let name = Bytes::copy_from_slice(name.as_bytes());
    Ok(if let Some(value) = rest.strip_prefix('=') {
        Test::HeaderIs(name, Bytes::copy_from_slice(value.as_bytes()))
    } else if let Some(pattern) = rest.strip_prefix('~') {
        let matches = regex("--header", pattern).map_err(|error| error.within(text))?;
        Test::HeaderMatches(name, matches)
    } else {
        Test::HasHeader(name)
    })
}

/// The broker takes one test of each kind: the first that says the most.
fn pushed(spec: &FilterSpec, tests: &[Test]) -> ReadFilter {
    let plain = |texts: &[String]| texts.iter().find(|text| is_literal(text)).cloned();
    let mut filter = ReadFilter::new();
    match spec.keys.as_slice() {
        [key] => filter = filter.key_equals(key.clone()),
        _ => {
            if let Some(part) = spec.key_prefix.clone().or_else(|| plain(&spec.key_regexes)) {
                filter = filter.key_contains(part);
            }
        }
    }
    if let Some(part) = spec.contains.first().cloned().or_else(|| plain(&spec.value_regexes)) {
        filter = filter.value_contains(part);
    }
    let exact = tests.iter().find_map(|test| match test {
        Test::HeaderIs(name, value) => Some((name, Some(value))),
        _ => None,
    });
    let named = tests.iter().find_map(|test| match test {
        Test::HasHeader(name) | Test::HeaderMatches(name, _) => Some((name, None)),
        _ => None,
    });
    match exact.or(named) {
        Some((name, Some(value))) => filter.header_equals(name.clone(), value.clone()),
        Some((name, None)) => filter.has_header(name.clone()),
        None => filter,
    }
}

/// Whether an expression matches exactly the texts that hold it.
fn is_literal(pattern: &str) -> bool {
    !pattern.is_empty() && regex::escape(pattern) == pattern
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
