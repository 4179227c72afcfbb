//! Asking before something is destroyed.

use std::io::{self, BufRead, Write};

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// The flag that answers beforehand.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Confirm {
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Asks whether to do `what`; without a terminal, and without `--yes`, the answer is no.
    pub(crate) fn ask(self, context: &Context, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !context.can_ask() {
            let message = format!("will not {what} without being asked to");
            return Err(Failure::usage(message).with_help("add --yes"));
        }
        let mut stderr = io::stderr();
        let failed =
            |error: io::Error| Failure::failed(format!("cannot ask: {error}")).with_help("add --yes");
        write!(stderr, "{what}? [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        if is_yes(&answer) { Ok(()) } else { Err(Failure::failed("nothing was done")) }
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        assert!(
            [("y\n", true), ("YES\n", true), ("", false), ("yep\n", false), ("n\n", false)]
                .iter()
                .all(|(answer, expected)| is_yes(answer) == *expected)
        );
    }
}
