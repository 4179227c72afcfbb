//! What clients asked a broker and were told, in one order of time.
//!
//! An outcome is one of three: acked (it happened), failed (the answer guarantees that it did not), unknown
//! (anything else: a timeout, a cut connection). A send without an outcome is unknown.
//!
//! **Invariant:** an event's time is taken before the request leaves (`invoked`) or after its answer has
//! arrived (`at`), so that "answered before asked" between two events is a fact about the broker.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::payload::Value;

/// Nanoseconds since the recorder was made.
pub type Nanos = u64;

/// A partition of the test: the number of its topic and its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tp {
    /// The topic's number in the test.
    pub topic: u32,
    /// The partition.
    pub partition: i32,
}

impl fmt::Debug for Tp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}/{}", self.topic, self.partition)
    }
}

/// A record as a reader saw it: `value` is `None` when its bytes are not a payload that was ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub offset: i64,
    /// What.
    pub value: Option<Value>,
}

/// One line of a history. `at` is when it was learned.
#[expect(missing_docs, reason = "the fields are what their names say; the variants tell the rest")]
#[derive(Clone, Debug)]
pub enum Event {
    /// A producer says that it numbers its batches: whatever it repeats is to be stored once.
    Idempotent { at: Nanos, producer: u64 },
    /// A producer is about to send.
    SendInvoked { at: Nanos, value: Value, tp: Tp },
    /// The broker said that it is durable at this offset.
    SendAcked { at: Nanos, value: Value, tp: Tp, offset: i64 },
    /// The broker said that it is not and will not be in the log.
    SendFailed { at: Nanos, value: Value },
    /// Nobody knows.
    SendUnknown { at: Nanos, value: Value },
    /// A reader starts to read at an offset; what it sees next follows on.
    ReadFrom { at: Nanos, reader: u32, tp: Tp, from: i64 },
    /// A reader saw a record.
    Read { at: Nanos, reader: u32, tp: Tp, seen: Seen },
    /// The watermarks of a partition, asked at `invoked` and told at `at`.
    Watermarks { invoked: Nanos, at: Nanos, tp: Tp, log_start: i64, high_watermark: i64 },
    /// The broker was killed.
    Down { at: Nanos },
    /// The broker says that it is ready.
    Up { at: Nanos },
    /// Everything a partition holds when all is over.
    FinalRead { tp: Tp, log_start: i64, high_watermark: i64, records: Vec<Seen> },
}

impl Event {
    /// When the recorder learned of it; the final reads come last.
    #[must_use]
    pub const fn at(&self) -> Nanos {
        match self {
            Self::Idempotent { at, .. }
            | Self::SendInvoked { at, .. }
            | Self::SendAcked { at, .. }
            | Self::SendFailed { at, .. }
            | Self::SendUnknown { at, .. }
            | Self::ReadFrom { at, .. }
            | Self::Read { at, .. }
            | Self::Watermarks { at, .. }
            | Self::Down { at }
            | Self::Up { at } => *at,
            Self::FinalRead { .. } => Nanos::MAX,
        }
    }
}

/// Collects the events of many clients.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { start: Instant::now(), events: Arc::default() }
    }
}

impl Recorder {
    /// Now, on the history's clock.
    #[must_use]
    pub fn now(&self) -> Nanos {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Notes an event.
    pub fn record(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events so far, in order of time.
    #[must_use]
    pub fn history(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by_key(Event::at);
        events
    }
}

/// Writes a history for a person to read, one event a line.
///
/// # Errors
/// When the file cannot be written.
pub fn write_history(path: &Path, history: &[Event]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for event in history {
        writeln!(file, "{event:?}")?;
    }
    file.flush()
}
