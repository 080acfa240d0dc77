//! The engine's log lines, kept until the heartbeat hands them to Python: engine threads never wait for the interpreter.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Lines kept between two heartbeats; more than anybody reads in a tenth of a second.
const KEPT: usize = 10_000;

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

/// What each running call wants to hear, by its number: the least level as Python's `logging` counts.
static WANTED: Mutex<BTreeMap<u64, u8>> = Mutex::new(BTreeMap::new());
static LEAST: AtomicU8 = AtomicU8::new(0);

/// A call that hears log lines for as long as it lives; at first, all.
#[derive(Debug)]
pub(super) struct Listener(u64);

impl Listener {
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let this = Self(LAST.fetch_add(1, Ordering::Relaxed));
        this.want(0);
        this
    }

    /// From now on it hears nothing below this.
    pub(super) fn want(&self, least: u8) {
        change(|wanted| wanted.insert(self.0, least));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        change(|wanted| wanted.remove(&self.0));
    }
}

fn change<T>(how: impl FnOnce(&mut BTreeMap<u64, u8>) -> T) {
    let mut wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    how(&mut wanted);
    LEAST.store(wanted.values().min().copied().unwrap_or(0), Ordering::Relaxed);
}

/// Level, target, message, fields, source file and line in it.
#[derive(Debug, Serialize)]
pub(super) struct Line(&'static str, String, String, Map<String, Value>, Option<&'static str>, Option<u32>);

/// From now on keeps what the engine logs.
pub(super) fn install() {
    // Fails only when a subscriber is installed already, and then it is ours.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Keep));
}

/// What was logged since the last call.
pub(super) fn take() -> Vec<Line> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
}

struct Keep;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keep {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("pipeline_core") && *metadata.level() <= Level::DEBUG
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (level, number) = match *event.metadata().level() {
            Level::ERROR => ("ERROR", 40),
            Level::WARN => ("WARNING", 30),
            Level::INFO => ("INFO", 20),
            _ => ("DEBUG", 10),
        };
        if number < LEAST.load(Ordering::Relaxed) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = event.metadata().target().replace("::", ".");
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        let file = event.metadata().file().and_then(|file| file.rsplit('/').next());
        let line = event.metadata().line();
        lines.push_back(Line(level, target, fields.message, fields.others, file, line));
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }
}
