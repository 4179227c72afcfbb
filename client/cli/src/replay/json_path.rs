//! A test of one place in a JSON value: `.user.id=42`, or `.user.id` for any value there but null.
//!
//! A path is a run of `.name` and `[index]`. What stands behind the `=` is compared as JSON when it reads as
//! such, else as a string; a number equals any spelling of it.

use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

/// A text that is not a JSON test.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("--json {text:?} is not a test: use .path.to[0].field or .path=VALUE")]
pub(crate) struct JsonTestError {
    /// The text.
    text: String,
}

/// What a place in a JSON value must hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonTest {
    path: Vec<Step>,
    /// `None`: anything but null.
    wanted: Option<Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

impl FromStr for JsonTest {
    type Err = JsonTestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, wanted) = match text.split_once('=') {
            Some((path, wanted)) => (path, Some(wanted)),
            None => (text, None),
        };
        let path = steps(path.trim()).ok_or_else(|| JsonTestError { text: text.to_owned() })?;
        let value = |text: &str| {
            serde_json::from_str(text.trim()).unwrap_or_else(|_| Value::String(text.trim().to_owned()))
        };
        Ok(Self { path, wanted: wanted.map(value) })
    }
}

fn steps(mut rest: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        } else {
            let name = rest.strip_prefix('.')?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            // A lone dot is the whole value.
            if name.is_empty() && !(after.is_empty() || after.starts_with('[')) {
                return None;
            }
            if !name.is_empty() {
                steps.push(Step::Name(name.to_owned()));
            }
            rest = after;
        }
    }
    Some(steps)
}

impl JsonTest {
    /// Whether these bytes are JSON with such a value at the place.
    pub(crate) fn passes(&self, bytes: &[u8]) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
        let found = self.path.iter().try_fold(&value, |at, step| match step {
            Step::Name(name) => at.get(name),
            Step::Index(index) => at.get(index),
        });
        match (found, &self.wanted) {
            (Some(found), Some(wanted)) => equal(found, wanted),
            (Some(found), None) => !found.is_null(),
            (None, _) => false,
        }
    }
}

fn equal(found: &Value, wanted: &Value) -> bool {
    if found == wanted {
        return true;
    }
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => {
            // Integers were compared exactly above; 42 and 42.0 are the same number all the same.
            (found.is_f64() || wanted.is_f64()) && found.as_f64() == wanted.as_f64()
        }
        // An id is written without quotes on the command line, whether it is a number or a string.
        (Value::String(found), Value::Number(wanted)) => *found == wanted.to_string(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "json_path_tests.rs"]
mod tests;
