//! A member of a classic group.

use bytes::Bytes;

use super::image::MemberImage;
use crate::group::api::{GroupProtocol, JoinGroup};
use crate::group::groups::Token;

/// What a member weighs beside its texts, in bytes.
const FIXED_BYTES: usize = 256;

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<GroupProtocol>,
    pub(super) assignment: Bytes,
    /// Its request to join that waits for the generation.
    pub(super) join: Option<Token>,
    /// Its request to sync that waits for the leader.
    pub(super) sync: Option<Token>,
    /// Whether it has not been in a generation yet.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn new(request: JoinGroup) -> Self {
        Self {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms.unwrap_or(request.session_timeout_ms),
            protocols: request.protocols,
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
        }
    }

    pub(super) fn update(&mut self, request: JoinGroup) {
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms.unwrap_or(request.session_timeout_ms);
        self.protocols = request.protocols;
    }

    /// What it told for a protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|offered| Some(offered.name.as_str()) == protocol);
        found.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// What it weighs, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let texts = [self.client_id.len(), self.client_host.len(), self.assignment.len()];
        let own: usize = texts.into_iter().fold(FIXED_BYTES, usize::saturating_add);
        own.saturating_add(protocol_bytes(&self.protocols))
    }

    pub(super) fn image(&self, member_id: &str) -> MemberImage {
        MemberImage {
            member_id: member_id.to_owned(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocols: self.protocols.clone(),
            assignment: self.assignment.clone(),
        }
    }
}

impl From<MemberImage> for Member {
    fn from(image: MemberImage) -> Self {
        Self {
            instance_id: image.instance_id,
            client_id: image.client_id,
            client_host: image.client_host,
            session_timeout_ms: image.session_timeout_ms,
            rebalance_timeout_ms: image.rebalance_timeout_ms,
            protocols: image.protocols,
            assignment: image.assignment,
            join: None,
            sync: None,
            is_new: false,
        }
    }
}

/// What protocols weigh, in bytes.
pub(super) fn protocol_bytes(protocols: &[GroupProtocol]) -> usize {
    protocols.iter().fold(0, |sum, protocol| {
        sum.saturating_add(protocol.name.len()).saturating_add(protocol.metadata.len())
    })
}
