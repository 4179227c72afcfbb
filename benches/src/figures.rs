//! Every figure of a run by its name: a limit is measured beside each subject that is compared with it, and
//! all its values make one series.

use crate::report::{Goal, Line};

/// What was measured, in the order in which it was first measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    lines: Vec<Line>,
}

impl Figures {
    /// Adds one value of the figure `what`.
    pub(crate) fn add(&mut self, what: &str, unit: &'static str, value: f64) {
        let line = match self.lines.iter_mut().find(|line| line.what == what) {
            Some(line) => line,
            None => {
                self.lines.push(Line::new(what, unit));
                let last = self.lines.len() - 1;
                let Some(line) = self.lines.get_mut(last) else { return };
                line
            }
        };
        line.series.push(value);
    }

    /// Says what the figure `what` must reach, as a multiple of the sum of the medians `against`, or by
    /// itself when that is empty.
    pub(crate) fn compare(&mut self, what: &str, against: &[&str], goal: Goal) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.what == what) {
            line.against = against.iter().map(|name| (*name).to_owned()).collect();
            line.goal = Some(goal);
        }
    }

    /// The median of the figure `what`; not a number when it was not measured.
    pub(crate) fn median(&self, what: &str) -> f64 {
        self.lines.iter().find(|line| line.what == what).map_or(f64::NAN, |line| line.series.median())
    }

    /// The lines in order.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }
}
