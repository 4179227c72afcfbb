//! What the API's listener answers besides gRPC: `/metrics`, `/livez`, `/readyz`, and where things are.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tidelog_grpc::Drain;
use tidelog_runtime::Broker;
use tonic::Status;
use tonic::service::Routes;

use crate::metrics::MetricsPage;

const INDEX: &str = concat!(
    "Tidelog ",
    env!("CARGO_PKG_VERSION"),
    "\n\n\
     gRPC      package tidelog.v1, with reflection and health, over HTTP/2 on this port\n\
     /metrics  for Prometheus\n\
     /livez    200 while the process serves\n\
     /readyz   200 while clients should be sent here; names what an operator should look at\n"
);

#[derive(Clone)]
struct Shared {
    broker: Broker,
    drain: Drain,
    metrics: Arc<MetricsPage>,
}

/// All routes of the API's listener.
pub(crate) fn routes(grpc: Routes, broker: Broker, drain: Drain, metrics: Arc<MetricsPage>) -> Routes {
    let pages = Router::new()
        .route("/", get(async || INDEX))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Shared { broker, drain, metrics });
    Routes::from(grpc.into_axum_router().fallback(unknown).merge(pages))
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    let health = shared.broker.health();
    let draining = shared.drain.is_started();
    let ready = health.ready && !draining;
    let mut text = if ready { "ready\n" } else { "not ready\n" }.to_owned();
    if draining {
        text.push_str("the broker is asked to stop\n");
    }
    for problem in health.problems {
        text.push_str(&problem);
        text.push('\n');
    }
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn metrics_page(State(shared): State<Shared>) -> Response {
    let page = Arc::clone(&shared.metrics);
    // It reads /proc and walks all partitions.
    match tokio::task::spawn_blocking(move || page.render()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, MetricsPage::CONTENT_TYPE)], text).into_response(),
        Ok(Err(std::fmt::Error)) | Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response()
        }
    }
}

/// A gRPC client gets a gRPC answer, everybody else one that a person can read.
async fn unknown(headers: HeaderMap) -> Response {
    let grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    if headers.get(header::CONTENT_TYPE).is_some_and(grpc) {
        let status = Status::unimplemented("there is no such call: reflection lists those there are");
        return status.into_http::<axum::body::Body>();
    }
    (StatusCode::NOT_FOUND, "there is nothing here: / says what is where\n").into_response()
}
