//! The services together: what they share, and the routes that serve them.

use std::sync::Arc;

use tidelog_proto::FILE_DESCRIPTOR_SET;
use tidelog_proto::v1::dlq_server::DlqServer;
use tidelog_proto::v1::group_admin_server::GroupAdminServer;
use tidelog_proto::v1::groups_server::GroupsServer;
use tidelog_proto::v1::log_server::LogServer;
use tidelog_proto::v1::membership_server::MembershipServer;
use tidelog_proto::v1::queue_server::QueueServer;
use tidelog_proto::v1::topics_server::TopicsServer;
use tidelog_runtime::Broker;
use tonic::service::Routes;

use crate::dlq::DlqService;
use crate::drain::Drain;
use crate::group_admin::GroupAdminService;
use crate::groups::GroupsService;
use crate::health::HealthUpdater;
use crate::limits::Limits;
use crate::log::LogService;
use crate::membership::MembershipService;
use crate::metrics::ApiMetrics;
use crate::queue::QueueService;
use crate::round_robin::RoundRobin;
use crate::topics::TopicsService;

/// What every service needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) limits: Limits,
    pub(crate) drain: Drain,
    pub(crate) metrics: ApiMetrics,
    pub(crate) round_robin: RoundRobin,
}

/// The gRPC services of one broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services(Arc<Shared>);

impl Services {
    /// Serves `broker` until `drain` starts.
    #[must_use]
    pub fn new(broker: Broker, limits: Limits, drain: Drain) -> Self {
        let (metrics, round_robin) = (ApiMetrics::default(), RoundRobin::default());
        Self(Arc::new(Shared { broker, limits, drain, metrics, round_robin }))
    }

    /// What was counted of the calls.
    #[must_use]
    pub fn metrics(&self) -> &ApiMetrics {
        &self.0.metrics
    }

    /// The routes of all services, reflection and health included, and what keeps the health service true.
    ///
    /// # Errors
    /// When the compiled descriptors are broken, which is a fault of the build.
    pub fn routes(&self) -> Result<(Routes, HealthUpdater), tonic_reflection::server::Error> {
        let shared = &self.0;
        let (bulk, control) = (shared.limits.request_bytes_max, shared.limits.control_request_bytes_max);
        let topics = TopicsServer::new(TopicsService(Arc::clone(shared))).max_decoding_message_size(control);
        let groups = GroupsServer::new(GroupsService(Arc::clone(shared))).max_decoding_message_size(control);
        let membership =
            MembershipServer::new(MembershipService(Arc::clone(shared))).max_decoding_message_size(control);
        let queue = QueueServer::new(QueueService(Arc::clone(shared))).max_decoding_message_size(control);
        let admin =
            GroupAdminServer::new(GroupAdminService(Arc::clone(shared))).max_decoding_message_size(control);
        let dlq = DlqServer::new(DlqService(Arc::clone(shared))).max_decoding_message_size(control);
        let log = LogServer::new(LogService(Arc::clone(shared))).max_decoding_message_size(bulk);
        let (updater, health) = HealthUpdater::new(shared.broker.clone(), shared.drain.clone());
        let routes = Routes::new(log)
            .add_service(topics)
            .add_service(groups)
            .add_service(membership)
            .add_service(queue)
            .add_service(admin)
            .add_service(dlq)
            .add_service(health)
            .add_service(reflection().build_v1()?)
            // grpcurl and others still ask for the older name first.
            .add_service(reflection().build_v1alpha()?);
        Ok((routes, updater))
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
