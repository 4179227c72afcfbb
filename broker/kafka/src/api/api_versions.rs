//! ApiVersions (18): what this broker speaks. The first thing most clients ask.
//!
//! * A version that is not known here is answered in the form of version 0, with UNSUPPORTED_VERSION and the
//!   versions of this API, so that the client can ask again.
//! * v3+: the features that are on; the client names its software; a name that breaks the rules is INVALID_REQUEST (KIP-511).

use std::sync::Arc;

use kafka_wire::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse};

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::versions::{API_VERSIONS, APIS, Api};
use crate::wire::message;

/// The feature that tells clients that groups of the consumer protocol are served (KIP-848), and its level.
const GROUP_VERSION: (&str, i16) = ("group.version", 1);

pub(crate) async fn handle(
    _context: Arc<Context>,
    call: Call,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let named = call.version < 3
        || (is_software_word(&request.client_software_name)
            && is_software_word(&request.client_software_version));
    if !named {
        return message!(ApiVersionsResponse { error_code: KafkaError::INVALID_REQUEST.code() });
    }
    let (name, level) = GROUP_VERSION;
    let supported = message!(SupportedFeatureKey { name: name.into(), max_version: level });
    let finalized = message!(FinalizedFeatureKey {
        name: name.into(),
        max_version_level: level,
        min_version_level: level,
    });
    message!(ApiVersionsResponse {
        api_keys: APIS.iter().map(row).collect(),
        supported_features: vec![supported],
        finalized_features_epoch: 1,
        finalized_features: vec![finalized],
    })
}

/// The answer to a version that is not known.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    let own = APIS.iter().filter(|api| api.key == API_VERSIONS);
    message!(ApiVersionsResponse {
        error_code: KafkaError::UNSUPPORTED_VERSION.code(),
        api_keys: own.map(row).collect(),
    })
}

fn row(api: &Api) -> ApiVersion {
    message!(ApiVersion { api_key: api.key, min_version: api.told_min, max_version: api.max })
}

/// Letters and digits, with dashes and dots inside.
fn is_software_word(word: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = word.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner)
}

#[cfg(test)]
#[path = "api_versions_tests.rs"]
mod tests;
