//! Log lines go to standard error: text for a person, JSON for a program.

use std::io::IsTerminal as _;

use tidelog_broker::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging.
///
/// # Errors
/// When the filter is wrong or logging has been started before.
pub(crate) fn start(config: &Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.log_level)?)
        .with_writer(std::io::stderr)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
    let text = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if text { lines.try_init() } else { lines.json().flatten_event(true).try_init() }
}
