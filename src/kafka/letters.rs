//! Dead letters as they stand on their topic, and the messages that were refused in them.

use serde::Deserialize;

use super::batches::TopicReader;
use super::message::Record;
use super::wrapped::FORMAT_HEADER;
use crate::config;
use crate::error::{Kind, Result};
use crate::flow::{Headers, Lane, Origin};

/// How often a message has been sent again.
pub const REPLAYS: &str = "pipeline_core.replays";

pub(super) const REASON: &str = "__connect.errors.exception.message";
pub(super) const TOPIC: &str = "__connect.errors.topic";
pub(super) const PARTITION: &str = "__connect.errors.partition";
pub(super) const OFFSET: &str = "__connect.errors.offset";
pub(super) const PIPELINE: &str = "pipeline_core.pipeline";
pub(super) const FILE: &str = "pipeline_core.file";
pub(super) const LINE: &str = "pipeline_core.line";
pub(super) const BYTE: &str = "pipeline_core.byte";
pub(super) const COLLECTION: &str = "pipeline_core.collection";
pub(super) const CUT_FROM: &str = "pipeline_core.cut_from_bytes";

/// A dead letter, with the message as it was when it was refused.
#[derive(Debug, Clone)]
pub struct Letter {
    pub partition: Lane,
    pub offset: i64,
    /// When it was written, in milliseconds since 1970.
    pub time: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Without those that tell of its refusal.
    pub headers: Headers,
    /// The message's own time, where it is told.
    pub own_time: Option<i64>,
    pub reason: String,
    pub origin: Option<Origin>,
    /// Who refused it.
    pub pipeline: Option<String>,
    /// How often it had been sent again before.
    pub replays: u32,
    /// How long the value was, where it has been cut.
    pub cut_from: Option<usize>,
}

/// A dead letter of the original's: all of it is in the value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Original {
    original_topic: String,
    original_partition: i32,
    original_offset: i64,
    original_key: Option<String>,
    original_value: Option<String>,
    error_reason: String,
    timestamp: Option<i64>,
}

impl Letter {
    #[must_use]
    pub fn read(partition: Lane, record: &Record<'_>) -> Self {
        let headers = record.headers;
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let mut letter = Self {
            partition,
            offset: record.offset,
            time: record.time,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: Headers::default(),
            own_time: None,
            reason: text(REASON).unwrap_or_default(),
            origin: origin(&headers),
            pipeline: text(PIPELINE),
            replays: number(&headers, REPLAYS).unwrap_or(0),
            cut_from: number(&headers, CUT_FROM),
        };
        for (name, value) in headers.iter().filter(|(name, _)| !is_of_refusal(name)) {
            letter.headers.push(name, value);
        }
        let is_original = text(FORMAT_HEADER).is_some_and(|format| format == "original");
        // The original program itself writes no headers.
        if is_original || headers.get(REASON).is_none() {
            letter.unwrap(record.value);
        }
        letter
    }

    fn unwrap(&mut self, value: Option<&[u8]>) {
        let Some(Ok(original)) = value.map(serde_json::from_slice::<Original>) else { return };
        self.value = original.original_value.map(String::into_bytes);
        // The letter's key is the message's own; its text is a copy.
        self.key = self.key.take().or_else(|| original.original_key.map(String::into_bytes));
        self.own_time = original.timestamp;
        if self.reason.is_empty() {
            self.reason = original.error_reason;
        }
        let (topic, partition, offset) =
            (original.original_topic, original.original_partition, original.original_offset);
        self.origin.get_or_insert(Origin::Topic { topic, partition, offset });
    }

    /// The message as the pipeline read it.
    #[must_use]
    pub fn message(&self) -> Record<'_> {
        let offset = match &self.origin {
            Some(Origin::Topic { offset, .. }) => *offset,
            _ => self.offset,
        };
        Record {
            offset,
            time: self.own_time.or(self.time),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: Headers::packed(self.headers.bytes()),
        }
    }

    /// Fetches a value that was cut from where it was read. False where it is not there any more.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn make_whole(&mut self, kafka: &config::Kafka) -> Result<bool> {
        let Some(size) = self.cut_from else { return Ok(true) };
        let Some(Origin::Topic { topic, partition, offset }) = &self.origin else { return Ok(false) };
        let place = |other: i32, (low, high): (i64, i64)| {
            (other == *partition && (low..high).contains(offset)).then_some((*offset, *offset + 1))
        };
        let mut reader = match TopicReader::new(kafka, topic, None, place) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(false),
            other => other?,
        };
        while let Some((_, records)) = reader.next(1, || false)? {
            for record in records.iter().filter(|record| record.offset == *offset) {
                let Some(whole) = record.value.filter(|whole| whole.len() == size) else { continue };
                // The topic may have been made again: then another message stands there.
                let is_same = whole.starts_with(self.value.as_deref().unwrap_or_default());
                if is_same && record.key == self.key.as_deref() {
                    self.value = Some(whole.to_vec());
                    self.cut_from = None;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Headers that were put on when the message was refused, or that a letter's reader counts with.
fn is_of_refusal(name: &str) -> bool {
    name.starts_with("__connect.errors.")
        || [PIPELINE, FORMAT_HEADER, CUT_FROM, REPLAYS, FILE, LINE, BYTE, COLLECTION].contains(&name)
}

fn number<T: std::str::FromStr>(headers: &Headers<&[u8]>, name: &str) -> Option<T> {
    std::str::from_utf8(headers.get(name)?).ok()?.parse().ok()
}

fn origin(headers: &Headers<&[u8]>) -> Option<Origin> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    if let Some(topic) = text(TOPIC) {
        return Some(Origin::Topic { topic, partition: number(headers, PARTITION)?, offset: number(headers, OFFSET)? });
    }
    if let Some(name) = text(COLLECTION) {
        return Some(Origin::Collection { name });
    }
    Some(Origin::File { name: text(FILE)?, line: number(headers, LINE)?, byte: number(headers, BYTE)? })
}
