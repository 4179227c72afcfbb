//! Frames: a length of four bytes, then as many bytes of request.
//!
//! **Invariant:** beyond a few kilobytes a connection, no byte of a frame is read before its size was checked
//! and, above a small size, admitted by the broker's budget; memory grows with what arrived, not with what was
//! announced.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tidelog_model::ErrorCode;
use tidelog_runtime::{AdmitPermit, Broker, BrokerError};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// Frames up to this size need no permit: there is at most one of a connection that is not.
const UNADMITTED_MAX: usize = 8 * 1024;
/// The most bytes that are read before their size was checked.
const READ_AHEAD: usize = UNADMITTED_MAX;
/// The most memory a frame gets before any of it arrived, in bytes.
const FIRST_BYTES: usize = 256 * 1024;
/// How long a frame of any size may take to arrive.
const FRAME_TIME: Duration = Duration::from_secs(30);
/// Large frames get a second more for each of these many bytes.
const FRAME_BYTES_PER_SECOND: usize = 1024 * 1024;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header and body.
    pub(crate) bytes: Bytes,
    /// The room it takes among the bytes in flight; small ones take none.
    pub(crate) permit: Option<AdmitPermit>,
}

/// Why there is no next frame.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The peer has closed the connection, or the system has.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer was silent for too long between two frames.
    #[error("no request for {0:?}")]
    Idle(Duration),
    /// The announced size is not one a request may have.
    #[error("a request of {size} bytes was announced, from 1 to {limit} are allowed (kafka.request_bytes)")]
    Size {
        /// The size in bytes.
        size: i32,
        /// The limit in bytes.
        limit: usize,
    },
    /// The frame took too long.
    #[error("a request of {size} bytes did not arrive within {limit:?}")]
    Slow {
        /// The size in bytes.
        size: usize,
        /// The time it had.
        limit: Duration,
    },
    /// The broker has no place for it.
    #[error(transparent)]
    Refused(BrokerError),
}

impl FrameError {
    /// Whether this is how connections end that nobody need look at.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Idle(_))
    }
}

/// Reads frames off a socket, several small ones with one system call.
#[derive(Debug)]
pub(crate) struct FrameReader {
    socket: OwnedReadHalf,
    /// What was read and belongs to the next frames. Nothing is allocated while nothing comes.
    ahead: BytesMut,
}

impl FrameReader {
    pub(crate) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, ahead: BytesMut::new() }
    }

    /// The next frame; `None` when the peer closed the connection between two frames.
    pub(crate) async fn next(
        &mut self,
        broker: &Broker,
        bytes_max: usize,
        idle_max: Duration,
    ) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.take_size(idle_max).await? else { return Ok(None) };
        let checked = usize::try_from(size).ok().filter(|size| (1..=bytes_max).contains(size));
        let size = checked.ok_or(FrameError::Size { size, limit: bytes_max })?;
        let permit = if size > UNADMITTED_MAX {
            Some(admit(broker, size).await.map_err(FrameError::Refused)?)
        } else {
            None
        };
        if self.ahead.len() >= size {
            return Ok(Some(Frame { bytes: self.ahead.split_to(size).freeze(), permit }));
        }
        let extra = u64::try_from(size / FRAME_BYTES_PER_SECOND).unwrap_or(u64::MAX);
        let limit = FRAME_TIME.saturating_add(Duration::from_secs(extra));
        let body = tokio::time::timeout(limit, self.take_body(size)).await;
        let bytes = body.map_err(|_| FrameError::Slow { size, limit })??;
        Ok(Some(Frame { bytes, permit }))
    }

    async fn take_size(&mut self, idle_max: Duration) -> Result<Option<i32>, FrameError> {
        loop {
            if let Some(size) = self.ahead.first_chunk().copied() {
                self.ahead.advance(size_of::<i32>());
                return Ok(Some(i32::from_be_bytes(size)));
            }
            let read = tokio::time::timeout(idle_max, self.read_ahead()).await;
            match read.map_err(|_| FrameError::Idle(idle_max))?? {
                0 if self.ahead.is_empty() => return Ok(None),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                _ => {}
            }
        }
    }

    /// Reads what there is, up to the size of a small frame.
    async fn read_ahead(&mut self) -> io::Result<usize> {
        if self.ahead.is_empty() {
            // Frames that are still looked at keep the memory of the last buffer, idle connections have none.
            self.ahead = BytesMut::new();
            self.socket.readable().await?;
        }
        self.ahead.reserve(READ_AHEAD.saturating_sub(self.ahead.len()).max(1));
        self.socket.read_buf(&mut self.ahead).await
    }

    /// The rest of a frame that has not come as a whole yet.
    async fn take_body(&mut self, size: usize) -> io::Result<Bytes> {
        let mut body = std::mem::take(&mut self.ahead);
        body.reserve(size.min(FIRST_BYTES).saturating_sub(body.len()));
        while body.len() < size {
            let missing = size - body.len();
            if body.capacity() == body.len() {
                body.reserve(missing.min(body.len().max(FIRST_BYTES)));
            }
            let missing = u64::try_from(missing).unwrap_or(u64::MAX);
            if (&mut self.socket).take(missing).read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body.freeze())
    }
}

/// Waits for room: a socket that is not read holds its sender back, which is what Kafka clients expect.
pub(crate) async fn admit(broker: &Broker, size: usize) -> Result<AdmitPermit, BrokerError> {
    loop {
        match broker.admit(size).await {
            Ok(permit) => return Ok(permit),
            Err(error) if error.code == ErrorCode::Overloaded => {}
            Err(error) => return Err(error),
        }
    }
}
