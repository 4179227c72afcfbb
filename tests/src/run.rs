//! A broker under load, and the judgement over it when all is over: what the crash tests share. What
//! happens to the broker in between is theirs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tidelog_client::{Client, NewTopic};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::broker::BrokerProcess;
use crate::checker::{Verdict, check};
use crate::history::{Event, Recorder, write_history};
use crate::kafka_load;
use crate::load::{Load, Topics, draw};

const PRODUCERS: u32 = 5;
const KAFKA_PRODUCERS: u32 = 2;
const READERS: u32 = 3;

/// A topic of the load.
#[derive(Clone, Copy, Debug)]
pub struct LoadTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions it has.
    pub partitions: i32,
    /// What differs from the broker's defaults.
    pub configs: &'a [(&'a str, &'a str)],
}

/// A broker's clients, and the random choices of the test.
#[derive(Debug)]
pub struct Run {
    runtime: Runtime,
    load: Load,
    clients: JoinSet<Result<()>>,
    random: u64,
}

impl Run {
    /// Makes the topics and lets the clients loose.
    ///
    /// # Errors
    /// When the topics cannot be made.
    pub fn start(broker: &BrokerProcess, topics: &[LoadTopic<'_>], seed: u64) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let names: Vec<_> = topics.iter().map(|topic| (topic.name, topic.partitions)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (topics_of_load, repeated) = (Topics::new(&names)?, Arc::new(AtomicU64::new(0)));
        let recorder = Recorder::default();
        let load = Load { url: broker.url(), topics: topics_of_load, recorder, stop, repeated };
        runtime.block_on(create_topics(&load.url, topics))?;
        let mut clients = JoinSet::new();
        for number in 0..PRODUCERS {
            clients.spawn_on(load.clone().produce(number, seed), runtime.handle());
        }
        for number in PRODUCERS..PRODUCERS + KAFKA_PRODUCERS {
            let producer = kafka_load::produce(load.clone(), broker.kafka_addr(), number, seed);
            clients.spawn_on(producer, runtime.handle());
        }
        for number in 0..READERS {
            clients.spawn_on(load.clone().read(number, seed), runtime.handle());
        }
        clients.spawn_on(load.clone().ask_watermarks(), runtime.handle());
        Ok(Self { runtime, load, clients, random: seed })
    }

    /// A random number of milliseconds below this one.
    pub fn draw(&mut self, below: u64) -> Duration {
        Duration::from_millis(draw(&mut self.random, below))
    }

    /// True one time in so many.
    pub fn one_in(&mut self, times: u64) -> bool {
        draw(&mut self.random, times) == 0
    }

    /// Notes that the broker is about to die.
    pub fn note_down(&self) {
        self.load.recorder.record(Event::Down { at: self.load.recorder.now() });
    }

    /// Notes that the broker is ready again.
    pub fn note_up(&self) {
        self.load.recorder.record(Event::Up { at: self.load.recorder.now() });
    }

    /// Looks for a client that gave up.
    ///
    /// # Errors
    /// A client that gave up has found something that clients must not see.
    pub fn clients_are_well(&mut self) -> Result<()> {
        while let Some(ended) = self.clients.try_join_next() {
            ended?.context("a client gave up")?;
        }
        Ok(())
    }

    /// Ends the clients when every send is settled.
    ///
    /// # Errors
    /// The first of those with which clients gave up, beside what was noted.
    pub fn stop(mut self) -> (Ended, Result<()>) {
        self.load.stop.store(true, Ordering::Relaxed);
        let clients = &mut self.clients;
        let mut gave_up = Ok(());
        self.runtime.block_on(async {
            while let Some(ended) = clients.join_next().await {
                let ended = ended.map_err(Into::into).flatten().context("a client gave up");
                gave_up = std::mem::replace(&mut gave_up, Ok(())).and(ended);
            }
        });
        (Ended { runtime: self.runtime, load: self.load }, gave_up)
    }
}

/// A run whose clients have ended.
#[derive(Debug)]
pub struct Ended {
    runtime: Runtime,
    load: Load,
}

impl Ended {
    /// Reads everything that the broker has now.
    ///
    /// # Errors
    /// When it cannot all be read.
    pub fn final_read(&self, broker: &BrokerProcess) -> Result<Vec<Event>> {
        self.runtime.block_on(async {
            let client = Client::connect(&broker.url()).await?;
            self.load.final_read(&client).await
        })
    }

    /// How often Kafka producers found, after a cut, that the broker knows a stored batch again.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.load.repeated.load(Ordering::Relaxed)
    }

    /// The history with its end, in order of time.
    #[must_use]
    pub fn history(&self, finals: Vec<Event>) -> Vec<Event> {
        let mut history = self.load.recorder.history();
        history.extend(finals);
        history
    }

    /// Judges the history; it is kept when something is broken.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn judge(&self, finals: Vec<Event>, keep: &Path) -> Result<Verdict> {
        let history = self.history(finals);
        let verdict = check(&history);
        if !verdict.is_clean() {
            write_history(keep, &history)?;
        }
        Ok(verdict)
    }
}

async fn create_topics(url: &str, topics: &[LoadTopic<'_>]) -> Result<()> {
    let admin = Client::connect(url).await?.admin();
    for topic in topics {
        let mut new = NewTopic::new(topic.name).partitions(topic.partitions);
        for (key, value) in topic.configs {
            new = new.config(*key, *value);
        }
        admin.create_topic(new).await?;
    }
    Ok(())
}
