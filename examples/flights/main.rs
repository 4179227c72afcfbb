//! A month of real flights through a real broker that is killed half-way.
//!
//! Starts the broker, produces every flight that was scheduled to leave New York City in January 2013 keyed
//! by aircraft, lets two independent groups read them, kills the broker with -9 while records are on their
//! way, starts it again, and replays the last week from its date, with the SDK and with the command line. It
//! checks what it did and exits non-zero when a count or an aircraft's order is not as it must be.

mod data;
mod reader;

use std::io::{self, Write as _};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use jiff::civil::date;
use tidelog_client::{Client, NewTopic, Position, Producer, RecordMetadata, Timestamp, TopicName};
use tidelog_tests::binaries;
use tidelog_tests::broker::{BrokerCommand, BrokerProcess};

use data::{Flight, flights};
use reader::{Seen, catch_up, follow};

const TOPIC: &str = "flights";
const PARTITIONS: i32 = 6;
/// The replay starts here.
const LAST_WEEK: &str = "2013-01-25T00:00:00Z";

fn main() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run())
}

/// A line of the report.
fn tell(what: &str, result: &str) -> Result<()> {
    writeln!(io::stdout(), "  {what:<34} {result}").context("printing the report")
}

async fn run() -> Result<()> {
    let begin = Instant::now();
    let flights = flights()?;
    let cancelled = flights.iter().filter(|flight| flight.cancelled).count();
    writeln!(io::stdout(), "A month of flights through Tidelog")?;
    tell("flights, of them cancelled", &format!("{}, {cancelled}", flights.len()))?;

    let home = tempfile::tempdir()?;
    let broker = BrokerCommand::new(home.path().join("data"))?.start()?;
    tell("broker ready in", &format!("{:.0?}", broker.ready_in()))?;
    let client = Client::connect(&broker.url()).await?;
    // The flights are of 2013: by the default retention of a week they would be deleted at once.
    let topic = NewTopic::new(TOPIC).partitions(PARTITIONS).config("retention.ms", "-1");
    client.admin().create_topic(topic).await?;

    // The first group follows live, through the kill; the second one reads everything afterwards.
    let board = tokio::spawn(follow(client.clone(), TOPIC.to_owned(), "departure-board", flights.len()));
    let (broker, acked) = produce_through_a_kill(&client, &flights, broker).await?;
    let board = board.await??;
    let maintenance = catch_up(&client, TOPIC, "maintenance").await?;
    check_groups(&client, &flights, &acked, &board, &maintenance).await?;
    replay(&client, &broker, &maintenance, &flights).await?;

    let stopped = broker.terminate()?;
    ensure!(stopped.success(), "the broker stopped with {stopped}");
    tell("everything checked in", &format!("{:.1?}", begin.elapsed()))
}

/// Produces all flights. Half-way the broker is killed, with records on their way, and started again; the
/// producer carries on by itself.
async fn produce_through_a_kill(
    client: &Client,
    flights: &[Flight],
    broker: BrokerProcess,
) -> Result<(BrokerProcess, Vec<RecordMetadata>)> {
    let begin = Instant::now();
    let topic = TopicName::new(TOPIC)?;
    let producer: Producer = client.producer().build()?;
    let mut receipts = Vec::with_capacity(flights.len());
    let mut broker = Some(broker);
    for flight in flights {
        receipts.push(producer.enqueue(flight.record(&topic)).await?);
        if flight.row == flights.len() / 2 {
            let running = broker.take().context("the broker runs")?;
            let again = tokio::task::spawn_blocking(move || running.kill9()?.start()).await??;
            tell("killed with -9 half-way, ready again", &format!("{:.0?}", again.ready_in()))?;
            broker = Some(again);
        }
    }
    producer.flush().await?;
    let mut acked = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        acked.push(receipt.await?);
    }
    let took = begin.elapsed().as_secs_f64();
    tell("produced and acknowledged", &format!("{} in {took:.2} s", acked.len()))?;
    Ok((broker.context("the broker runs")?, acked))
}

async fn check_groups(
    client: &Client,
    flights: &[Flight],
    acked: &[RecordMetadata],
    board: &Seen,
    maintenance: &Seen,
) -> Result<()> {
    for (flight, stored) in flights.iter().zip(acked) {
        let position = usize::try_from(stored.offset.get())?;
        let there = maintenance.rows.get(&stored.partition).and_then(|rows| rows.get(position));
        ensure!(there == Some(&flight.row), "flight {} is not at {stored:?}, {there:?} is", flight.row);
    }
    tell("acknowledged flights found at their offset", &acked.len().to_string())?;

    let times = maintenance.times(flights)?;
    ensure!(times.iter().all(|times| *times > 0), "a flight is missing");
    // The kill took answers away from batches that were stored: those were sent, and stored, again.
    let twice = maintenance.count() - flights.len();
    tell(
        "read by group maintenance",
        &format!("{} ({twice} stored twice by the kill)", maintenance.count()),
    )?;

    // A live reader stops at its last new flight: what comes after can only be repeated ones.
    for (partition, rows) in &board.rows {
        let all = maintenance.rows.get(partition).context("both groups read every partition")?;
        ensure!(all.starts_with(rows), "the groups disagree about partition {partition}");
    }
    ensure!(board.times(flights)?.iter().all(|times| *times > 0), "the live group missed a flight");
    tell("read live by group departure-board", &board.count().to_string())?;

    let aircraft = maintenance.aircraft_in_order(flights)?;
    board.aircraft_in_order(flights)?;
    tell("aircraft, each in schedule order", &aircraft.to_string())?;

    let left = catch_up(client, TOPIC, "maintenance").await?.count();
    ensure!(left == 0, "group maintenance had {left} flights left after committing them all");
    let groups = client.admin().groups().await?.len();
    ensure!(groups == 2, "{groups} groups");
    Ok(())
}

/// Reads the last week from its date, with the SDK and with the command line.
async fn replay(client: &Client, broker: &BrokerProcess, all: &Seen, flights: &[Flight]) -> Result<()> {
    let from: jiff::Timestamp = LAST_WEEK.parse()?;
    let from = Timestamp::from_millis(from.as_millisecond());
    let scheduled_later = |row: &&usize| flights.get(**row).is_some_and(|flight| flight.scheduled >= from);
    let expected = all.rows.values().flatten().filter(scheduled_later).count();
    let fewest = flights.iter().filter(|flight| flight.scheduled >= from).count();

    let mut consumer =
        client.consumer().topic(TOPIC).start(Position::Timestamp(from)).until_end().build().await?;
    let mut replayed = 0;
    while let Some(record) = consumer.next().await {
        replayed += usize::from(record?.timestamp >= from);
    }
    ensure!(replayed == expected && replayed >= fewest, "replayed {replayed} of {expected} flights");
    let day = date(2013, 1, 25);
    tell(&format!("replayed from {day} with the SDK"), &replayed.to_string())?;

    let arguments = ["replay", TOPIC, "--from", LAST_WEEK];
    let url = broker.url();
    let output = Command::new(binaries::cli()?).args(["--server", &url]).args(arguments).output()?;
    ensure!(output.status.success(), "tidelog: {}", String::from_utf8_lossy(&output.stderr));
    let printed = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    ensure!(printed == replayed, "tidelog {} printed {printed} flights", arguments.join(" "));
    tell(&format!("tidelog {}", arguments.join(" ")), &printed.to_string())
}
