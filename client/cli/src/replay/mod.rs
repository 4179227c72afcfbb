//! `tidelog replay`: reads ranges of topics again and writes what passes a filter somewhere.

mod checkpoint;
mod filter;
mod json_path;
mod ledger;
mod plan;
