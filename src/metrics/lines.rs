//! A line of the log that tells again and again what a run does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use crate::stats::{Snapshot, Stats};

/// Logs what the run does until it is dropped.
#[derive(Debug)]
pub struct Lines(tokio::task::JoinHandle<()>);

impl Drop for Lines {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Logs a line so often, with what is known of the run by then.
#[must_use]
pub fn log_every(interval: Duration, pipeline: &'static str, stats: Arc<Stats>) -> Lines {
    let lines = async move {
        let (mut before, mut since) = (stats.rows_read.get(), Instant::now());
        loop {
            tokio::time::sleep(interval).await;
            let now = stats.snapshot();
            #[allow(clippy::cast_precision_loss, reason = "a rate")]
            let rate = now.rows_read.saturating_sub(before) as f64 / since.elapsed().as_secs_f64();
            (before, since) = (now.rows_read, Instant::now());
            line(pipeline, &now, stats.dead_letters.get(), rate);
        }
    };
    Lines(tokio::spawn(lines.in_current_span()))
}

fn line(pipeline: &str, now: &Snapshot, dead_letters: u64, rate: f64) {
    let live = |name: &str| now.live.get(name).copied();
    tracing::info!(
        pipeline,
        processed = now.rows_written,
        failed = now.rows_rejected,
        duplicates = live("duplicates"),
        dlq = dead_letters,
        rate = rate.round(),
        lag = live("lag"),
        transaction_ms = live("transaction_seconds").map(|seconds| (seconds * 1000.0).round()),
        "statistics"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_statistics_can_do_without_live_values() {
        line("csv_to_kafka", &Stats::default().snapshot(), 0, 0.5);
    }
}
