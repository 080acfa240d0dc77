//! What the user says of `csv_to_kafka`.

use std::collections::HashMap;

use serde::Deserialize;

use crate::config::{ColumnType, Kafka, Metrics, Store};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub store: Store,
    pub metrics: Metrics,
    /// Paths, globs and URLs.
    pub files: Vec<String>,
    pub topic: String,
    /// The key's column. `None` is "Order Id" when the header has it; an empty name is no key.
    pub key: Option<String>,
    pub encoding: String,
    pub delimiter: char,
    pub quote: char,
    /// Numbers, booleans and times as JSON has them; else every value is a string.
    pub typed: bool,
    pub column_types: HashMap<String, ColumnType>,
    pub ragged: Ragged,
    pub duplicate_headers: DuplicateHeaders,
    /// Rows a second; as fast as it goes when not set.
    pub rate: Option<f64>,
    /// Rows of each run.
    pub limit: Option<u64>,
    /// For a topic that has to be made.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    pub partitioner: String,
    pub compression: String,
    pub json_style: JsonStyle,
    pub exactly_once: bool,
    pub resume: bool,
    /// Where positions are kept without `exactly_once`.
    pub state_dir: Option<String>,
    pub transaction_rows: u64,
    pub transaction_seconds: f64,
    pub dead_letter_topic: Option<String>,
    pub max_rejected_share: f64,
    /// Bytes.
    pub memory_limit: usize,
}

/// Rows with more or fewer cells than the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ragged {
    /// They go to the dead letters.
    Reject,
    /// A missing cell is null, surplus cells come under the name "null".
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateHeaders {
    Error,
    /// The second `x` becomes `x_2`.
    Rename,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonStyle {
    /// No blanks, raw UTF-8.
    Compact,
    /// As Python's `json.dumps` writes it by default.
    Python,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            store: Store::default(),
            metrics: Metrics::default(),
            files: Vec::new(),
            topic: "supply-chain-orders".to_owned(),
            key: None,
            encoding: "auto".to_owned(),
            delimiter: ',',
            quote: '"',
            typed: false,
            column_types: HashMap::new(),
            ragged: Ragged::Reject,
            duplicate_headers: DuplicateHeaders::Error,
            rate: None,
            limit: None,
            partitions: None,
            replication_factor: None,
            partitioner: "murmur2_random".to_owned(),
            compression: "lz4".to_owned(),
            json_style: JsonStyle::Compact,
            exactly_once: false,
            resume: false,
            state_dir: None,
            transaction_rows: 100_000,
            transaction_seconds: 5.0,
            dead_letter_topic: None,
            max_rejected_share: 0.1,
            memory_limit: 256 * 1024 * 1024,
        }
    }
}
