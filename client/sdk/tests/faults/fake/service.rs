//! The services of the fake broker.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt as _, stream};
use tidelog_model::batch::{BatchRules, RecordBatch};
use tidelog_model::{ErrorCode, ProducerId, limits};
use tidelog_proto::v1::groups_server::{Groups, GroupsServer};
use tidelog_proto::v1::log_server::{Log, LogServer};
use tidelog_proto::v1::topics_server::{Topics, TopicsServer};
use tidelog_proto::v1::{self, fetch_request::Kind, position::At};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::{FetchFault, ProduceFault, State, corrupt};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) stored: watch::Sender<u64>,
}

impl Service {
    pub(crate) async fn serve(self, listener: TcpListener) {
        let server = Server::builder()
            .add_service(LogServer::new(self.clone()))
            .add_service(TopicsServer::new(self.clone()))
            .add_service(GroupsServer::new(self));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    }

    fn store(&self, request: &v1::ProduceRequest, refused: &mut BTreeSet<i32>) -> v1::ProduceResponse {
        let rules = BatchRules {
            batch_bytes_max: limits::BATCH_BYTES_MAX_DEFAULT,
            key_required: false,
            control_allowed: false,
        };
        let mut state = self.state.lock().unwrap();
        let mut results = Vec::new();
        for batch in &request.batches {
            let result = if refused.contains(&batch.partition) {
                failed(ErrorCode::OutOfOrder)
            } else {
                let valid = RecordBatch::validate(batch.record_batch.clone(), &rules).unwrap();
                let numbered = valid.header().producer_id != ProducerId::NONE;
                let known = if numbered { state.known(batch.partition, &valid) } else { Ok(None) };
                match known {
                    Ok(Some(base_offset)) => v1::ProduceResult { base_offset, duplicate: true, ..PLACED },
                    Ok(None) => {
                        let base_offset = state.append(batch.partition, valid);
                        v1::ProduceResult { base_offset, ..PLACED }
                    }
                    Err(code) => {
                        refused.insert(batch.partition);
                        failed(code)
                    }
                }
            };
            results.push(result);
        }
        drop(state);
        self.stored.send_modify(|stored| *stored += 1);
        v1::ProduceResponse { request_id: request.request_id, results }
    }

    /// One request of a stream; `None` breaks it.
    fn answer(&self, request: &v1::ProduceRequest, lane: &mut Lane) -> Option<v1::ProduceResponse> {
        let fault = self.state.lock().unwrap().produce_faults.pop_front();
        match fault.unwrap_or(ProduceFault::Store) {
            ProduceFault::Store => {}
            ProduceFault::Silence => lane.silent = true,
            ProduceFault::BreakBefore => return None,
            ProduceFault::BreakAfter => {
                self.store(request, &mut lane.refused);
                return None;
            }
            ProduceFault::Refuse(partition, code) => {
                let hit = request.batches.iter().any(|batch| batch.partition == partition);
                let fresh = !lane.refused.contains(&partition);
                lane.refused.extend(hit.then_some(partition));
                let mut response = self.store(request, &mut lane.refused);
                let mut pairs = request.batches.iter().zip(&mut response.results);
                // Only the first of them failed; what follows it is out of order.
                if let Some((_, result)) = pairs.find(|(batch, _)| fresh && batch.partition == partition) {
                    *result = failed(code);
                }
                return Some(response);
            }
        }
        Some(self.store(request, &mut lane.refused))
    }
}

#[derive(Default)]
struct Lane {
    refused: BTreeSet<i32>,
    silent: bool,
}

const PLACED: v1::ProduceResult = v1::ProduceResult {
    base_offset: -1,
    log_append_time_ms: -1,
    log_start_offset: 0,
    error: None,
    duplicate: false,
};

fn failed(code: ErrorCode) -> v1::ProduceResult {
    let error = Some(v1::ErrorDetail::new(code, format!("refused: {code}")));
    v1::ProduceResult { base_offset: -1, log_append_time_ms: -1, error, ..Default::default() }
}

/// The place a fetch stream stands at in each partition.
#[derive(Default)]
struct Reading {
    partitions: BTreeMap<i32, v1::FetchPartition>,
    next: BTreeMap<i32, i64>,
    credit: i64,
    response_bytes_max: usize,
}

impl Reading {
    fn assign(&mut self, state: &State, assign: v1::FetchAssign) {
        for partition in assign.partitions {
            let next = match partition.position.and_then(|position| position.at) {
                Some(At::Offset(offset)) => offset,
                Some(At::Latest(_)) => state.end(partition.partition),
                _ => 0,
            };
            self.next.insert(partition.partition, next);
            self.partitions.insert(partition.partition, partition);
        }
    }

    fn apply(&mut self, state: &State, kind: Kind) {
        match kind {
            Kind::Open(open) => {
                self.credit = open.credit_bytes;
                self.response_bytes_max = usize::try_from(open.response_bytes_max).unwrap();
                self.assign(state, open.assign.unwrap_or_default());
            }
            Kind::CreditBytes(bytes) => self.credit += bytes,
            Kind::Assign(assign) => self.assign(state, assign),
            Kind::Unassign(unassign) => {
                for partition in unassign.partitions {
                    self.partitions.remove(&partition.partition);
                }
            }
        }
    }

    /// Something that can be sent now.
    fn response(&mut self, state: &mut State) -> Option<v1::FetchResponse> {
        for (index, partition) in &self.partitions {
            let next = self.next.get_mut(index).unwrap();
            let end = state.end(*index);
            let answer = v1::FetchResponse {
                topic: partition.topic.clone(),
                partition: *index,
                session: partition.session,
                high_watermark: end,
                ..Default::default()
            };
            if *next > end {
                let error = Some(v1::ErrorDetail::new(ErrorCode::OffsetOutOfRange, "out of range"));
                let failed = v1::FetchResponse { error, ..answer };
                let index = *index;
                self.partitions.remove(&index);
                return Some(failed);
            }
            if self.credit <= 0 || partition.until_offset.is_some_and(|until| *next >= until) {
                continue;
            }
            let mut bytes = Vec::new();
            for batch in state.logs.get(index).into_iter().flatten() {
                if batch.header().last_offset().get() < *next {
                    continue;
                }
                if !bytes.is_empty() && bytes.len() + batch.bytes().len() > self.response_bytes_max {
                    break;
                }
                bytes.extend_from_slice(batch.bytes());
                *next = batch.header().next_offset().get();
            }
            if !bytes.is_empty() {
                let size = i64::try_from(bytes.len()).unwrap();
                if size > self.credit && self.credit < i64::try_from(self.response_bytes_max).unwrap() {
                    state.overdrawn = state.overdrawn.max(size - self.credit);
                }
                self.credit -= size;
                return Some(v1::FetchResponse {
                    record_batches: bytes.into(),
                    next_offset: *next,
                    ..answer
                });
            }
        }
        None
    }
}

#[tonic::async_trait]
impl Log for Service {
    type ProduceStream = Answers<v1::ProduceResponse>;
    type FetchStream = Answers<v1::FetchResponse>;

    async fn produce(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        self.state.lock().unwrap().produce_streams += 1;
        let start = (self.clone(), request.into_inner(), Lane::default());
        let answers = stream::unfold(Some(start), |open| async move {
            let (service, mut requests, mut lane) = open?;
            loop {
                let request = requests.next().await?.ok()?;
                let Some(answer) = service.answer(&request, &mut lane) else {
                    return Some((Err(Status::unavailable("broken by the test")), None));
                };
                if !lane.silent {
                    return Some((Ok(answer), Some((service, requests, lane))));
                }
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch(
        &self,
        request: Request<Streaming<v1::FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        self.state.lock().unwrap().fetch_streams += 1;
        let (sender, answers) = mpsc::channel(1);
        let (service, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut reading = Reading::default();
            let mut stored = service.stored.subscribe();
            loop {
                stored.mark_unchanged();
                let (response, fault) = {
                    let mut state = service.state.lock().unwrap();
                    let response = reading.response(&mut state);
                    let fault = response.as_ref().and_then(|_| state.fetch_faults.pop_front());
                    (response, fault.unwrap_or(FetchFault::Send))
                };
                let Some(mut response) = response else {
                    tokio::select! {
                        request = requests.next() => match request {
                            Some(Ok(request)) => reading.apply(&service.state.lock().unwrap(), request.kind.unwrap()),
                            _ => return,
                        },
                        _ = stored.changed() => {}
                    }
                    continue;
                };
                match fault {
                    FetchFault::Send => {}
                    FetchFault::Break => {
                        let _gone = sender.send(Err(Status::unavailable("broken by the test"))).await;
                        return;
                    }
                    FetchFault::Corrupt => response.record_batches = corrupt(&response.record_batches),
                    FetchFault::Fail(code) => {
                        response.error = Some(v1::ErrorDetail::new(code, format!("failed: {code}")));
                        response.record_batches.clear();
                        reading.partitions.remove(&response.partition);
                    }
                    FetchFault::Stale => {
                        let stale = v1::FetchResponse {
                            session: u64::MAX,
                            next_offset: 1_000_000,
                            ..response.clone()
                        };
                        let _gone = sender.send(Ok(stale)).await;
                    }
                }
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let state = self.state.lock().unwrap();
        let result = |asked: &v1::ListOffsetsPartition| {
            let end = state.end(asked.partition);
            let offset = match asked.position.and_then(|position| position.at) {
                Some(At::Offset(offset)) => offset,
                Some(At::TimestampMs(at)) => at.clamp(0, end),
                Some(At::Latest(_)) => end,
                _ => 0,
            };
            v1::ListOffsetsResult { offset, timestamp_ms: -1, high_watermark: end, ..Default::default() }
        };
        let results = request.get_ref().partitions.iter().map(result).collect();
        Ok(Response::new(v1::ListOffsetsResponse { results }))
    }

    async fn produce_batches(
        &self,
        _: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }

    async fn init_producer_id(
        &self,
        _: Request<v1::InitProducerIdRequest>,
    ) -> Result<Response<v1::InitProducerIdResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        state.producers_given += 1;
        Ok(Response::new(v1::InitProducerIdResponse {
            producer_id: state.producers_given,
            producer_epoch: 0,
        }))
    }

    async fn produce_records(
        &self,
        _: Request<v1::ProduceRecordsRequest>,
    ) -> Result<Response<v1::ProduceRecordsResponse>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }

    async fn fetch_records(
        &self,
        _: Request<v1::FetchRecordsRequest>,
    ) -> Result<Response<v1::FetchRecordsResponse>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }
}

#[tonic::async_trait]
impl Topics for Service {
    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        let name = request.into_inner().name;
        if name == "missing" {
            return Err(v1::ErrorDetail::new(ErrorCode::UnknownTopicOrPartition, "no such topic").into());
        }
        let count = self.state.lock().unwrap().partitions;
        let partition = |partition| v1::PartitionDescription { partition, ..Default::default() };
        let partitions = (0..count).map(partition).collect();
        let topic = v1::TopicDescription { name, partitions, ..Default::default() };
        Ok(Response::new(v1::DescribeTopicResponse { topic: Some(topic) }))
    }

    async fn create_topic(
        &self,
        _: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn list_topics(
        &self,
        _: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        Ok(Response::new(v1::ListTopicsResponse::default()))
    }

    async fn alter_topic(
        &self,
        _: Request<v1::AlterTopicRequest>,
    ) -> Result<Response<v1::AlterTopicResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn delete_topic(
        &self,
        _: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn add_partitions(
        &self,
        _: Request<v1::AddPartitionsRequest>,
    ) -> Result<Response<v1::AddPartitionsResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn delete_records(
        &self,
        _: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }
}

#[tonic::async_trait]
impl Groups for Service {
    async fn commit_offsets(
        &self,
        request: Request<v1::CommitOffsetsRequest>,
    ) -> Result<Response<v1::CommitOffsetsResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        state.commits += 1;
        let request = request.into_inner();
        let mut results = Vec::new();
        for commit in request.offsets {
            state.committed.insert((request.group.clone(), commit.partition), commit.offset);
            results.push(v1::CommitResult::default());
        }
        Ok(Response::new(v1::CommitOffsetsResponse { results }))
    }

    async fn fetch_offsets(
        &self,
        request: Request<v1::FetchOffsetsRequest>,
    ) -> Result<Response<v1::FetchOffsetsResponse>, Status> {
        let state = self.state.lock().unwrap();
        let group = &request.get_ref().group;
        let of_group = state.committed.iter().filter(|((name, _), _)| name == group);
        let offset = |((_, partition), offset): (&(String, i32), &i64)| v1::CommittedOffset {
            topic: "orders".to_owned(),
            partition: *partition,
            offset: *offset,
            ..Default::default()
        };
        Ok(Response::new(v1::FetchOffsetsResponse { offsets: of_group.map(offset).collect() }))
    }

    async fn list_groups(
        &self,
        _: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn seek_group(
        &self,
        _: Request<v1::SeekGroupRequest>,
    ) -> Result<Response<v1::SeekGroupResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn delete_offsets(
        &self,
        _: Request<v1::DeleteOffsetsRequest>,
    ) -> Result<Response<v1::DeleteOffsetsResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }

    async fn delete_group(
        &self,
        _: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteGroupResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }
}
