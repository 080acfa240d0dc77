//! Trying again: which errors, how often, how long.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// How long a service may be away before a run gives up; it may be run again later.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Repeats `call` while its error is transient, with growing pauses, until [`PATIENCE`] is over or `stop` has been
/// cancelled for [`GRACE`].
pub(crate) async fn patiently<T, F>(what: &str, stop: &CancellationToken, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .with_total_delay(Some(PATIENCE))
        .without_max_times();
    let attempts = (move || call())
        .retry(backoff)
        .when(Error::is_transient)
        .notify(|error: &Error, pause| tracing::warn!(%error, pause_seconds = pause.as_secs_f64(), "{what} failed; trying again"));
    tokio::select! {
        outcome = attempts => outcome,
        () = given_up(stop) => Err(Error::new(crate::error::Kind::Unavailable, format!("{what} did not succeed before the stop"))),
    }
}

/// How long a stopped run goes on trying to settle what it has.
const GRACE: Duration = Duration::from_secs(8);

async fn given_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
