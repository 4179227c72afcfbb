//! Why a part of a request failed: the code, and a line for people where the version has a place for one.

use tidelog_runtime::BrokerError;

use crate::error::KafkaError;
use crate::wire::StrBytes;

/// The longest text, in characters: before the flexible versions a string has a length of 15 bits.
const TEXT_MAX: usize = 1_000;

/// A code and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: KafkaError,
    text: String,
}

impl Failure {
    pub(crate) fn new(error: KafkaError, text: impl Into<String>) -> Self {
        Self { error, text: text.into() }
    }

    /// The code on the wire.
    pub(crate) const fn code(&self) -> i16 {
        self.error.code()
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text on the wire.
    pub(crate) fn message(&self) -> Option<StrBytes> {
        Some(self.text.chars().take(TEXT_MAX).collect::<String>().into())
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::new(error.code.into(), error.message)
    }
}

/// The code and the text of an outcome.
pub(crate) fn outcome<T>(result: &Result<T, Failure>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (KafkaError::NONE.code(), None),
        Err(failure) => (failure.code(), failure.message()),
    }
}
