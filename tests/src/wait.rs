//! Waiting for a condition with a deadline: the one place of the tests where time passes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Looks at `condition` until it holds.
///
/// # Errors
/// Says `what` was waited for when `deadline` has passed, or the condition's own error.
pub fn wait_until(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > deadline {
            bail!("waited {deadline:?} in vain: {what}");
        }
        std::thread::sleep(STEP);
    }
    Ok(start.elapsed())
}

/// Lets `span` pass: for disturbances that come at a random moment and loads that come in bursts, never to
/// hope that something has happened by then.
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// As [`pause`], for tasks.
pub async fn let_pass(span: Duration) {
    tokio::time::sleep(span).await;
}
