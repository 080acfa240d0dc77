//! A topic into a database, until the end: positions are the database's, and partitions may move at any time.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Kafka;
use crate::error::{Error, Kind, Result};
use crate::flow::{Ended, Policy, Sink, Until, drive_for};
use crate::kafka::{Records, SourceSettings, TopicSource};
use crate::sql::PositionTable;
use crate::stats::Stats;

/// Joins the group again where another process has taken a partition over that is still ours by the group.
pub(super) async fn load_until(
    settings: SourceSettings,
    kafka: &Kafka,
    sink: &mut impl Sink<Batch = Records, Progress = i64>,
    positions: &PositionTable,
    policy: &Policy,
    stop: &CancellationToken,
    stats: &Arc<Stats>,
) -> Result<Ended> {
    let deadline = settings.until.duration().map(|time| tokio::time::Instant::now() + time);
    let mut until = settings.until;
    loop {
        let home = Arc::new(positions.clone());
        let settings = SourceSettings { until, ..settings.clone() };
        let mut source = TopicSource::join(settings, kafka, Some(home), stop.clone(), stats.clone())?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(tokio::time::Instant::now()));
        let error = match drive_for(&mut source, sink, policy, stop, left).await {
            Err(error) if error.kind() == Kind::Fenced && !stop.is_cancelled() => error,
            Err(error) if error.kind() == Kind::Fenced => return Ok(Ended::Stopped),
            other => return other,
        };
        tracing::warn!(%error, "what was read is dropped; joining the group again");
        sink.forget(&positions.lanes());
        if let Until::Rows(_) = until {
            until = Until::Rows(source.rows_left().unwrap_or_default());
        }
    }
}

/// On a thread of the runtime, so that one lane is encoded while the server works for another. Broken off where nobody
/// waits for it any more: what goes on after its lane was lost, and claimed anew, would be taken for the new owner's.
pub(super) async fn beside<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let mut running = JoinSet::new();
    running.spawn(work.in_current_span());
    let done = running.join_next().await.ok_or_else(|| Error::internal("A task that was just begun is gone"))?;
    done.map_err(|error| Error::internal(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_waits_for_is_broken_off() {
        let (held, freed) = tokio::sync::oneshot::channel::<()>();
        let work = beside(async move {
            let _held = held;
            std::future::pending::<Result<()>>().await
        });
        assert!(timeout(Duration::from_millis(50), work).await.is_err());
        assert!(timeout(Duration::from_secs(10), freed).await.is_ok_and(|freed| freed.is_err()));
    }
}
