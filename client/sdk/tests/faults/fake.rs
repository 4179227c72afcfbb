//! A broker whose failures a test can choose: it breaks streams at given points, refuses batches, falls
//! silent, sends stale and broken responses. It keeps batches in memory and says what it was sent; whatever
//! does not need such failures is tested against the real broker.

mod service;

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};

use tidelog_client::Bytes;
use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// What happens to the next request of a produce stream.
#[derive(Debug, Clone)]
pub(crate) enum ProduceFault {
    /// None: it is stored and answered.
    Store,
    /// Its batches to this partition are refused with this code.
    Refuse(i32, ErrorCode),
    /// The stream breaks before anything is stored.
    BreakBefore,
    /// The stream breaks after everything is stored and before the answer.
    BreakAfter,
    /// Nothing more is answered on this stream.
    Silence,
}

/// What happens instead of the next response of a fetch stream.
#[derive(Debug, Clone)]
pub(crate) enum FetchFault {
    /// The response is sent as it should be.
    Send,
    /// The stream breaks.
    Break,
    /// The response is sent with a flipped bit.
    Corrupt,
    /// The partition fails with this code.
    Fail(ErrorCode),
    /// A response of a session that was never opened comes first.
    Stale,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) partitions: i32,
    pub(crate) logs: BTreeMap<i32, Vec<RecordBatch>>,
    pub(crate) produce_faults: VecDeque<ProduceFault>,
    pub(crate) fetch_faults: VecDeque<FetchFault>,
    pub(crate) produce_streams: usize,
    pub(crate) fetch_streams: usize,
    /// Bytes of the largest amount sent beyond the credit, a single response aside.
    pub(crate) overdrawn: i64,
    pub(crate) committed: BTreeMap<(String, i32), i64>,
    pub(crate) commits: usize,
    /// How many producer ids were given out; the last of them.
    pub(crate) producers_given: i64,
}

impl State {
    pub(crate) fn end(&self, partition: i32) -> i64 {
        let last = self.logs.get(&partition).and_then(|log| log.last());
        last.map_or(0, |batch| batch.header().next_offset().get())
    }

    pub(crate) fn append(&mut self, partition: i32, batch: RecordBatch) -> i64 {
        let base = self.end(partition);
        let assigned = batch.assign(Offset::new(base).unwrap(), LeaderEpoch::new(3).unwrap());
        let stored = RecordBatch::from_log(assigned.to_bytes()).unwrap();
        self.logs.entry(partition).or_default().push(stored);
        base
    }

    /// The place of a batch that an idempotent producer has sent before, or whether it comes too early.
    pub(crate) fn known(&self, partition: i32, batch: &RecordBatch) -> Result<Option<i64>, ErrorCode> {
        let header = batch.header();
        let log = self.logs.get(&partition).into_iter().flatten().map(RecordBatch::header);
        let mut expected = None;
        for stored in log.filter(|stored| stored.producer_id == header.producer_id) {
            if stored.base_sequence == header.base_sequence {
                return Ok(Some(stored.base_offset.get()));
            }
            expected = Some(stored.base_sequence.0 + stored.record_count);
        }
        match expected {
            Some(expected) if header.base_sequence.0 != expected => Err(ErrorCode::OutOfOrderSequence),
            _ => Ok(None),
        }
    }

    /// The values stored in a partition, in order.
    pub(crate) fn values(&self, partition: i32) -> Vec<String> {
        let batches = self.logs.get(&partition).into_iter().flatten();
        let records = batches.flat_map(|batch| batch.records().unwrap());
        records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()).collect()
    }
}

/// Runs until it is dropped, on a runtime of its own: shutting that down kills every connection at once.
pub(crate) struct FakeBroker {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Rises when something is stored.
    stored: watch::Sender<u64>,
    runtime: Option<Runtime>,
}

impl FakeBroker {
    pub(crate) fn start(partitions: i32) -> Self {
        let state = Arc::new(Mutex::new(State { partitions, ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut broker = Self { addr, state, stored: watch::channel(0).0, runtime: None };
        broker.serve(listener);
        broker
    }

    fn serve(&mut self, listener: TcpListener) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = service::Service { state: Arc::clone(&self.state), stored: self.stored.clone() };
        listener.set_nonblocking(true).unwrap();
        let _entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        runtime.spawn(service.serve(listener));
        self.runtime = Some(runtime);
    }

    /// Closes the listener and every connection, as a crash does.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again where it did before.
    pub(crate) async fn restart(&mut self) {
        self.stop();
        let listener = loop {
            match TcpListener::bind(self.addr) {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serve(listener);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn produce_faults(&self, faults: impl IntoIterator<Item = ProduceFault>) {
        self.state().produce_faults.extend(faults);
    }

    pub(crate) fn fetch_faults(&self, faults: impl IntoIterator<Item = FetchFault>) {
        self.state().fetch_faults.extend(faults);
    }

    /// Stores batches of `per_batch` records whose values are their offsets.
    pub(crate) fn fill(&self, partition: i32, batches: usize, per_batch: usize) {
        let mut state = self.state();
        for _ in 0..batches {
            let mut builder = BatchBuilder::new(Compression::None, 0);
            let base = state.end(partition);
            for index in 0..i64::try_from(per_batch).unwrap() {
                let value = (base + index).to_string();
                builder.append(Timestamp::from_millis(base + index), None, Some(value.as_bytes()), &[]);
            }
            state.append(partition, builder.build().unwrap());
        }
        drop(state);
        self.stored.send_modify(|stored| *stored += 1);
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The same bytes with one bit of the last byte flipped.
pub(crate) fn corrupt(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}
