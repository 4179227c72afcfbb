//! `tidelog.v1.Log`: which call leads where.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tidelog_proto::v1::log_server::Log;
use tidelog_proto::v1::{
    FetchRecordsRequest, FetchRecordsResponse, FetchRequest, FetchResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRecordsRequest,
    ProduceRecordsResponse, ProduceRequest, ProduceResponse,
};
use tidelog_runtime::BrokerError;
use tonic::{Request, Response, Status, Streaming};

use crate::error::status;
use crate::fetch::{fetch_records, fetch_stream};
use crate::metrics::Api;
use crate::offsets::list_offsets;
use crate::produce::{produce_batches, produce_records, produce_stream};
use crate::services::Shared;

pub(crate) struct LogService(pub(crate) Arc<Shared>);

impl LogService {
    async fn observe<T>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<Response<T>, Status> {
        let call = async { call.await.map(Response::new).map_err(status) };
        self.0.metrics.observe(api, call).await
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Log for LogService {
    type ProduceStream = Responses<ProduceResponse>;
    type FetchStream = Responses<FetchResponse>;

    async fn produce(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let responses = produce_stream(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(Box::pin(responses)))
    }

    async fn produce_batches(
        &self,
        request: Request<ProduceRequest>,
    ) -> Result<Response<ProduceResponse>, Status> {
        self.observe(Api::ProduceBatches, produce_batches(&self.0, request.into_inner())).await
    }

    async fn produce_records(
        &self,
        request: Request<ProduceRecordsRequest>,
    ) -> Result<Response<ProduceRecordsResponse>, Status> {
        self.observe(Api::ProduceRecords, produce_records(&self.0, request.into_inner())).await
    }

    async fn init_producer_id(
        &self,
        _: Request<InitProducerIdRequest>,
    ) -> Result<Response<InitProducerIdResponse>, Status> {
        let given = async {
            let (id, epoch) = self.0.broker.init_producer_id()?;
            Ok(InitProducerIdResponse { producer_id: id.0, producer_epoch: epoch.0.into() })
        };
        self.observe(Api::InitProducerId, given).await
    }

    async fn fetch(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let responses = fetch_stream(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(Box::pin(responses)))
    }

    async fn fetch_records(
        &self,
        request: Request<FetchRecordsRequest>,
    ) -> Result<Response<FetchRecordsResponse>, Status> {
        self.observe(Api::FetchRecords, fetch_records(&self.0, request.into_inner())).await
    }

    async fn list_offsets(
        &self,
        request: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        self.observe(Api::ListOffsets, list_offsets(&self.0, request.into_inner())).await
    }
}
