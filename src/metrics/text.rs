//! The names of all metrics, and their text as Prometheus reads it.

use std::fmt::{Display, Write};

use super::{Watched, health};
use crate::stats::{BUCKETS, Live, Timed, Timings};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const ROWS_READ: &str = "pipeline_core_rows_read_total";
const ROWS_WRITTEN: &str = "pipeline_core_rows_written_total";
const ROWS_REJECTED: &str = "pipeline_core_rows_rejected_total";
const BYTES_READ: &str = "pipeline_core_bytes_read_total";
const BYTES_WRITTEN: &str = "pipeline_core_bytes_written_total";
const DEAD_LETTERS: &str = "pipeline_core_dead_letters_total";
const LAG: &str = "pipeline_core_lag";
const LAG_SECONDS: &str = "pipeline_core_lag_seconds";
const DUPLICATES: &str = "pipeline_core_duplicates";
const POSITION: &str = "pipeline_core_position";
const FENCE_AGE_SECONDS: &str = "pipeline_core_fence_age_seconds";
const WINDOW: &str = "pipeline_core_window";
const READY: &str = "pipeline_core_ready";
const STILL_SECONDS: &str = "pipeline_core_still_seconds";
const FLUSH_SECONDS: &str = "pipeline_core_flush_seconds";
const TRANSACTION_SECONDS: &str = "pipeline_core_transaction_seconds";
/// As Prometheus' own libraries call it.
const MEMORY: &str = "process_resident_memory_bytes";

/// Name and meaning.
fn of_live(live: Live) -> (&'static str, &'static str) {
    match live {
        Live::Lag => (LAG, "messages of the topic, or changes, that are not in the sink yet"),
        Live::LagSeconds => (LAG_SECONDS, "seconds that the sink is behind the source"),
        Live::Duplicates => (DUPLICATES, "left out since the run began, for they had been written before"),
        Live::Position => (POSITION, "the last change that was sent"),
        Live::FenceAgeSeconds => (FENCE_AGE_SECONDS, "how long the oldest changes have been held back"),
        Live::Window => (WINDOW, "documents that are remembered, for they may come again"),
    }
}

/// All there is to tell of a run.
pub(super) fn text(run: &Watched) -> String {
    let (now, stats) = (run.stats.snapshot(), &run.stats);
    let mut text = Text { pipeline: run.pipeline, out: String::new() };
    for (name, help, value) in [
        (ROWS_READ, "rows taken from the source, since the run began", now.rows_read),
        (ROWS_WRITTEN, "rows that the sink has for good", now.rows_written),
        (ROWS_REJECTED, "rows that were refused", now.rows_rejected),
        (BYTES_READ, "bytes taken from the source", now.bytes_read),
        (BYTES_WRITTEN, "bytes that the sink has for good", now.bytes_written),
        (DEAD_LETTERS, "letters put on the dead-letter topic", stats.dead_letters.get()),
    ] {
        text.family(name, "counter", help);
        text.sample(name, "", value);
    }
    for (live, value) in stats.live() {
        let (name, help) = of_live(live);
        text.gauge(name, help, value);
    }
    text.gauge(READY, "whether the source is connected and the run moves", u8::from(health::ready(run).0));
    text.gauge(STILL_SECONDS, "how long the run has not moved", stats.still_for().as_secs_f64());
    text.histogram(FLUSH_SECONDS, "making durable what was written", &stats.timings(Timed::Flush));
    let transactions = stats.timings(Timed::Transaction);
    text.histogram(TRANSACTION_SECONDS, "a transaction of Kafka or of the database", &transactions);
    if let Some(bytes) = resident_bytes() {
        text.gauge(MEMORY, "memory of the process", bytes);
    }
    text.out
}

struct Text {
    pipeline: &'static str,
    out: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a text cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// `more` are labels, with a comma before each.
    fn sample(&mut self, name: &str, more: &str, value: impl Display) {
        let _ = writeln!(self.out, "{name}{{pipeline=\"{}\"{more}}} {value}", self.pipeline);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, timings: &Timings) {
        self.family(name, "histogram", help);
        let mut count = 0;
        let ends = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (end, more) in ends.zip(timings.counts) {
            count += more;
            self.sample(&format!("{name}_bucket"), &format!(",le=\"{end}\""), count);
        }
        self.sample(&format!("{name}_sum"), "", timings.sum);
        self.sample(&format!("{name}_count"), "", count);
    }
}

/// What Linux says; nothing elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
