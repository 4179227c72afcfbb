//! One Produce stream to the broker.

use std::error::Error as _;
use std::future;

use futures::future::BoxFuture;
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::{ProduceRequest, ProduceResponse};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

/// A stream that was asked for; requests may be sent before it is open.
pub(super) struct ProduceStream {
    /// `None` once nothing more is to be sent.
    requests: Option<mpsc::Sender<ProduceRequest>>,
    answers: Answers,
    /// Since when an answer is due; `None` while nothing is unanswered.
    pub(super) waiting_since: Option<Instant>,
}

enum Answers {
    Opening(BoxFuture<'static, Result<Response<Streaming<ProduceResponse>>, Status>>),
    Open(Box<Streaming<ProduceResponse>>),
}

impl ProduceStream {
    /// Asks for a stream on which at most `requests_max` requests are ever unanswered.
    pub(super) fn open(api: &LogClient<Channel>, requests_max: usize) -> Self {
        let (requests, outgoing) = mpsc::channel(requests_max);
        let mut api = api.clone();
        let opening = async move { api.produce(ReceiverStream::new(outgoing)).await };
        Self { requests: Some(requests), answers: Answers::Opening(Box::pin(opening)), waiting_since: None }
    }

    /// Queues a request. A stream that broke says so by its answers.
    pub(super) fn send(&mut self, request: ProduceRequest, now: Instant) {
        self.waiting_since.get_or_insert(now);
        if let Some(requests) = &self.requests
            && requests.try_send(request).is_err()
        {
            self.requests = None;
        }
    }

    /// Whether requests can still be sent.
    pub(super) const fn is_usable(&self) -> bool {
        self.requests.is_some()
    }

    /// Sends no more; the answers to what was sent still come.
    pub(super) fn drain(&mut self) {
        self.requests = None;
    }

    /// The next answer; `None` when the broker has ended the stream. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<ProduceResponse>, Status> {
        if let Answers::Opening(opening) = &mut self.answers {
            let opened = opening.await?;
            self.answers = Answers::Open(Box::new(opened.into_inner()));
        }
        match &mut self.answers {
            Answers::Open(answers) => answers.message().await,
            // Not reached: it was opened above.
            Answers::Opening(_) => future::pending().await,
        }
    }

    /// Whether requests may have reached the broker before the stream failed with `status`.
    pub(super) fn may_have_sent(&self, status: &Status) -> bool {
        let opening = matches!(self.answers, Answers::Opening(_));
        !(opening && is_connect_error(status))
    }
}

/// Whether no connection was made at all.
fn is_connect_error(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
