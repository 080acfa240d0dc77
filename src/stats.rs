//! What a run has done so far, and the report it ends with. The same words everywhere:
//! in the report, the heartbeat, the logs, the command line and the notebook.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

/// Counters of a run; shared by the engine and its watcher.
#[derive(Debug)]
pub struct Stats {
    pub rows_read: Counter,
    pub rows_written: Counter,
    pub rows_rejected: Counter,
    pub bytes_read: Counter,
    pub bytes_written: Counter,
    /// How many bytes there are to read; 0 when not known.
    pub bytes_total: Counter,
    /// How many rows there are to read; 0 when not known.
    pub rows_total: Counter,
    started_at: DateTime<Utc>,
    started: Instant,
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub fn set(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn known(&self) -> Option<u64> {
        Some(self.get()).filter(|total| *total > 0)
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            rows_read: Counter::default(),
            rows_written: Counter::default(),
            rows_rejected: Counter::default(),
            bytes_read: Counter::default(),
            bytes_written: Counter::default(),
            bytes_total: Counter::default(),
            rows_total: Counter::default(),
            started_at: Utc::now(),
            started: Instant::now(),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_rejected: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub bytes_total: Option<u64>,
    pub rows_total: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Serialize)]
pub struct Report {
    pub pipeline: &'static str,
    pub status: Status,
    pub reason: String,
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_rejected: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub seconds: f64,
    pub details: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It did all it was asked to do.
    Complete,
    /// It was asked to stop, and everything it had read is safe.
    Stopped,
}

impl Stats {
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows_read: self.rows_read.get(),
            rows_written: self.rows_written.get(),
            rows_rejected: self.rows_rejected.get(),
            bytes_read: self.bytes_read.get(),
            bytes_written: self.bytes_written.get(),
            bytes_total: self.bytes_total.known(),
            rows_total: self.rows_total.known(),
        }
    }

    /// Forgets what was counted since `then`: it will be done again.
    pub fn wind_back(&self, then: &Snapshot) {
        self.rows_read.set(then.rows_read);
        self.rows_written.set(then.rows_written);
        self.rows_rejected.set(then.rows_rejected);
        self.bytes_read.set(then.bytes_read);
        self.bytes_written.set(then.bytes_written);
    }

    pub fn report(
        &self,
        pipeline: &'static str,
        status: Status,
        reason: impl Into<String>,
        details: Map<String, Value>,
    ) -> Report {
        let now = self.snapshot();
        Report {
            pipeline,
            status,
            reason: reason.into(),
            rows_read: now.rows_read,
            rows_written: now.rows_written,
            rows_rejected: now.rows_rejected,
            bytes_read: now.bytes_read,
            bytes_written: now.bytes_written,
            started_at: self.started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            seconds: self.started.elapsed().as_secs_f64(),
            details,
        }
    }
}
