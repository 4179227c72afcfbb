//! One connection: requests in, answers out, both in order.
//!
//! ```text
//! read frame ─► begin (appends happen here) ─► queue ─► wait for the answer ─► write
//! ```
//!
//! Requests are begun while earlier answers are waited for, so a producer with several requests in flight
//! shares flushes with itself. Only appending is begun early; everything else starts when all earlier answers
//! are known, which is the order Kafka keeps.

use std::sync::Arc;

use futures::FutureExt;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc};

use crate::context::Context;
use crate::dispatch::{self, Begun, Outcome, Refused};
use crate::frame::{FrameError, FrameReader};
use crate::response::Response;
use crate::sender::{self, SendError};

/// Answers are gathered for one write up to about this size, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// Why a connection ended before its client closed it.
#[derive(Debug, Error)]
enum Ended {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("an answer is larger than a frame can be")]
    AnswerTooLarge,
}

impl Ended {
    /// Whether this is how connections end that nobody need look at.
    fn is_quiet(&self) -> bool {
        match self {
            Self::Frame(error) => error.is_quiet(),
            Self::Send(SendError::Socket(_)) => true,
            Self::Send(SendError::Records(_)) | Self::Refused(_) | Self::AnswerTooLarge => false,
        }
    }
}

/// Serves a connection until one side is done with it.
pub(crate) async fn serve(stream: TcpStream, context: Arc<Context>) {
    let peer = context.peer;
    let (reader, writer) = stream.into_split();
    let (queue, answers) = mpsc::channel(context.shared.options.requests_in_flight_max.max(1));
    // Both in one task: a connection is one thing, and a hop between threads costs more than it brings.
    let ended = tokio::select! {
        // Ends with the queue, or when the peer is gone.
        ended = write_answers(writer, answers, &context.shared.fetch_room) => ended,
        ended = read_requests(FrameReader::new(reader), &context, queue) => ended,
    };
    match ended {
        Ok(()) => tracing::debug!(%peer, "Kafka connection closed"),
        Err(ended) if ended.is_quiet() => tracing::debug!(%peer, %ended, "Kafka connection ended"),
        Err(ended) => {
            context.shared.stats.count_broken();
            tracing::warn!(%peer, reason = %ended, "Kafka connection closed");
        }
    }
}

/// Reads requests until the client has sent its last; then waits, because the answers are the writer's to
/// finish, unless something is wrong.
async fn read_requests(
    mut reader: FrameReader,
    context: &Arc<Context>,
    queue: mpsc::Sender<Begun>,
) -> Result<(), Ended> {
    let options = &context.shared.options;
    loop {
        let (bytes_max, idle_max) = (options.request_bytes_max, options.idle_max);
        let frame = tokio::select! {
            biased;
            () = context.shared.drain.cancelled() => break,
            frame = reader.next(context.broker(), bytes_max, idle_max) => frame?,
        };
        // A client that closed its side does not wait for answers.
        let Some(frame) = frame else { return Ok(()) };
        context.shared.stats.count_request();
        let begun = dispatch::begin(context, frame).await?;
        if queue.send(begun).await.is_err() {
            break;
        }
    }
    drop(queue);
    // The broker stops: the writer finishes what was begun and ends the connection.
    std::future::pending().await
}

async fn write_answers(
    mut writer: OwnedWriteHalf,
    mut answers: mpsc::Receiver<Begun>,
    room: &Arc<Semaphore>,
) -> Result<(), Ended> {
    let mut next = None;
    loop {
        let begun = match next.take() {
            Some(begun) => begun,
            None => match answers.recv().await {
                Some(begun) => begun,
                None => return Ok(writer.shutdown().await.map_err(SendError::Socket)?),
            },
        };
        let (mut out, mut refused) = (Response::default(), None);
        let Begun { correlation_id, flexible_header, pending } = begun;
        add(&mut out, pending.await?, correlation_id, flexible_header)?;
        // One flush of the device answers many requests: what is ready leaves in one system call.
        while out.len() < GATHER_BYTES
            && let Ok(mut begun) = answers.try_recv()
        {
            match (&mut begun.pending).now_or_never() {
                Some(Ok(outcome)) => {
                    add(&mut out, outcome, begun.correlation_id, begun.flexible_header)?;
                }
                // The answers before it leave all the same.
                Some(Err(error)) => {
                    refused = Some(error);
                    break;
                }
                None => {
                    next = Some(begun);
                    break;
                }
            }
        }
        sender::send(&mut writer, out, room).await?;
        if let Some(refused) = refused {
            return Err(refused.into());
        }
    }
}

fn add(out: &mut Response, outcome: Outcome, correlation_id: i32, flexible: bool) -> Result<(), Ended> {
    if let Outcome::Answer(answer) = outcome {
        out.append(answer.into_frame(correlation_id, flexible).ok_or(Ended::AnswerTooLarge)?);
    }
    Ok(())
}
