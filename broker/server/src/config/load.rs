//! Putting the configuration together: which file is read, and what overrides what.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::keys::TOPIC_DEFAULTS;
use super::{Config, ConfigError, Source};

/// Where data goes when nobody says otherwise.
const DATA_DIR: &str = "./tidelog-data";
/// Files that are read when they exist and none is named.
const FILES: [&str; 2] = ["./tidelog.toml", "/etc/tidelog/tidelog.toml"];
/// Environment variables of this prefix set keys.
const PREFIX: &str = "TIDELOG_";
/// Names the file, like `--config`.
const FILE_VARIABLE: &str = "TIDELOG_CONFIG";

/// What the configuration is made of, beside the defaults.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// Keys set by flags: the key, the value, and the flag as the user wrote it.
    pub flags: Vec<(String, String, String)>,
}

/// Defaults, then the file, then the environment, then flags.
///
/// # Errors
/// [`ConfigError`] names the first place that is wrong.
pub fn load(inputs: &Inputs) -> Result<Config, ConfigError> {
    let mut config = Config::new(DATA_DIR);
    if let Some(path) = choose_file(inputs) {
        read_file(&mut config, &path)?;
    }
    // Sorted, so that the same environment always complains about the same variable first.
    let mut env: Vec<(&str, &OsString)> =
        inputs.env.iter().filter_map(|(name, value)| Some((name.to_str()?, value))).collect();
    env.sort_unstable();
    for (name, value) in env {
        set_from_env(&mut config, name, value)?;
    }
    for (key, value, flag) in &inputs.flags {
        config.set(key, value, Source::Flag(flag.clone()))?;
    }
    config.check_timeouts()?;
    Ok(config)
}

fn choose_file(inputs: &Inputs) -> Option<PathBuf> {
    let named = inputs.env.iter().find(|(name, _)| name.to_str() == Some(FILE_VARIABLE));
    let named = named.map(|(_, path)| PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
    let found = || FILES.iter().map(PathBuf::from).find(|path| path.exists());
    inputs.file.clone().or(named).or_else(found)
}

fn read_file(config: &mut Config, path: &Path) -> Result<(), ConfigError> {
    let at = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(format!("cannot read the configuration file {at} (--config): {error}"))
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = 1 + error.span().map_or(0, |span| newlines_before(&text, span.start));
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError::new(format!("{at} is not TOML: line {line}: {what}"))
    })?;
    for (section, value) in &table {
        match value {
            toml::Value::Table(keys) => set_table(config, section, keys, path)?,
            _ => set_value(config, section, value, path)?,
        }
    }
    Ok(())
}

fn newlines_before(text: &str, end: usize) -> usize {
    text.bytes().take(end).filter(|byte| *byte == b'\n').count()
}

/// Walks a table; dots in a key that is not quoted make tables too, as in `retention.ms = 1`.
fn set_table(config: &mut Config, prefix: &str, table: &toml::Table, path: &Path) -> Result<(), ConfigError> {
    for (key, value) in table {
        let name = format!("{prefix}.{key}");
        match value {
            toml::Value::Table(inner) => set_table(config, &name, inner, path)?,
            _ => set_value(config, &name, value, path)?,
        }
    }
    Ok(())
}

fn set_value(config: &mut Config, name: &str, value: &toml::Value, path: &Path) -> Result<(), ConfigError> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            let at = path.display();
            let what = "write a string, a number or a boolean";
            return Err(ConfigError::new(format!("{name}: {what} (file {at})")));
        }
    };
    config.set(name, &text, Source::File(path.to_owned()))
}

/// `TIDELOG_API__ADDR` is `api.addr`; `TIDELOG_TOPICS__DEFAULTS__RETENTION_MS` is the topic default
/// `retention.ms`. Variables without a double underscore belong to others.
fn set_from_env(config: &mut Config, variable: &str, value: &OsString) -> Result<(), ConfigError> {
    let Some(name) = variable.strip_prefix(PREFIX).filter(|name| name.contains("__")) else {
        return Ok(());
    };
    let name = name.to_ascii_lowercase().replace("__", ".");
    let name = match name.strip_prefix(TOPIC_DEFAULTS) {
        Some(topic_key) => format!("{TOPIC_DEFAULTS}{}", topic_key.replace('_', ".")),
        None => name,
    };
    let Some(value) = value.to_str() else {
        return Err(ConfigError::new(format!("{variable} is not UTF-8")));
    };
    config.set(&name, value, Source::Env(variable.to_owned()))
}
