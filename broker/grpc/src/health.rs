//! The standard health service, kept in step with the broker's own health.

use std::time::Duration;

use tidelog_runtime::Broker;
use tokio::time::{MissedTickBehavior, interval};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::drain::Drain;

/// How often the broker's health is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The names the health service answers for; the empty one is the whole broker.
const NAMES: [&str; 5] =
    ["", "tidelog.v1.Log", "tidelog.v1.Topics", "tidelog.v1.Groups", "tidelog.v1.Membership"];

/// Tells the health service what the broker's health is.
#[derive(Debug)]
pub struct HealthUpdater {
    broker: Broker,
    drain: Drain,
    reporter: HealthReporter,
}

impl HealthUpdater {
    pub(crate) fn new(broker: Broker, drain: Drain) -> (Self, HealthServer<impl Health>) {
        let (reporter, server) = tonic_health::server::health_reporter();
        (Self { broker, drain, reporter }, server)
    }

    /// Keeps the health service true until the drain starts; then it answers NOT_SERVING and lets its
    /// watchers go, whose streams would otherwise keep connections open.
    pub async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            tokio::select! {
                // The end comes before another look.
                biased;
                () = self.drain.started() => break,
                _ = looks.tick() => {}
            }
            let ready = self.broker.health().ready;
            if told.replace(ready) != Some(ready) {
                let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                self.tell(status).await;
            }
        }
        self.tell(ServingStatus::NotServing).await;
        for name in NAMES {
            self.reporter.clear_service_status(name).await;
        }
    }

    async fn tell(&self, status: ServingStatus) {
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
