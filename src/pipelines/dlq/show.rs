//! What is in a topic of dead letters, counted.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::config::Config;
use super::transform::{Choice, fold};
use crate::flow::Origin;
use crate::kafka::Letter;

/// So much of a value is shown.
const SHOWN: usize = 500;

const UNKNOWN: &str = "unknown";

const NO_REASON: &str = "no reason is given";

/// What a topic holds of the letters that were asked for.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub topic: String,
    pub letters: u64,
    /// RFC 3339, as `last`.
    pub first: Option<String>,
    pub last: Option<String>,
    /// The most frequent first.
    pub reasons: Vec<Reason>,
    pub pipelines: BTreeMap<String, u64>,
    pub origins: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub struct Reason {
    /// Without its numbers and quoted values.
    pub reason: String,
    pub count: u64,
    pub examples: Vec<Example>,
}

#[derive(Debug, Serialize)]
pub struct Example {
    pub partition: i32,
    pub offset: i64,
    pub time: Option<String>,
    pub key: Option<String>,
    pub origin: Option<String>,
    pub reason: String,
    pub value: Option<String>,
    pub replays: u32,
}

#[derive(Debug)]
pub(super) struct Counting {
    choice: Choice,
    examples: usize,
    summary: Summary,
    /// Where a reason stands in the summary.
    places: HashMap<String, usize>,
    first: Option<i64>,
    last: Option<i64>,
}

impl Counting {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            choice: Choice::of(config),
            examples: config.examples,
            summary: Summary { topic: config.topic.clone(), ..Summary::default() },
            places: HashMap::new(),
            first: None,
            last: None,
        }
    }

    pub(super) fn add(&mut self, letter: &Letter) {
        if !self.choice.takes(letter) {
            return;
        }
        let Summary { letters, reasons, pipelines, origins, .. } = &mut self.summary;
        *letters += 1;
        let name = match &letter.origin {
            Some(Origin::Topic { topic, .. }) => topic,
            Some(Origin::File { name, .. } | Origin::Collection { name }) => name,
            None => UNKNOWN,
        };
        *origins.entry(name.to_owned()).or_default() += 1;
        *pipelines.entry(letter.pipeline.clone().unwrap_or_else(|| UNKNOWN.to_owned())).or_default() += 1;
        if let Some(time) = letter.time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
        let place = *self.places.entry(reason(letter)).or_insert_with_key(|reason| {
            reasons.push(Reason { reason: reason.clone(), count: 0, examples: Vec::new() });
            reasons.len() - 1
        });
        let reason = &mut reasons[place];
        reason.count += 1;
        if reason.examples.len() < self.examples {
            reason.examples.push(example(letter));
        }
    }

    pub(super) fn finish(self) -> Summary {
        let mut summary = self.summary;
        summary.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        Summary { first: self.first.and_then(time_text), last: self.last.and_then(time_text), ..summary }
    }
}

fn reason(letter: &Letter) -> String {
    if letter.reason.is_empty() { NO_REASON.to_owned() } else { fold(&letter.reason) }
}

fn example(letter: &Letter) -> Example {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).chars().take(SHOWN).collect())
    };
    Example {
        partition: letter.partition,
        offset: letter.offset,
        time: letter.time.and_then(time_text),
        key: text(&letter.key),
        origin: letter.origin.as_ref().map(ToString::to_string),
        reason: letter.reason.clone(),
        value: text(&letter.value),
        replays: letter.replays,
    }
}

fn time_text(milliseconds: i64) -> Option<String> {
    Some(DateTime::from_timestamp_millis(milliseconds)?.to_rfc3339_opts(SecondsFormat::Millis, true))
}
