//! What the user says of `postgres_to_kafka`.

use serde::Deserialize;

use crate::config::{Kafka, Mapping, Metrics, Postgres};
use crate::flow::Until;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub source: Postgres,
    pub mapping: Mapping,
    pub metrics: Metrics,
    /// Where the triggers put down the changes.
    pub table: String,
    /// What the changes are of.
    pub snapshot_table: String,
    pub topic: String,
    pub until: Until,
    /// Send all rows first.
    pub snapshot: bool,
    /// Rows of a key range, which is one transaction.
    pub snapshot_rows: u64,
    /// Changes in one transaction, at most.
    pub batch_size: u64,
    /// Between two looks when nothing is new.
    pub poll_interval_ms: u64,
    /// Go on after this change, whatever was remembered.
    pub position: Option<i64>,
    /// Begin again from the first change, as a new generation.
    pub restart: bool,
    /// For a topic that has to be made.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    pub partitioner: String,
    pub compression: String,
    /// Bytes.
    pub memory_limit: usize,
    pub stats_interval_seconds: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            source: Postgres::default(),
            mapping: Mapping::default(),
            metrics: Metrics::default(),
            table: "emp_cdc".to_owned(),
            snapshot_table: "employees".to_owned(),
            topic: "bf_employee_cdc".to_owned(),
            until: Until::Stopped,
            snapshot: false,
            snapshot_rows: 10_000,
            batch_size: 50_000,
            poll_interval_ms: 50,
            position: None,
            restart: false,
            partitions: Some(3),
            replication_factor: None,
            partitioner: "consistent_random".to_owned(),
            compression: "lz4".to_owned(),
            memory_limit: 256 * 1024 * 1024,
            stats_interval_seconds: 10.0,
        }
    }
}
