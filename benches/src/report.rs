//! The Markdown table at the end: each figure with its goal and the limit it is a share of.

use std::fmt::Write as _;

use crate::figures::Figures;
use crate::stats::{Series, figure};

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// The figures.
    pub(crate) series: Series,
    /// The unit of the figures.
    pub(crate) unit: &'static str,
    /// The figures whose medians, added up, the median is divided by.
    pub(crate) against: Vec<String>,
    /// What the ratio (or, without one, the median) has to reach.
    pub(crate) goal: Option<Goal>,
}

impl Line {
    /// A line without values.
    pub(crate) fn new(what: &str, unit: &'static str) -> Self {
        Self { what: what.to_owned(), series: Series::new(), unit, against: Vec::new(), goal: None }
    }
}

/// A goal for a ratio or a figure.
#[derive(Debug, Clone, Copy)]
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
        format!("{sign} {}: {}", figure(bound), if met { "met" } else { "**missed**" })
    }
}

/// The figures as a table.
pub(crate) fn markdown(figures: &Figures) -> String {
    let mut out =
        String::from("| what | median [min..max] | compared with | ratio | goal |\n|---|---|---|---|---|\n");
    for line in figures.lines() {
        let limit: f64 = line.against.iter().map(|name| figures.median(name)).sum();
        let ratio = (!line.against.is_empty()).then(|| line.series.median() / limit);
        let goal = line.goal.map(|goal| goal.text(ratio.unwrap_or_else(|| line.series.median())));
        let row = writeln!(
            out,
            "| {} | {} {} | {} | {} | {} |",
            line.what,
            line.series,
            line.unit,
            line.against.join(" + "),
            ratio.map_or_else(String::new, figure),
            goal.unwrap_or_default(),
        );
        debug_assert!(row.is_ok(), "writing to a string cannot fail");
    }
    out
}
