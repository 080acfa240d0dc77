//! The engine's log lines, kept until the heartbeat hands them to Python: engine threads never wait for the interpreter.
//!
//! A call is a span, and its heartbeat takes the lines that were logged inside it: runs side by side do not mix. What is
//! logged in no span of a call, by a thread of a library for one, is taken by whichever heartbeat comes next.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Lines kept between two heartbeats; more than anybody reads in a tenth of a second.
const KEPT: usize = 10_000;

/// The field of a span that tells which call it is.
const CALL: &str = "call";

/// Lines, with the number of the call that logged them.
static LINES: Mutex<VecDeque<(Option<u64>, Line)>> = Mutex::new(VecDeque::new());

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

    /// What is logged inside it is for this call.
    pub(super) fn span(&self) -> Span {
        tracing::info_span!("call", call = self.0)
    }

    /// What was logged since the last time, but for what other calls will take.
    pub(super) fn take(&self) -> Vec<Line> {
        let wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |call: &Option<u64>| call.is_none_or(|call| call == self.0 || !wanted.contains_key(&call));
        let (ours, others): (VecDeque<_>, VecDeque<_>) = lines.drain(..).partition(|(call, _)| is_ours(call));
        *lines = others;
        ours.into_iter().map(|(_, line)| line).collect()
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

struct Keep;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keep {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("pipeline_core") && *metadata.level() <= Level::DEBUG
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut call = Call::default();
        attributes.record(&mut call);
        if let (Some(number), Some(span)) = (call.0, context.span(id)) {
            span.extensions_mut().insert(Call(Some(number)));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
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
        let mut spans = context.event_scope(event).into_iter().flatten();
        let call = spans.find_map(|span| span.extensions().get::<Call>().and_then(|call| call.0));
        let target = event.metadata().target().replace("::", ".");
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        let file = event.metadata().file().and_then(|file| file.rsplit('/').next());
        let line = event.metadata().line();
        lines.push_back((call, Line(level, target, fields.message, fields.others, file, line)));
    }
}

/// The number of the call that a span is.
#[derive(Default)]
struct Call(Option<u64>);

impl Visit for Call {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == CALL {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
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
