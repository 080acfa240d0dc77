//! What the user says of `walmart_to_mysql`.

use serde::Deserialize;

use crate::config::{Kafka, Metrics, Mysql, OffsetReset};
use crate::flow::Until;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub mysql: Mysql,
    pub metrics: Metrics,
    pub topic: String,
    pub group_id: String,
    pub auto_offset_reset: OffsetReset,
    pub until: Until,
    pub database: String,
    /// The order table; the others are named after it.
    pub table: String,
    /// Messages of a partition in one transaction.
    pub batch_size: u64,
    pub batch_interval_ms: u64,
    /// After a deadlock or a lock timeout.
    pub max_retries: u32,
    pub rows_per_statement: usize,
    /// Partitions that are loaded at once.
    pub connections: u32,
    /// Cut text and round amounts that do not fit, instead of refusing the order.
    pub truncate: bool,
    /// Keep what no column holds in a column `raw`.
    pub raw: bool,
    pub formatted_timezone: String,
    pub source_file: String,
    pub dead_letter_topic: Option<String>,
    pub max_rejected_share: f64,
    pub session_timeout_seconds: f64,
    /// Bytes.
    pub memory_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            mysql: Mysql::default(),
            metrics: Metrics::default(),
            topic: "walmart_order_raw".to_owned(),
            group_id: "flink-walmart-order-pipeline-jdbc".to_owned(),
            auto_offset_reset: OffsetReset::Earliest,
            until: Until::Stopped,
            database: "ods".to_owned(),
            table: "walmart_order".to_owned(),
            batch_size: 5000,
            batch_interval_ms: 1000,
            max_retries: 10,
            rows_per_statement: 100,
            connections: 4,
            truncate: false,
            raw: false,
            formatted_timezone: "UTC".to_owned(),
            source_file: "kafka_stream".to_owned(),
            dead_letter_topic: None,
            max_rejected_share: 0.1,
            session_timeout_seconds: 45.0,
            memory_limit: 256 * 1024 * 1024,
        }
    }
}
