//! One Fetch stream from the broker.

use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream as _};
use std::pin::Pin;
use tidelog_proto::v1::fetch_request::Kind;
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::{FetchAssign, FetchOpen, FetchPartition, FetchRequest, FetchResponse, FetchUnassign};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

pub(super) struct FetchStream {
    /// Unbounded, yet never long: the broker sends nothing without credit and credit is only granted for
    /// bytes it has sent, a quarter of the whole at a time; the rest are the caller's seeks and pauses.
    requests: mpsc::UnboundedSender<FetchRequest>,
    answers: Answers,
}

enum Answers {
    Opening(BoxFuture<'static, Result<Response<Streaming<FetchResponse>>, Status>>),
    Open(Box<Streaming<FetchResponse>>),
}

impl FetchStream {
    pub(super) fn open(api: &LogClient<Channel>, open: FetchOpen) -> Self {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let mut api = api.clone();
        let opening = async move { api.fetch(UnboundedReceiverStream::new(outgoing)).await };
        let stream = Self { requests, answers: Answers::Opening(Box::pin(opening)) };
        stream.request(Kind::Open(open));
        stream
    }

    pub(super) fn assign(&self, partition: FetchPartition) {
        self.request(Kind::Assign(FetchAssign { partitions: vec![partition] }));
    }

    pub(super) fn unassign(&self, partition: tidelog_proto::v1::TopicPartition) {
        self.request(Kind::Unassign(FetchUnassign { partitions: vec![partition] }));
    }

    pub(super) fn grant(&self, bytes: usize) {
        self.request(Kind::CreditBytes(i64::try_from(bytes).unwrap_or(i64::MAX)));
    }

    fn request(&self, kind: Kind) {
        // A stream that broke says so by its answers; the next one starts with what is wanted then.
        let _broken = self.requests.send(FetchRequest { kind: Some(kind) });
    }

    /// The next answer; `None` when the broker has ended the stream.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FetchResponse>, Status>> {
        if let Answers::Opening(opening) = &mut self.answers {
            let opened = ready!(opening.poll_unpin(cx))?;
            self.answers = Answers::Open(Box::new(opened.into_inner()));
        }
        match &mut self.answers {
            Answers::Open(answers) => Pin::new(&mut **answers).poll_next(cx).map(Option::transpose),
            // Not reached: it was opened above.
            Answers::Opening(_) => Poll::Pending,
        }
    }
}
