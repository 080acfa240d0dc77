//! What the user says of `kafka_to_parquet`.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::{ColumnType, Kafka, Metrics, OffsetReset, Store};
use crate::decode::rows::KeyEncoding;
use crate::flow::Until;
use crate::store::{Compression, Format};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub store: Store,
    pub metrics: Metrics,
    pub topic: String,
    pub group_id: String,
    /// A URL or a path.
    pub to: String,
    /// What object names begin with.
    pub prefix: String,
    pub name: String,
    pub format: Format,
    pub flush_rows: Option<u64>,
    /// The size of a file, about.
    pub flush_bytes: usize,
    pub flush_seconds: f64,
    pub idle_seconds: Option<f64>,
    pub until: Until,
    pub compression: Compression,
    pub typed: bool,
    pub column_types: HashMap<String, ColumnType>,
    /// `date=%F` of the message's time in UTC, or the name of a column.
    pub partition_by: Vec<String>,
    pub auto_offset_reset: OffsetReset,
    pub metadata_prefix: String,
    pub key_encoding: KeyEncoding,
    pub dead_letter_topic: Option<String>,
    pub max_rejected_share: f64,
    pub spill_dir: Option<PathBuf>,
    /// Bytes.
    pub memory_limit: usize,
    pub session_timeout_seconds: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            store: Store::default(),
            metrics: Metrics::default(),
            topic: "supply-chain-orders".to_owned(),
            group_id: "supply-chain-consumer-group".to_owned(),
            to: String::new(),
            prefix: "raw_streaming/".to_owned(),
            name: "orders".to_owned(),
            format: Format::Parquet,
            flush_rows: None,
            flush_bytes: 128 * 1024 * 1024,
            flush_seconds: 60.0,
            idle_seconds: None,
            until: Until::Stopped,
            compression: Compression::Zstd,
            typed: false,
            column_types: HashMap::new(),
            partition_by: Vec::new(),
            auto_offset_reset: OffsetReset::Earliest,
            metadata_prefix: String::new(),
            key_encoding: KeyEncoding::Utf8,
            dead_letter_topic: None,
            max_rejected_share: 0.1,
            spill_dir: None,
            memory_limit: 256 * 1024 * 1024,
            session_timeout_seconds: 45.0,
        }
    }
}
