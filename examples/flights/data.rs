//! The flights: read from the excerpt that is shipped beside the program, turned into records and back.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use jiff::Timestamp as Instant;
use serde_json::{Value as Json, json};
use tidelog_client::{ConsumerRecord, Record, Timestamp, TopicName};

const CSV: &[u8] = include_bytes!("../data/flights-2013-01.csv.gz");
/// The header that says which line of the file a record is.
const ROW: &str = "row";

/// One scheduled flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    /// Its line in the file, counted from 0: flights are in order of their scheduled departure.
    pub(crate) row: usize,
    pub(crate) scheduled: Timestamp,
    /// The aircraft; unknown for some cancelled flights.
    pub(crate) tailnum: Option<String>,
    pub(crate) cancelled: bool,
    value: Json,
}

impl Flight {
    /// As a record: keyed by aircraft, so that the flights of one aircraft stay in order.
    pub(crate) fn record(&self, topic: &TopicName) -> Record {
        let record = Record::new(topic)
            .timestamp(self.scheduled)
            .value(self.value.to_string())
            .header(ROW, self.row.to_string());
        match &self.tailnum {
            Some(tailnum) => record.key(tailnum),
            None => record,
        }
    }
}

/// Which flight a record is.
pub(crate) fn row_of(record: &ConsumerRecord) -> Result<usize> {
    let header = record.headers.iter().find(|(key, _)| key == ROW).context("a record without its row")?;
    let text = std::str::from_utf8(header.1.as_deref().unwrap_or_default())?;
    text.parse().with_context(|| format!("{text:?} is no row"))
}

/// All flights, in order.
pub(crate) fn flights() -> Result<Vec<Flight>> {
    let mut text = String::new();
    GzDecoder::new(CSV).read_to_string(&mut text).context("unpacking the flights")?;
    let lines = text.lines().skip(1).enumerate();
    lines.map(|(row, line)| flight(row, line).with_context(|| format!("flight {row}: {line:?}"))).collect()
}

fn flight(row: usize, line: &str) -> Result<Flight> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[scheduled, tailnum, carrier, number, origin, dest, distance, dep_delay, arr_delay] = &fields[..]
    else {
        anyhow::bail!("{} fields", fields.len());
    };
    let scheduled: Instant = scheduled.parse()?;
    let minutes = |text: &str| text.parse::<i64>().ok();
    let value = json!({
        "flight": format!("{carrier}{number}"),
        "from": origin,
        "to": dest,
        "miles": distance.parse::<u32>()?,
        "departure_delay_min": minutes(dep_delay),
        "arrival_delay_min": minutes(arr_delay),
    });
    Ok(Flight {
        row,
        scheduled: Timestamp::from_millis(scheduled.as_millisecond()),
        tailnum: (!tailnum.is_empty()).then(|| tailnum.to_owned()),
        cancelled: dep_delay.is_empty(),
        value,
    })
}
