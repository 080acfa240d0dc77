//! What the user says of `cdc_to_postgres`.

use serde::Deserialize;

use crate::config::{Kafka, Mapping, Metrics, OffsetReset, Postgres};
use crate::decode::change::Unknown;
use crate::flow::Until;
use crate::kafka::LetterFormat;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub target: Postgres,
    pub mapping: Mapping,
    pub metrics: Metrics,
    pub topic: String,
    pub group_id: String,
    pub auto_offset_reset: OffsetReset,
    pub until: Until,
    /// The replica; may be `schema.table`.
    pub table: String,
    /// The ledger of the changes that were applied.
    pub processed_events: String,
    /// Keep the ledger, and leave out what it holds.
    pub enable_idempotency: bool,
    pub processed_events_days: f64,
    pub tombstone_days: f64,
    /// Without it a refused message stops the run.
    pub enable_dlq: bool,
    pub dlq_format: LetterFormat,
    pub dead_letter_topic: Option<String>,
    pub unknown_fields: Unknown,
    /// Messages of a partition in one transaction.
    pub batch_size: u64,
    pub batch_interval_ms: u64,
    /// From so many rows on they are copied and merged.
    pub copy_rows: usize,
    /// After a deadlock, a lock timeout or a serialization failure.
    pub max_retries: u32,
    /// Partitions that are applied at once.
    pub connections: u32,
    pub statement_timeout_seconds: f64,
    pub max_rejected_share: f64,
    pub session_timeout_seconds: f64,
    pub stats_interval_seconds: f64,
    /// Bytes.
    pub memory_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            target: Postgres { port: 5433, ..Postgres::default() },
            mapping: Mapping::default(),
            metrics: Metrics::default(),
            topic: "bf_employee_cdc".to_owned(),
            group_id: "production_cdc_consumer".to_owned(),
            auto_offset_reset: OffsetReset::Earliest,
            until: Until::Stopped,
            table: "employees".to_owned(),
            processed_events: "processed_events".to_owned(),
            enable_idempotency: true,
            processed_events_days: 30.0,
            tombstone_days: 30.0,
            enable_dlq: true,
            dlq_format: LetterFormat::Original,
            dead_letter_topic: None,
            unknown_fields: Unknown::Refuse,
            batch_size: 20_000,
            batch_interval_ms: 200,
            copy_rows: 1000,
            max_retries: 10,
            connections: 4,
            statement_timeout_seconds: 60.0,
            max_rejected_share: 0.1,
            session_timeout_seconds: 45.0,
            stats_interval_seconds: 10.0,
            memory_limit: 256 * 1024 * 1024,
        }
    }
}
