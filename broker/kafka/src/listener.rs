//! Accepts connections, bounds their number, and ends them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidelog_runtime::Broker;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::context::{Context, KafkaOptions, Shared};
use crate::stats::KafkaStats;

/// How long accepting pauses when the system has no file descriptor or memory for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `drain` is cancelled, then lets connections finish what they have in flight;
/// returns when all have ended, or were `cut`.
pub async fn serve(
    listener: TcpListener,
    broker: Broker,
    options: KafkaOptions,
    stats: Arc<KafkaStats>,
    drain: CancellationToken,
    cut: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
    let shared = Arc::new(Shared::new(broker, options, stats, drain.clone()));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "Kafka connections cannot be accepted at the moment");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            if shared.stats.count_refused().is_power_of_two() {
                let max = shared.options.connections_max;
                tracing::warn!(%peer, max, "too many Kafka connections: new ones are closed (kafka.connections_max)");
            }
            continue;
        };
        let (shared, cut) = (Arc::clone(&shared), cut.clone());
        connections.spawn(async move {
            shared.stats.connected();
            tokio::select! {
                () = cut.cancelled() => {}
                () = connect(stream, peer, &shared) => {}
            }
            shared.stats.disconnected();
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connect(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    // Small answers must not wait for the peer's delayed acknowledgement.
    let ready = stream.set_nodelay(true).and_then(|()| stream.local_addr());
    // A socket that is gone already has nothing to say.
    let Ok(local) = ready else { return };
    let context = Arc::new(Context { shared: Arc::clone(shared), peer, local });
    connection::serve(stream, context).await;
}

/// Whether only the one connection failed that was about to be accepted.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
