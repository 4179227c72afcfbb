//! How far a replay has come, on standard error: a bar with an estimate of the time left, or a line every few
//! seconds.

use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidelog_client::Timestamp;

use super::args::ProgressMode;
use super::ledger::{Counts, Ledger};
use crate::context::{self, Context};
use crate::envelope;

/// How often a line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
const BAR: &str = "{prefix} {bar:20} {percent}%  {human_pos}/{human_len}  ETA {eta}  {msg}";

/// Shows how far a replay has come.
pub(super) struct Progress {
    shown: Shown,
    /// The timestamp of the last record that passed.
    at: Option<Timestamp>,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines { name: String, started: Instant, next: Instant, before: u64 },
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Progress {
    /// Shows the progress of a replay; `data_on_terminal` when a bar would get between the records.
    pub(super) fn new(
        mode: ProgressMode,
        context: &Context,
        name: &str,
        ledger: &Ledger,
        data_on_terminal: bool,
    ) -> Self {
        let before = ledger.total().read;
        let lines = || {
            let started = Instant::now();
            Shown::Lines { name: name.to_owned(), started, next: started + LINE_INTERVAL, before }
        };
        let drawn = context.stderr_is_terminal() && !data_on_terminal;
        let shown = match mode {
            _ if context.is_quiet() => Shown::Nothing,
            ProgressMode::None => Shown::Nothing,
            ProgressMode::Auto if drawn => bar(name, ledger, before),
            ProgressMode::Auto => Shown::Nothing,
            ProgressMode::Bar => bar(name, ledger, before),
            ProgressMode::Plain => lines(),
        };
        Self { shown, at: None }
    }

    /// A record of this time passes.
    pub(super) const fn at(&mut self, timestamp: Timestamp) {
        self.at = Some(timestamp);
    }

    /// Shows what there is to show.
    pub(super) fn show(&mut self, ledger: &Ledger) {
        let at = self.at.and_then(envelope::rfc3339);
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                let counts = ledger.total();
                bar.set_position(counts.read);
                let told = told(counts, at.as_deref());
                bar.set_message(format!("{:.0}/s  {told}", bar.per_sec()));
            }
            Shown::Lines { name, started, next, before } => {
                let now = Instant::now();
                if now < *next {
                    return;
                }
                *next = now + LINE_INTERVAL;
                let (counts, offsets) = (ledger.total(), ledger.offsets());
                let pace =
                    Pace { done: counts.read - *before, left: offsets - counts.read, in_: now - *started };
                let told = told(counts, at.as_deref());
                let read = HumanCount(counts.read);
                context::warn(format_args!("{name} {read}/{}  {told}  {pace}", HumanCount(offsets)));
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &str, ledger: &Ledger, before: u64) -> Shown {
    let bar = ProgressBar::with_draw_target(Some(ledger.offsets()), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_prefix(name.to_owned());
    // What an earlier run did says nothing about the speed of this one.
    bar.set_position(before);
    bar.reset_eta();
    Shown::Bar(bar)
}

fn told(counts: Counts, at: Option<&str>) -> String {
    let matched = format!("matched {}", HumanCount(counts.matched));
    at.map_or_else(|| matched.clone(), |at| format!("{matched}  at {at}"))
}

/// How fast it goes and how long it will take at this speed.
struct Pace {
    done: u64,
    left: u64,
    in_: Duration,
}

impl fmt::Display for Pace {
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = self.done as f64 / self.in_.as_secs_f64().max(1e-3);
        write!(f, "{per_second:.0}/s")?;
        let left = Duration::try_from_secs_f64(self.left as f64 / per_second);
        match left {
            Ok(left) => write!(f, "  ETA {}s", left.as_secs()),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
