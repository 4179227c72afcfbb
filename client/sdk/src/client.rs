//! The connection to a broker: lazy, reconnecting, cheap to clone.
//!
//! **Invariant:** a producer or a consumer has a connection of its own. A consumer that is not polled fills
//! its connection's flow-control window; on a shared connection that would hold up everyone's answers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidelog_proto::v1::dlq_client::DlqClient;
use tidelog_proto::v1::group_admin_client::GroupAdminClient;
use tidelog_proto::v1::groups_client::GroupsClient;
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::membership_client::MembershipClient;
use tidelog_proto::v1::queue_client::QueueClient;
use tidelog_proto::v1::topics_client::TopicsClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::admin::Admin;
use crate::backoff::Backoff;
use crate::consumer::ConsumerBuilder;
use crate::error::{Error, Result};
use crate::producer::ProducerBuilder;
use crate::queue::QueueBuilder;

/// How often an idempotent call is tried before its error is returned: a connection that died while idle
/// shows only when it is used.
const IDEMPOTENT_TRIES: u32 = 3;
/// The largest message this client accepts: a batch of the largest allowed size and its envelope.
const MESSAGE_BYTES_MAX: usize = tidelog_model::limits::BATCH_BYTES_MAX_CEILING + 1024 * 1024;

/// A Tidelog broker, as seen by this program. Cheap to clone; connects when it is first used and again
/// whenever the connection breaks.
///
/// ```no_run
/// # async fn run() -> tidelog_client::Result<()> {
/// let client = tidelog_client::Client::connect("http://127.0.0.1:9640").await?;
/// for topic in client.admin().topics().await? {
///     println!("{} has {} partitions", topic.name, topic.partitions);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    endpoint: Endpoint,
    /// For admin calls; producers and consumers open their own.
    channel: Channel,
    request_timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the broker at `url`: `host:port`, `http://host:port` or `tidelog://host:port` (port 9640 when left
    /// out). Checks the URL only; the first call connects.
    ///
    /// # Errors
    /// `InvalidRequest` when the URL is not of that form.
    // Async so that a later version may look at the broker before it returns.
    #[expect(clippy::unused_async, reason = "part of the public contract, see the comment above")]
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url).build()
    }

    /// A client with other settings than the defaults.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Topics, offsets and groups.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// A producer, to be configured and built.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.clone())
    }

    /// A consumer, to be configured and built.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone())
    }

    /// A member of a queue group, to be configured; [`Admin::create_queue_group`] makes the group.
    pub fn queue(&self, group: impl Into<String>) -> QueueBuilder {
        QueueBuilder::new(self.clone(), group.into())
    }

    /// The broker's address as it was given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    pub(crate) fn topics_api(&self) -> TopicsClient<Channel> {
        TopicsClient::new(self.shared.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn groups_api(&self) -> GroupsClient<Channel> {
        GroupsClient::new(self.shared.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn group_admin_api(&self) -> GroupAdminClient<Channel> {
        GroupAdminClient::new(self.shared.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn dlq_api(&self) -> DlqClient<Channel> {
        DlqClient::new(self.shared.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The queue service over a connection that nobody else uses.
    pub(crate) fn queue_api(&self) -> QueueClient<Channel> {
        QueueClient::new(self.shared.endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// How long one call may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    pub(crate) fn membership_api(&self) -> MembershipClient<Channel> {
        MembershipClient::new(self.shared.channel.clone())
    }

    pub(crate) fn log_api(&self) -> LogClient<Channel> {
        LogClient::new(self.shared.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The log service over a connection that nobody else uses.
    pub(crate) fn own_log_api(&self) -> LogClient<Channel> {
        LogClient::new(self.shared.endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn error(&self, status: &Status) -> Error {
        Error::from_status(status, &self.shared.url)
    }

    /// One call that changes something: tried once, within the request timeout.
    pub(crate) async fn call_once<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T> {
        match tokio::time::timeout(self.shared.request_timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(self.error(&Status::deadline_exceeded("request timeout"))),
        }
    }

    /// A call that may be repeated: tried again at once or after a short pause when the connection broke.
    pub(crate) async fn call<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
        for _ in 1..IDEMPOTENT_TRIES {
            match self.call_once(call()).await {
                Err(error) if error.kind() == crate::ErrorKind::Unreachable => {
                    tokio::time::sleep(backoff.next(rand::random())).await;
                }
                result => return result,
            }
        }
        self.call_once(call()).await
    }
}

/// Settings of a [`Client`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    url: String,
    connect_timeout: Duration,
    request_timeout: Duration,
    keepalive: Duration,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
}

impl ClientBuilder {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(10),
            stream_window_bytes: 4 * 1024 * 1024,
            connection_window_bytes: 8 * 1024 * 1024,
        }
    }

    /// How long one attempt to connect may take. Default 5 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a single admin call may take. Default 30 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a connection may be silent before it is probed, and how long the probe may stay
    /// unanswered before the connection counts as dead. Default 10 s.
    pub const fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = interval;
        self
    }

    /// How many bytes the broker may send ahead on one stream, 64 KiB to 64 MiB. Default 4 MiB; the
    /// connection as a whole has twice as much.
    pub fn receive_window_bytes(mut self, bytes: u32) -> Self {
        self.stream_window_bytes = bytes.clamp(64 * 1024, 64 * 1024 * 1024);
        self.connection_window_bytes = self.stream_window_bytes.saturating_mul(2);
        self
    }

    /// The client. Does not connect yet.
    ///
    /// # Errors
    /// `InvalidRequest` when the URL is not of the form `host:port`, `http://host:port` or `tidelog://host:port`, or
    /// outside of a Tokio runtime.
    pub fn build(self) -> Result<Client> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid("a client must be made inside a Tokio runtime"));
        }
        let uri = normalize_url(&self.url)?;
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|error| bad_url(&self.url, &error.to_string()))?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout(self.keepalive)
            .initial_stream_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .user_agent(concat!("tidelog-client/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| bad_url(&self.url, &error.to_string()))?;
        let channel = endpoint.connect_lazy();
        let request_timeout = self.request_timeout;
        Ok(Client { shared: Arc::new(Shared { url: self.url, endpoint, channel, request_timeout }) })
    }
}

/// Turns the forms users write into the one the transport takes.
fn normalize_url(url: &str) -> Result<String> {
    let rest = match url.split_once("://") {
        Some(("http" | "tidelog", rest)) => rest.trim_end_matches('/'),
        Some(("https", _)) => return Err(bad_url(url, "TLS is not supported by this version")),
        Some((scheme, _)) => return Err(bad_url(url, &format!("unknown scheme {scheme:?}"))),
        None => url.trim_end_matches('/'),
    };
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err(bad_url(url, "expected a host and a port"));
    }
    // An IPv6 address has colons inside its brackets.
    let after_host = rest.rsplit_once(']').map_or(rest, |(_, after)| after);
    match after_host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(format!("http://{rest}")),
        Some((_, port)) => Err(bad_url(url, &format!("{port:?} is not a port"))),
        None => Ok(format!("http://{rest}:9640")),
    }
}

fn bad_url(url: &str, why: &str) -> Error {
    Error::invalid(format!("{url:?} is not a broker address: {why}")).with_help("write it as host:port")
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
