//! The Markdown table at the end: each figure with its goal and the limit it is a share of.

use std::fmt::Write as _;

use crate::stats::{Series, figure};

/// One line of the table.
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// The figures and their unit.
    pub(crate) series: Series,
    /// The unit of the figures.
    pub(crate) unit: &'static str,
    /// What the median is divided by, with its name.
    pub(crate) against: Option<(String, f64)>,
    /// What the ratio (or, without one, the median) has to reach.
    pub(crate) goal: Option<Goal>,
}

/// A goal for a ratio or a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At least this much.
    AtLeast(f64),
    /// At most this much.
    AtMost(f64),
}

impl Goal {
    fn text(self, value: f64) -> String {
        let (sign, bound, met) = match self {
            Self::AtLeast(bound) => ("≥", bound, value >= bound),
            Self::AtMost(bound) => ("≤", bound, value <= bound),
        };
        format!("{sign} {}: {}", figure(bound), if met { "met" } else { "missed" })
    }
}

/// The lines as a table.
pub(crate) fn markdown(lines: &[Line]) -> String {
    let mut out = String::from("| what | median [min..max] | unit | share of | ratio | goal |\n|---|---|---|---|---|---|\n");
    for line in lines {
        let ratio = line.against.as_ref().map(|(_, limit)| line.series.median() / limit);
        let goal = line.goal.map(|goal| goal.text(ratio.unwrap_or_else(|| line.series.median())));
        let row = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            line.what,
            line.series,
            line.unit,
            line.against.as_ref().map_or("", |(name, _)| name.as_str()),
            ratio.map_or_else(String::new, figure),
            goal.unwrap_or_default(),
        );
        debug_assert!(row.is_ok(), "writing to a string cannot fail");
    }
    out
}
