//! The signal that the broker is about to stop: long-lived streams end when they see it.

use tokio::sync::watch;

/// Turns the drain on, once.
#[derive(Debug)]
pub struct DrainSwitch(watch::Sender<bool>);

/// Tells whether the drain is on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

impl DrainSwitch {
    /// A switch that is off, and what it switches.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Drain(receiver))
    }

    /// Asks all streams to end.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether streams should end now.
    #[must_use]
    pub fn is_started(&self) -> bool {
        *self.0.borrow()
    }

    /// Ready when streams should end; also when the switch is gone.
    pub async fn started(&mut self) {
        // An error means that the switch was dropped with its server: nothing is left to serve either way.
        let _gone = self.0.wait_for(|on| *on).await.is_err();
    }
}
