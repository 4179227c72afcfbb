//! A Kafka connection that speaks frames: for loads and hostile peers that no client library would be.
//!
//! **Invariant:** nothing is tried again here. What a cut connection means is the caller's to say.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_wire_core::{ApiVersion, DecodeLimits, KafkaDecode, KafkaEncode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take; a broker that is killed meanwhile is noticed at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// No answer that a test asks for is larger.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request's kind: its API, the version that is spoken, and whether that has tagged fields.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// Its number in the protocol.
    pub key: i16,
    /// The version.
    pub version: i16,
    /// Whether that version is in the flexible form.
    pub flexible: bool,
}

impl Api {
    /// An API in a version of the old form.
    #[must_use]
    pub const fn old(key: i16, version: i16) -> Self {
        Self { key, version, flexible: false }
    }

    /// An API in a version with tagged fields.
    #[must_use]
    pub const fn flexible(key: i16, version: i16) -> Self {
        Self { key, version, flexible: true }
    }
}

/// A request as it goes over the wire, its length first.
///
/// # Errors
/// When the request has a field that the version cannot carry.
pub fn frame<Q: KafkaEncode>(api: Api, correlation_id: i32, request: &Q) -> Result<Bytes> {
    let body = request.encode_to_bytes(ApiVersion::new(api.version))?;
    let mut frame = BytesMut::with_capacity(body.len() + 32);
    frame.put_i32(0);
    frame.put_i16(api.key);
    frame.put_i16(api.version);
    frame.put_i32(correlation_id);
    frame.put_i16(4);
    frame.put_slice(b"test");
    if api.flexible {
        frame.put_u8(0);
    }
    frame.put_slice(&body);
    let size = i32::try_from(frame.len() - 4)?;
    frame.get_mut(..4).context("a frame has a length")?.copy_from_slice(&size.to_be_bytes());
    Ok(frame.freeze())
}

/// The answer in the bytes that follow the correlation id.
///
/// # Errors
/// When they are no such answer.
pub fn decode<A: KafkaDecode>(api: Api, mut body: Bytes) -> Result<A> {
    if api.flexible {
        ensure!(body.try_get_u8()? == 0, "the header of an answer has tagged fields");
    }
    let mut limits = DecodeLimits::default();
    limits.max_bytes_bytes = body.len();
    limits.max_frame_bytes = body.len();
    Ok(A::decode_from_bytes(body, ApiVersion::new(api.version), limits)?)
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// The address that the broker sees.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// When the connection is cut.
    pub async fn send<Q: KafkaEncode + Sync>(&mut self, api: Api, id: i32, request: &Q) -> Result<()> {
        self.send_bytes(&frame(api, id, request)?).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is cut.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next answer: its correlation id and what follows it.
    ///
    /// # Errors
    /// When the connection is cut or nothing comes.
    pub async fn receive(&mut self) -> Result<(i32, Bytes)> {
        let read = async {
            let size = usize::try_from(self.stream.read_i32().await?)?;
            ensure!((4..=ANSWER_BYTES_MAX).contains(&size), "an answer of {size} bytes");
            let mut body = vec![0; size];
            self.stream.read_exact(&mut body).await?;
            Ok(Bytes::from(body))
        };
        let mut body = timeout(ANSWER_DEADLINE, read).await.context("no answer comes")??;
        Ok((body.get_i32(), body))
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When the connection is cut, nothing comes, or it is not this request's answer.
    pub async fn ask<Q: KafkaEncode + Sync, A: KafkaDecode>(&mut self, api: Api, request: &Q) -> Result<A> {
        self.send(api, 7, request).await?;
        let (id, body) = self.receive().await?;
        ensure!(id == 7, "the answer to another request, {id}");
        decode(api, body)
    }

    /// Waits until the broker has closed the connection; what it says before that is left out.
    ///
    /// # Errors
    /// When it does not.
    pub async fn closed(&mut self, deadline: Duration) -> Result<()> {
        let mut rest = [0; 4096];
        let end = async { while matches!(self.stream.read(&mut rest).await, Ok(count) if count > 0) {} };
        timeout(deadline, end).await.context("the connection stays open")
    }
}
