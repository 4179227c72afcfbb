//! From a request to whoever answers it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use kafka_wire_core::{KafkaDecode, KafkaEncode};
use thiserror::Error;
use tidelog_runtime::{AdmitPermit, BrokerError};

use crate::api;
use crate::api::produce::NotBegun;
use crate::context::{Call, Context};
use crate::frame::Frame;
use crate::header::{self, HeaderError, RequestHead};
use crate::response::Response;
use crate::stats::{Counted, OpenRequest};
use crate::versions::{
    self, API_VERSIONS, Api, FETCH, INIT_PRODUCER_ID, LIST_OFFSETS, METADATA, OFFSET_FOR_LEADER_EPOCH,
    PRODUCE,
};
use crate::wire::{self, WireError};

/// The largest body of an API whose schema is generated: decoded, it takes many times its size.
const COLD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a connection is closed over a request. The protocol has no answer for these.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Header(#[from] HeaderError),
    #[error("there is no API {key} here")]
    UnknownApi { key: i16 },
    #[error("{name} is served in versions {min} to {max}, not {version}")]
    Version { name: &'static str, version: i16, min: i16, max: i16 },
    #[error("a {name} request of version {version} is broken: {error}")]
    Body { name: &'static str, version: i16, error: WireError },
    #[error("a {name} request has {actual} bytes, at most {limit} are allowed")]
    TooLarge { name: &'static str, actual: usize, limit: usize },
    #[error("a {name} request was not begun: {error}")]
    NotBegun { name: &'static str, error: BrokerError },
    #[error("a request that wants no answer failed: {reason}")]
    Unanswered { reason: String },
    #[error("the answer to a {name} request cannot be encoded: {error}")]
    Answer { name: &'static str, error: WireError },
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer.
    Answer(Response),
    /// The client wants no answer.
    None,
}

/// The rest of a request's life: resolves when it can be answered.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<Outcome, Refused>> + Send>>;

/// A request that was begun.
pub(crate) struct Begun {
    pub(crate) correlation_id: i32,
    pub(crate) flexible_header: bool,
    pub(crate) pending: Counted,
}

/// Begins a request. What must happen in the order of requests, appending, has happened when this returns;
/// everything else happens when the answer is waited for.
pub(crate) async fn begin(context: &Arc<Context>, frame: Frame) -> Result<Begun, Refused> {
    let Frame { mut bytes, permit } = frame;
    let head = header::take_head(&mut bytes)?;
    let key = head.api_key;
    let api = versions::find(key).ok_or(Refused::UnknownApi { key })?;
    let open = OpenRequest::new(Arc::clone(&context.shared.stats), api);
    match begin_api(context, api, &head, bytes, permit).await {
        Ok((pending, flexible_header)) => {
            let (correlation_id, pending) = (head.correlation_id, Counted::new(pending, open));
            Ok(Begun { correlation_id, flexible_header, pending })
        }
        Err(refused) => {
            open.refused();
            Err(refused)
        }
    }
}

/// Begins a request of a known API. Returns what resolves to its answer, and whether that has a flexible header.
async fn begin_api(
    context: &Arc<Context>,
    api: &'static Api,
    head: &RequestHead,
    mut bytes: Bytes,
    permit: Option<AdmitPermit>,
) -> Result<(Pending, bool), Refused> {
    let (key, version) = (head.api_key, head.api_version);
    if key == API_VERSIONS && !(api.min..=api.max).contains(&version) {
        // The body is of a form that is not known here, so it is not looked at.
        let answer = encode(api, &api::api_versions::unsupported(), 0);
        let pending: Pending = Box::pin(async move { answer });
        return Ok((pending, false));
    }
    if !(api.min..=api.max).contains(&version) {
        return Err(Refused::Version { name: api.name, version, min: api.min, max: api.max });
    }
    let client_id = header::take_client_id(&mut bytes, api.is_flexible(version))?;
    let call = Call { version, client_id };
    let pending = if key == PRODUCE {
        // Its batches keep their shares of the permit until they are committed.
        begin_produce(api, context, &call, bytes, permit).await?
    } else {
        drop(permit);
        route(api, Arc::clone(context), call, bytes)?
    };
    Ok((pending, api.has_flexible_response_header(version)))
}

/// A request that waits for its turn to be answered.
fn route(api: &'static Api, context: Arc<Context>, call: Call, body: Bytes) -> Result<Pending, Refused> {
    Ok(match api.key {
        FETCH => fetch(api, context, call, body),
        LIST_OFFSETS => cold(api, context, call, body, api::list_offsets::handle),
        OFFSET_FOR_LEADER_EPOCH => cold(api, context, call, body, api::offset_for_leader_epoch::handle),
        METADATA => cold(api, context, call, body, api::metadata::handle),
        INIT_PRODUCER_ID => cold(api, context, call, body, api::init_producer_id::handle),
        API_VERSIONS => cold(api, context, call, body, api::api_versions::handle),
        _ => api::admin::route(api, context, call, body)?,
    })
}

async fn begin_produce(
    api: &'static Api,
    context: &Context,
    call: &Call,
    body: Bytes,
    permit: Option<AdmitPermit>,
) -> Result<Pending, Refused> {
    let (name, version) = (api.name, call.version);
    api::produce::begin(context, call, body, permit).await.map_err(|failed| match failed {
        NotBegun::Body(error) => Refused::Body { name, version, error },
        NotBegun::Refused(error) => Refused::NotBegun { name, error },
    })
}

fn fetch(api: &'static Api, context: Arc<Context>, call: Call, body: Bytes) -> Pending {
    Box::pin(async move {
        let (name, version) = (api.name, call.version);
        let answer = api::fetch::handle(context, call, body).await;
        answer.map(Outcome::Answer).map_err(|error| Refused::Body { name, version, error })
    })
}

/// A request of a generated schema: decoded, handled and encoded when its turn to be answered comes.
pub(crate) fn cold<Q, A, H, F>(
    api: &'static Api,
    context: Arc<Context>,
    call: Call,
    body: Bytes,
    handle: H,
) -> Pending
where
    Q: KafkaDecode + Send + 'static,
    A: KafkaEncode + Send + 'static,
    H: FnOnce(Arc<Context>, Call, Q) -> F + Send + 'static,
    F: Future<Output = A> + Send + 'static,
{
    Box::pin(async move {
        let (name, version) = (api.name, call.version);
        if body.len() > COLD_BYTES_MAX {
            return Err(Refused::TooLarge { name, actual: body.len(), limit: COLD_BYTES_MAX });
        }
        let request = wire::decode(body, version).map_err(|error| Refused::Body { name, version, error })?;
        let answer = handle(context, call, request).await;
        encode(api, &answer, version)
    })
}

fn encode<A: KafkaEncode>(api: &'static Api, answer: &A, version: i16) -> Result<Outcome, Refused> {
    let encoded = wire::encode(answer, version);
    encoded.map(Outcome::Answer).map_err(|error| Refused::Answer { name: api.name, error })
}
