//! A server that speaks Tidelog's messages and does nothing with them: what tonic alone costs. It runs in
//! its own process, as the broker does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::log_server::{Log, LogServer};
use tidelog_proto::v1::{
    FetchOpen, FetchRecordsRequest, FetchRecordsResponse, FetchRequest, FetchResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, PartitionBatch, ProduceRecordsRequest,
    ProduceRecordsResponse, ProduceRequest, ProduceResponse, ProduceResult, fetch_request,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::disk::noise;
use crate::stats::{megabytes_per_second, quantile};

const MESSAGE_BYTES_MAX: usize = 80 << 20;
const WINDOW_BYTES: u32 = 4 << 20;

struct Echo {
    block: Bytes,
}

fn answer(request: &ProduceRequest) -> ProduceResponse {
    let results = request.batches.iter().map(|_| ProduceResult::default()).collect();
    ProduceResponse { request_id: request.request_id, results }
}

#[tonic::async_trait]
impl Log for Echo {
    type ProduceStream = BoxStream<'static, Result<ProduceResponse, Status>>;
    type FetchStream = BoxStream<'static, Result<FetchResponse, Status>>;

    async fn produce(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        Ok(Response::new(request.into_inner().map(|request| request.map(|r| answer(&r))).boxed()))
    }

    async fn produce_batches(
        &self,
        request: Request<ProduceRequest>,
    ) -> Result<Response<ProduceResponse>, Status> {
        Ok(Response::new(answer(request.get_ref())))
    }

    async fn produce_records(
        &self,
        _: Request<ProduceRecordsRequest>,
    ) -> Result<Response<ProduceRecordsResponse>, Status> {
        Err(Status::unimplemented("the plain server has no records"))
    }

    async fn init_producer_id(
        &self,
        _: Request<InitProducerIdRequest>,
    ) -> Result<Response<InitProducerIdResponse>, Status> {
        Err(Status::unimplemented("the plain server has no producers"))
    }

    /// Sends the block again and again, until as many bytes as the credit are out.
    async fn fetch(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let mut requests = request.into_inner();
        let Some(FetchRequest { kind: Some(fetch_request::Kind::Open(open)) }) = requests.message().await?
        else {
            return Err(Status::invalid_argument("the first message opens the stream"));
        };
        let size = usize::try_from(open.response_bytes_max).unwrap_or(0).clamp(1, self.block.len());
        let block = self.block.slice(..size);
        let count = usize::try_from(open.credit_bytes).unwrap_or(0) / size;
        let responses = (0..count)
            .map(move |_| Ok(FetchResponse { record_batches: block.clone(), ..Default::default() }));
        Ok(Response::new(stream::iter(responses).boxed()))
    }

    async fn fetch_records(
        &self,
        _: Request<FetchRecordsRequest>,
    ) -> Result<Response<FetchRecordsResponse>, Status> {
        Err(Status::unimplemented("the plain server has no records"))
    }

    async fn list_offsets(
        &self,
        _: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        Err(Status::unimplemented("the plain server has no offsets"))
    }
}

/// Runs the plain server until its standard input closes; its address goes to standard output.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    let service = LogServer::new(Echo { block: Bytes::from(noise(4 << 20)) })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let parent_gone = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .tcp_nodelay(true)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            drop(parent_gone.await);
        })
        .await?;
    Ok(())
}

/// The plain server in a process of its own, with a connection to it.
pub(crate) struct PlainServer {
    child: Child,
    channel: Channel,
}

impl PlainServer {
    /// Starts this program again as the server.
    pub(crate) async fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("plain-server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the plain server")?;
        let stdout = child.stdout.take().context("the plain server has no standard output")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        let channel = Endpoint::from_shared(url.trim().to_owned())?
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .tcp_nodelay(true)
            .connect()
            .await?;
        Ok(Self { child, channel })
    }

    fn client(&self) -> LogClient<Channel> {
        LogClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A stream of produce requests with one batch of `size` bytes each, all answered: MB a second.
    pub(crate) async fn client_stream(&self, size: usize, total: u64) -> Result<f64> {
        let block = Bytes::from(noise(size));
        let count = total / u64::try_from(size)?;
        let requests = stream::iter((0..count).map(move |id| request(id, block.clone())));
        let started = Instant::now();
        let mut responses = self.client().produce(requests).await?.into_inner();
        let mut answered = 0;
        while let Some(response) = responses.message().await? {
            answered += u64::try_from(response.results.len())?;
        }
        anyhow::ensure!(answered == count, "{count} requests got {answered} answers");
        Ok(megabytes_per_second(count * u64::try_from(size)?, started.elapsed()))
    }

    /// A stream of fetch responses of `size` bytes each: MB a second.
    pub(crate) async fn server_stream(&self, size: usize, total: u64) -> Result<f64> {
        let open = FetchOpen {
            credit_bytes: i64::try_from(total)?,
            response_bytes_max: i32::try_from(size)?,
            ..Default::default()
        };
        let open = FetchRequest { kind: Some(fetch_request::Kind::Open(open)) };
        let started = Instant::now();
        let mut responses = self.client().fetch(stream::iter([open])).await?.into_inner();
        let mut bytes = 0;
        while let Some(response) = responses.message().await? {
            bytes += u64::try_from(response.record_batches.len())?;
        }
        Ok(megabytes_per_second(bytes, started.elapsed()))
    }

    /// One unary request of `size` bytes at a time: the median and the 99th percentile.
    pub(crate) async fn unary(&self, size: usize, count: usize) -> Result<(Duration, Duration)> {
        let block = Bytes::from(noise(size));
        let mut client = self.client();
        let mut times = Vec::with_capacity(count);
        for id in 0..u64::try_from(count)? {
            let started = Instant::now();
            client.produce_batches(request(id, block.clone())).await?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok((quantile(&times, 0.5), quantile(&times, 0.99)))
    }
}

fn request(request_id: u64, record_batch: Bytes) -> ProduceRequest {
    let batch = PartitionBatch { topic: "plain".to_owned(), partition: 0, record_batch };
    ProduceRequest { request_id, acks: 0, batches: vec![batch] }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself when its input closes; the kill is for one that hangs.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
