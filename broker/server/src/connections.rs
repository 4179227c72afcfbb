//! The connections of a listener: bounded, counted, and cut when the time to finish is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long accepting pauses when the system has no file descriptor or memory for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What was counted of a listener's connections.
#[derive(Debug)]
pub(crate) struct ConnectionStats {
    accepted: AtomicU64,
    refused: AtomicU64,
    max: usize,
    slots: Arc<Semaphore>,
}

impl ConnectionStats {
    /// Counters of a listener that has at most `max` connections.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = max.min(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(max));
        Arc::new(Self { accepted: AtomicU64::new(0), refused: AtomicU64::new(0), max, slots })
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.max.saturating_sub(self.slots.available_permits())
    }

    /// Connections that were taken.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were closed at once because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The connections of `listener`. All of them fail when `cut` is cancelled.
pub(crate) fn incoming(
    listener: TcpListener,
    stats: Arc<ConnectionStats>,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    stream::unfold((listener, stats, cut), async |(listener, stats, cut)| {
        let connection = accept(&listener, &stats, &cut).await;
        Some((Ok(connection), (listener, stats, cut)))
    })
}

async fn accept(listener: &TcpListener, stats: &ConnectionStats, cut: &CancellationToken) -> Connection {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted at the moment");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&stats.slots).try_acquire_owned() else {
            // A closed connection tells the client more than one that is never answered.
            if (stats.refused.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two() {
                tracing::warn!(
                    max = stats.max,
                    "too many connections: new ones are closed (api.connections_max)"
                );
            }
            continue;
        };
        // Small answers must not wait for the peer's delayed acknowledgement. A socket that is gone already
        // says so on its first read.
        let _set = stream.set_nodelay(true).is_ok();
        stats.accepted.fetch_add(1, Ordering::Relaxed);
        let cut = Box::pin(cut.child_token().cancelled_owned());
        return Connection { stream, cut, _slot: slot };
    }
}

/// Whether only the one connection failed that was about to be accepted.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A connection that holds its place among the allowed ones.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// Fails when the connection is cut, and wakes the task when that happens.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Lets a write that waits for a peer who does not read fail when the connection is cut.
    fn unless_cut(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.check(context)?;
        }
        written
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_cut(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unless_cut(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
