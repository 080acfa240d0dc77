//! A transaction that is tried until it is committed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::retry::patiently;

/// Repeats `attempt` while the server is away or breaks its transaction off, the latter `max_retries` times. Returns
/// what it gives, and how often it was broken off.
///
/// # Errors
/// Whatever else the attempt fails with.
pub async fn until_committed<T, F>(
    what: &str,
    max_retries: u32,
    stop: &CancellationToken,
    attempt: impl Fn() -> F,
) -> Result<(T, u32)>
where
    F: Future<Output = Result<T>>,
{
    let mut broken_off = 0;
    loop {
        match patiently(what, stop, &attempt).await {
            Ok(done) => return Ok((done, broken_off)),
            Err(error) if error.kind() == Kind::Aborted && broken_off < max_retries => {
                broken_off += 1;
                tracing::warn!(%error, attempt = broken_off, "the transaction was broken off; trying again");
                tokio::time::sleep(pause(broken_off)).await;
            }
            Err(error) if error.kind() == Kind::Aborted => {
                return Err(Error::new(Kind::Unavailable, error.to_string())
                    .hint("Nothing is lost. Who else writes to these tables? max_retries allows more tries."));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Grows, and differs between those that stand in each other's way.
fn pause(attempt: u32) -> Duration {
    let most = 20_u64 << attempt.min(7);
    let jitter = u64::from(chrono::Utc::now().timestamp_subsec_nanos()) % most;
    Duration::from_millis(most / 2 + jitter)
}
