//! A server that does nothing: it answers every fetch with the same records out of memory, so that what it
//! reaches is the limit of the client.
//!
//! It speaks just enough of Kafka's protocol for librdkafka, in versions with fixed lengths. Offsets never end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{Offset, Timestamp};

use crate::scenario::RECORD_BYTES;

/// Bytes of records in an answer: as many as Tidelog puts into one.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a batch, about what librdkafka makes of the load of the other subjects.
const BATCH_BYTES: usize = 1_000_000;
/// Where every partition ends.
const END: i64 = 1 << 40;
/// The largest request it reads.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The API keys it knows, with the highest version of each.
const SERVED: [(i16, i16); 6] =
    [(PRODUCE, 3), (FETCH, 4), (LIST_OFFSETS, 1), (METADATA, 1), (FIND_COORDINATOR, 0), (API_VERSIONS, 0)];
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;

/// Serves `partitions` partitions of any topic until the process ends; returns where.
pub(crate) fn serve(partitions: i32) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Ends when the client goes.
            std::thread::spawn(move || drop(Still { stream, address, partitions }.run()));
        }
    });
    Ok(address)
}

struct Still {
    stream: TcpStream,
    address: SocketAddr,
    partitions: i32,
}

impl Still {
    fn run(mut self) -> Result<()> {
        self.stream.set_nodelay(true)?;
        let mut records = Canned::new()?;
        loop {
            let mut size = [0; 4];
            self.stream.read_exact(&mut size)?;
            let size = usize::try_from(i32::from_be_bytes(size))?;
            ensure!(size <= REQUEST_BYTES_MAX, "a request of {size} bytes");
            let mut request = vec![0; size];
            self.stream.read_exact(&mut request)?;
            let mut request = Request(&request);
            let (api, version, correlation) = (request.i16()?, request.i16()?, request.i32()?);
            request.string()?;
            let mut answer = Answer(vec![0; 4]);
            answer.i32(correlation);
            match api {
                API_VERSIONS => Self::versions(&mut answer, version),
                METADATA => self.metadata(&mut answer, &mut request)?,
                FIND_COORDINATOR => {
                    answer.i16(0);
                    self.node(&mut answer);
                }
                LIST_OFFSETS => list_offsets(&mut answer, &mut request)?,
                FETCH => {
                    self.fetch(answer, &mut request, &mut records)?;
                    continue;
                }
                api => anyhow::bail!("there is no API {api}"),
            }
            self.stream.write_all(&answer.framed(0)?)?;
        }
    }

    fn versions(answer: &mut Answer, version: i16) {
        answer.i16(if version > 0 { UNSUPPORTED_VERSION } else { 0 });
        answer.count(SERVED.len());
        for (api, max) in SERVED {
            answer.i16(api);
            answer.i16(0);
            answer.i16(max);
        }
    }

    fn node(&self, answer: &mut Answer) {
        answer.i32(1);
        answer.string(&self.address.ip().to_string());
        answer.i32(self.address.port().into());
    }

    fn metadata(&self, answer: &mut Answer, request: &mut Request<'_>) -> Result<()> {
        answer.count(1);
        self.node(answer);
        answer.i16(-1);
        answer.i32(1);
        let topics = request.i32()?.max(0);
        answer.i32(topics);
        for _ in 0..topics {
            let name = request.string()?;
            answer.i16(0);
            answer.string(&name);
            answer.0.push(0);
            answer.i32(self.partitions);
            for partition in 0..self.partitions {
                answer.i16(0);
                answer.i32(partition);
                answer.i32(1);
                // Replicas, and those in sync.
                for _ in 0..2 {
                    answer.count(1);
                    answer.i32(1);
                }
            }
        }
        Ok(())
    }

    /// Answers with records of the first partition that is asked for.
    fn fetch(&mut self, mut answer: Answer, request: &mut Request<'_>, records: &mut Canned) -> Result<()> {
        // Replica, the longest wait, the least and the most bytes, isolation.
        request.take(17)?;
        answer.i32(0);
        let topics = request.i32()?;
        if topics == 0 {
            // Nothing is wanted at the moment: who asks again at once would only burn time.
            std::thread::sleep(std::time::Duration::from_millis(1));
            answer.count(0);
            return Ok(self.stream.write_all(&answer.framed(0)?)?);
        }
        answer.count(1);
        answer.string(&request.string()?);
        request.i32()?;
        let (partition, offset) = (request.i32()?, request.i64()?);
        answer.count(1);
        answer.i32(partition);
        answer.i16(0);
        answer.i64(END);
        answer.i64(END);
        answer.count(0);
        let records = records.from(offset)?;
        answer.count(records.len());
        self.stream.write_all(&answer.framed(records.len())?)?;
        Ok(self.stream.write_all(records)?)
    }
}

fn list_offsets(answer: &mut Answer, request: &mut Request<'_>) -> Result<()> {
    request.i32()?;
    let topics = request.i32()?;
    answer.i32(topics);
    for _ in 0..topics {
        answer.string(&request.string()?);
        let partitions = request.i32()?;
        answer.i32(partitions);
        for _ in 0..partitions {
            answer.i32(request.i32()?);
            let earliest = request.i64()? == -2;
            answer.i16(0);
            answer.i64(-1);
            answer.i64(if earliest { 0 } else { END });
        }
    }
    Ok(())
}

/// The records of an answer; only their offsets change.
struct Canned {
    bytes: Vec<u8>,
    batch_bytes: usize,
    batch_records: i64,
}

impl Canned {
    fn new() -> Result<Self> {
        let mut builder = BatchBuilder::new(Compression::None, BATCH_BYTES + RECORD_BYTES);
        let value = vec![b'x'; RECORD_BYTES];
        let count = BATCH_BYTES / RECORD_BYTES;
        for _ in 0..count {
            builder.append(Timestamp::from_millis(0), None, Some(&value), &[]);
        }
        let batch = builder.build()?.into_bytes();
        Ok(Self {
            batch_bytes: batch.len(),
            batch_records: i64::try_from(count)?,
            bytes: batch.repeat(ANSWER_BYTES / batch.len()),
        })
    }

    /// Whole batches from the one that holds `offset`.
    fn from(&mut self, offset: i64) -> Result<&[u8]> {
        let mut base = Offset::new(offset - offset % self.batch_records).context("no such offset")?.get();
        for batch in self.bytes.chunks_exact_mut(self.batch_bytes) {
            batch
                .get_mut(..8)
                .context("a batch begins with its offset")?
                .copy_from_slice(&base.to_be_bytes());
            base += self.batch_records;
        }
        Ok(&self.bytes)
    }
}

struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (front, rest) = self.0.split_at_checked(count).context("a request that is too short")?;
        self.0 = rest;
        Ok(front)
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    fn string(&mut self) -> Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(std::str::from_utf8(self.take(length)?)?.to_owned())
    }
}

/// An answer behind the four bytes of its size.
struct Answer(Vec<u8>);

impl Answer {
    fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.i32(i32::try_from(count).unwrap_or(i32::MAX));
    }

    fn string(&mut self, value: &str) {
        self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        self.0.extend(value.as_bytes());
    }

    /// The frame, whose last `behind` bytes follow.
    fn framed(mut self, behind: usize) -> Result<Vec<u8>> {
        let size = i32::try_from(self.0.len() - 4 + behind)?;
        self.0.get_mut(..4).context("an answer begins with its size")?.copy_from_slice(&size.to_be_bytes());
        Ok(self.0)
    }
}
