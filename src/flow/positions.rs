//! A home for positions in the sink itself, so that they are committed with what was written.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::Lane;
use crate::error::Result;

/// Where a source's positions are kept when the source is not their home.
#[async_trait]
pub trait Positions: Send + Sync {
    /// Becomes the owner of these lanes: whoever was it before can commit no more. Returns where they go on; a lane
    /// that was never settled is missing.
    async fn claim(&self, lanes: &[Lane]) -> Result<BTreeMap<Lane, i64>>;

    /// Notes where lanes begin that were never settled.
    async fn begin(&self, starts: &[(Lane, i64)]) -> Result<()>;
}
