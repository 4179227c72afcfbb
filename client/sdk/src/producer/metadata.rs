//! Learning how many partitions a topic has and how large its batches may be.

use std::sync::Arc;

use tidelog_model::{TopicName, limits};
use tokio::time::Instant;

use super::accumulator::TopicInfo;
use super::shared::Shared;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};

impl Shared {
    /// Asks the broker about a topic, unless somebody did so since `asked`. Tries until the delivery timeout.
    pub(super) async fn learn(&self, topic: &TopicName, asked: Instant) -> Result<()> {
        let deadline = asked + self.settings.delivery_timeout;
        let learning = async {
            let _one = self.asking.lock().await;
            if self.state().accumulator.fetched_at(topic).is_some_and(|fetched| fetched > asked) {
                return Ok(());
            }
            self.ask_until(topic, deadline).await
        };
        // An answer has a timeout of its own; this one is for waiting behind somebody else's question.
        match tokio::time::timeout_at(deadline + self.settings.request_timeout, learning).await {
            Ok(result) => result,
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, format!("nothing learnt about topic {topic} in time")))
            }
        }
    }

    async fn ask_until(&self, topic: &TopicName, deadline: Instant) -> Result<()> {
        let (initial, max) = self.settings.backoff;
        let mut backoff = Backoff::new(initial, max);
        loop {
            let error = match self.ask(topic).await {
                Err(error) if error.is_retryable() => error,
                result => return result,
            };
            let now = Instant::now();
            if now >= deadline || self.state().closing {
                return Err(error);
            }
            let pause = backoff.next(rand::random()).max(error.retry_after().unwrap_or_default());
            tokio::time::sleep_until(deadline.min(now + pause)).await;
        }
    }

    async fn ask(&self, topic: &TopicName) -> Result<()> {
        let described = self.client.admin().describe_topic(topic.as_str()).await;
        if let Err(error) = &described
            && error.kind() == ErrorKind::NotFound
        {
            self.state().accumulator.forget_topic(topic);
        }
        let described = described?;
        let limit = described.config("max.message.bytes").and_then(|value| value.parse().ok());
        let info = TopicInfo {
            partitions: described.partitions.len(),
            batch_bytes_max: limit.unwrap_or(limits::BATCH_BYTES_MAX_DEFAULT),
            fetched_at: Instant::now(),
        };
        self.state().accumulator.set_topic(topic, info);
        Ok(())
    }

    /// Asks again in the background about a topic whose details are old.
    pub(super) fn refresh(self: &Arc<Self>, topic: &TopicName) {
        if std::mem::replace(&mut self.state().refreshing, true) {
            return;
        }
        let (shared, topic) = (Arc::clone(self), topic.clone());
        tokio::spawn(async move {
            // What is known stays in use when this fails; the next record tries again.
            if let Err(error) = shared.learn(&topic, Instant::now()).await {
                tracing::debug!(%topic, %error, "could not refresh a topic's details");
            }
            shared.state().refreshing = false;
        });
    }
}
