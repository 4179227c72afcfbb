//! DescribeClientQuotas (48): no client has a quota.

use std::sync::Arc;

use kafka_wire::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::context::{Call, Context};
use crate::wire::message;

pub(crate) async fn handle(
    _context: Arc<Context>,
    _call: Call,
    _request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    message!(DescribeClientQuotasResponse { entries: Some(Vec::new()) })
}
