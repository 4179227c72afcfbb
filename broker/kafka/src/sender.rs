//! Sends a response: what is in memory with vectored writes, records from where they lie with the kernel's help,
//! and what only the device has piece by piece.
//!
//! **Invariant:** records that are sent from where they lie take no memory but one piece, and that piece is
//! taken from the room all connections share, or is a small one.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use thiserror::Error;
use tidelog_runtime::{BrokerError, Extent};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Semaphore;

use crate::response::{Part, Response};

/// Bytes of records that are handed on at a time; the thread is lent to others in between.
const PIECE_BYTES: u32 = 256 * 1024;
/// The same where there is no room in memory.
const SMALL_PIECE_BYTES: u32 = 16 * 1024;

/// Why a response was not sent to its end.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// Its length was sent before: there is no way to tell the client but the end of the connection.
    #[error("records that were to be sent cannot be read: {0}")]
    Records(#[from] BrokerError),
}

/// Sends all of a response.
pub(crate) async fn send(
    socket: &mut OwnedWriteHalf,
    response: Response,
    room: &Arc<Semaphore>,
) -> Result<(), SendError> {
    for part in response.into_parts() {
        match part {
            Part::Gathered(mut gathered) => socket.write_all_buf(&mut gathered).await?,
            Part::Extent(extent) => send_extent(socket, &extent, room).await?,
        }
    }
    Ok(())
}

async fn send_extent(
    socket: &mut OwnedWriteHalf,
    extent: &Extent,
    room: &Arc<Semaphore>,
) -> Result<(), SendError> {
    let mut at: usize = 0;
    while at < extent.size() {
        socket.writable().await?;
        let stream = socket.as_ref();
        let piece = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
        let sent = stream.try_io(Interest::WRITABLE, || extent.send(at, piece, stream.as_fd()));
        at = at.saturating_add(match sent {
            Ok(Some(sent)) => sent,
            Ok(None) => send_read(socket, extent, at, room).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(())
}

/// Sends the piece at `at` through memory.
async fn send_read(
    socket: &mut OwnedWriteHalf,
    extent: &Extent,
    at: usize,
    room: &Arc<Semaphore>,
) -> Result<usize, SendError> {
    let permit = Arc::clone(room).try_acquire_many_owned(PIECE_BYTES);
    let length = if permit.is_ok() { PIECE_BYTES } else { SMALL_PIECE_BYTES };
    let bytes = extent.read(at, usize::try_from(length).unwrap_or(usize::MAX)).await?;
    socket.write_all(&bytes).await?;
    Ok(bytes.len())
}
