//! How a line becomes a record. Pure.

use bytes::Bytes;
use memchr::memmem::Finder;
use tidelog_client::{Record, TopicName};

use super::{InputFormat, PartitionBy, ProduceArgs};
use crate::envelope;

/// Makes records of lines.
#[derive(Debug)]
pub(super) struct Parser {
    topic: TopicName,
    format: InputFormat,
    separator: Option<Finder<'static>>,
    key: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    partition: Option<i32>,
    partition_by: PartitionBy,
}

impl Parser {
    pub(super) fn new(topic: TopicName, args: &ProduceArgs) -> Self {
        let header = |(key, value): &(String, String)| (Bytes::from(key.clone()), Some(value.clone().into()));
        Self {
            topic,
            format: args.input,
            separator: args.key_separator.as_ref().map(|text| Finder::new(text).into_owned()),
            key: args.key.clone().map(Bytes::from),
            headers: args.header.iter().map(header).collect(),
            partition: args.partition,
            partition_by: args.partition_by,
        }
    }

    pub(super) const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The record of a line, or why it is none.
    pub(super) fn parse(&self, line: Bytes) -> Result<Record, String> {
        let mut record = match self.format {
            InputFormat::Lines => self.plain(line)?,
            InputFormat::Json => self.envelope(&line)?,
        };
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        Ok(record)
    }

    fn plain(&self, line: Bytes) -> Result<Record, String> {
        let mut record = Record::new(&self.topic).headers(self.headers.clone());
        let (key, value) = match &self.separator {
            None => (self.key.clone(), line),
            Some(separator) => {
                let at = separator.find(&line).ok_or_else(|| {
                    format!("no {:?} between key and value", String::from_utf8_lossy(separator.needle()))
                })?;
                (Some(line.slice(..at)), line.slice(at + separator.needle().len()..))
            }
        };
        if let Some(key) = key {
            record = record.key(key);
        }
        Ok(record.value(value))
    }

    fn envelope(&self, line: &[u8]) -> Result<Record, String> {
        let envelope = envelope::parse(line).map_err(|error| error.to_string())?;
        let headers = envelope.headers.into_iter().chain(self.headers.iter().cloned()).collect();
        let mut record = Record::new(&self.topic).headers(headers);
        if let Some(key) = self.key.clone().or(envelope.key) {
            record = record.key(key);
        }
        if let Some(value) = envelope.value {
            record = record.value(value);
        }
        if let Some(timestamp) = envelope.timestamp {
            record = record.timestamp(timestamp);
        }
        match (self.partition_by, envelope.partition) {
            (PartitionBy::Same, Some(partition)) if partition < 0 => {
                Err(format!("partition {partition} is negative"))
            }
            (PartitionBy::Same, Some(partition)) => Ok(record.partition(partition)),
            (PartitionBy::Same, None) => {
                Err("names no partition, and --partition-by same needs one".to_owned())
            }
            (PartitionBy::Key, _) => Ok(record),
        }
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
