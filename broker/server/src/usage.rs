//! A wrong command line in one line, instead of the paragraph that clap prints.
//!
//! **Invariant:** help and version are printed as clap prints them, and end with code 0.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong and where to read on.
pub(crate) fn one_line(error: &clap::Error) -> String {
    format!("{} (see `tidelog-broker --help`)", cause(error))
}

/// What clap found wrong, in one line without the remedy that the help page is.
fn cause(error: &clap::Error) -> String {
    let get = |kind| error.get(kind).map(ContextValue::to_string).filter(|text| !text.is_empty());
    let argument = get(ContextKind::InvalidArg).unwrap_or_else(|| "the command line".to_owned());
    let value = get(ContextKind::InvalidValue);
    let mut line = match (error.kind(), value) {
        (ErrorKind::UnknownArgument, _) => format!("unexpected argument '{argument}'"),
        (ErrorKind::InvalidSubcommand, _) => {
            format!("unknown command '{}'", get(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        (ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues, None) => {
            format!("{argument} needs a value")
        }
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooManyValues, Some(value)) => {
            format!("invalid value '{value}' for '{argument}'")
        }
        (ErrorKind::ArgumentConflict, _) => match get(ContextKind::PriorArg) {
            Some(prior) if prior != argument => format!("'{argument}' cannot be used with '{prior}'"),
            _ => format!("'{argument}' is given more than once"),
        },
        (ErrorKind::MissingRequiredArgument, _) => format!("missing: {argument}"),
        (ErrorKind::MissingSubcommand, _) => "missing: a command".to_owned(),
        (ErrorKind::InvalidUtf8, _) => "an argument is not valid UTF-8".to_owned(),
        (kind, _) => format!("{argument}: {kind}"),
    };
    if let Some(source) = std::error::Error::source(error) {
        line.push_str(&format!(": {source}"));
    } else if let Some(values) = get(ContextKind::ValidValue) {
        line.push_str(&format!(": use one of {values}"));
    }
    let suggested =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    if let Some(meant) = suggested.into_iter().find_map(get) {
        line.push_str(&format!("; did you mean '{meant}'?"));
    }
    line.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
