//! A dead letter in the JSON of the original change consumer.

use serde::{Deserialize, Serialize};

use crate::flow::{Origin, Refused};

/// What the value of a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterFormat {
    /// JSON of seven fields that holds key and value as text.
    Original,
    /// The message's value as it was.
    Raw,
}

/// The header that tells a wrapped letter from others.
pub const FORMAT_HEADER: &str = "pipeline_core.dlq_format";

/// The original's fields, in its order.
#[derive(Debug, Serialize)]
struct Letter<'a> {
    original_topic: &'a str,
    original_partition: i32,
    original_offset: i64,
    original_key: Option<&'a str>,
    original_value: Option<&'a str>,
    error_reason: &'a str,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
}

/// The letter in the original's form; `None` where text cannot hold its bytes.
pub(super) fn wrapped(refused: &Refused) -> Option<Refused> {
    let Origin::Topic { topic, partition, offset } = &refused.origin else { return None };
    let letter = Letter {
        original_topic: topic,
        original_partition: *partition,
        original_offset: *offset,
        original_key: refused.key.as_deref().map(std::str::from_utf8).transpose().ok()?,
        original_value: refused.value.as_deref().map(std::str::from_utf8).transpose().ok()?,
        error_reason: &refused.reason,
        timestamp: refused.time,
    };
    let mut wrapped = refused.clone();
    wrapped.value = Some(serde_json::to_vec(&letter).ok()?);
    wrapped.headers.push(FORMAT_HEADER, Some(b"original"));
    Some(wrapped)
}
