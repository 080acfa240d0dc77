//! What a run has done so far, and the report it ends with. The same words everywhere:
//! in the report, the heartbeat, the logs, the command line and the notebook.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    /// Letters that stand on the dead-letter topic.
    pub dead_letters: Counter,
    live: Mutex<BTreeMap<Live, f64>>,
    timings: Mutex<[Timings; 2]>,
    spans: Mutex<Vec<Span>>,
    /// The source has what it reads from: its partitions, or a connection.
    is_connected: AtomicBool,
    /// When the run moved last, in milliseconds since it began.
    moved: AtomicU64,
    started_at: DateTime<Utc>,
    started: Instant,
}

/// What goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Live {
    /// Messages, or changes, that are not in the sink yet.
    Lag,
    LagSeconds,
    /// Left out, for they had been written before.
    Duplicates,
    /// The last change that was sent.
    Position,
    FenceAgeSeconds,
    /// Documents that are remembered, for they may come again.
    Window,
}

impl Live {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::LagSeconds => "lag_seconds",
            Self::Duplicates => "duplicates",
            Self::Position => "position",
            Self::FenceAgeSeconds => "fence_age_seconds",
            Self::Window => "window",
        }
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// Making durable what was written.
    Flush,
    /// A transaction of Kafka or of a database, with all that is tried again in it.
    Transaction,
}

/// One of them: its name, when it began in nanoseconds since 1970, and how long it took in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span(pub &'static str, pub i64, pub u64);

/// Spans that are kept until somebody takes them.
const SPANS: usize = 1000;

/// The longest times that a bucket of [`Timings`] counts, in seconds; the last bucket counts all.
pub const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// How often something took how long.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    /// Times of each bucket that are in no smaller one.
    pub counts: [u64; BUCKETS.len() + 1],
    /// Seconds of all.
    pub sum: f64,
    last: Option<f64>,
}

impl Timings {
    fn add(&mut self, seconds: f64) {
        self.counts[BUCKETS.partition_point(|most| *most < seconds)] += 1;
        self.sum += seconds;
        self.last = Some(seconds);
    }
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
            dead_letters: Counter::default(),
            live: Mutex::default(),
            timings: Mutex::default(),
            spans: Mutex::default(),
            is_connected: AtomicBool::new(false),
            moved: AtomicU64::new(0),
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
    pub live: BTreeMap<&'static str, f64>,
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
        let mut live: BTreeMap<_, _> = self.live().into_iter().map(|(live, value)| (live.name(), value)).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count to look at")]
        live.extend(self.dead_letters.known().map(|letters| ("dead_letters", letters as f64)));
        live.extend(self.timings(Timed::Transaction).last.map(|seconds| ("transaction_seconds", seconds)));
        Snapshot {
            rows_read: self.rows_read.get(),
            rows_written: self.rows_written.get(),
            rows_rejected: self.rows_rejected.get(),
            bytes_read: self.bytes_read.get(),
            bytes_written: self.bytes_written.get(),
            bytes_total: self.bytes_total.known(),
            rows_total: self.rows_total.known(),
            live,
        }
    }

    /// Says what a value is now, e.g. how far the run is behind.
    pub fn note(&self, live: Live, value: f64) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(live, value);
    }

    /// What goes up and down, as it was noted last.
    pub fn live(&self) -> BTreeMap<Live, f64> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something took so long, and is over now.
    pub fn took(&self, what: Timed, time: Duration) {
        self.timings.lock().unwrap_or_else(PoisonError::into_inner)[what as usize].add(time.as_secs_f64());
        let (now, nanos) = (Utc::now().timestamp_nanos_opt().unwrap_or_default(), time.as_nanos());
        let (began, lasted) = (now - i64::try_from(nanos).unwrap_or(now), u64::try_from(nanos).unwrap_or(u64::MAX));
        let name = match what {
            Timed::Flush => "flush",
            Timed::Transaction => "transaction",
        };
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() < SPANS {
            spans.push(Span(name, began, lasted));
        }
    }

    /// What was timed since the last call.
    pub fn take_spans(&self) -> Vec<Span> {
        std::mem::take(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn timings(&self, what: Timed) -> Timings {
        self.timings.lock().unwrap_or_else(PoisonError::into_inner)[what as usize].clone()
    }

    /// The source has what it reads from, or has it no more.
    pub fn connect(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Relaxed);
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    /// The source has answered.
    pub fn answers(&self) {
        self.connect(true);
        self.moves();
    }

    /// The source gave something, or said that it has nothing now.
    pub fn moves(&self) {
        self.rests(Duration::ZERO);
    }

    /// The same, and nothing is due for so long.
    pub fn rests(&self, time: Duration) {
        let until = self.started.elapsed().saturating_add(time).as_millis();
        self.moved.fetch_max(u64::try_from(until).unwrap_or(u64::MAX), Relaxed);
    }

    /// How long the run has not moved.
    pub fn still_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Relaxed)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_smallest_bucket_that_holds_it() {
        let stats = Stats::default();
        for millis in [5, 6, 400_000] {
            stats.took(Timed::Flush, Duration::from_millis(millis));
        }
        let timings = stats.timings(Timed::Flush);
        assert_eq!((timings.counts[0], timings.counts[1], timings.counts[BUCKETS.len()]), (1, 1, 1));
        assert!((timings.sum - 400.011).abs() < 1e-9);
        assert_eq!(stats.timings(Timed::Transaction).counts, [0; BUCKETS.len() + 1]);
        assert_eq!(stats.take_spans().iter().map(|span| span.2).max(), Some(400_000_000_000));
        assert!(stats.take_spans().is_empty());
        assert!(stats.snapshot().live.is_empty());
    }

    #[test]
    fn a_run_that_rests_is_not_still() {
        let stats = Stats::default();
        stats.rests(Duration::from_secs(100));
        stats.moves();
        assert_eq!(stats.still_for(), Duration::ZERO);
    }
}
