//! `tidelog replay`: reads ranges of topics again and writes what passes a filter somewhere.
//!
//! ```text
//! args ─▶ plan (ranges, fixed) ─▶ source ─▶ filter ─▶ pace ─▶ sink (stdout, file, topic)
//!                                    │                          │ confirmed
//!                                    └────────▶ ledger ◀────────┘ ─▶ checkpoint, counts
//! ```
//!
//! `filter`, `plan`, `ledger` and `checkpoint` hold the rules and do not know the broker; `run` is the loop.

mod args;
mod checkpoint;
mod filter;
mod job;
mod json_path;
mod ledger;
mod plan;
mod progress;
mod report;
mod run;
mod sink;
mod source;

pub(crate) use args::ReplayArgs;
pub(crate) use job::run;
