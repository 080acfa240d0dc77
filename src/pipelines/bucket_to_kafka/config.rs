//! What the user says of `bucket_to_kafka`.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::config::{Kafka, Metrics, Store};
use crate::pipelines::buckets::Scheme;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub store: Store,
    pub metrics: Metrics,
    /// These objects, and no listing.
    pub keys: Vec<String>,
    /// A key a line; `-` is standard input.
    pub keys_file: Option<String>,
    pub bucket: Option<String>,
    pub prefix: String,
    pub dest_bucket: Option<String>,
    /// Only with one key.
    pub dest_key: Option<String>,
    /// Tasks that one run sends at most.
    pub max_files: u64,
    /// Globs over whole keys.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Changed at this time or later.
    pub since: Option<DateTime<Utc>>,
    pub scheme: Scheme,
    pub topic: String,
    /// Also what has been sent before.
    pub resend: bool,
    pub dry_run: bool,
    /// Folders that are listed at once.
    pub list_concurrency: usize,
    /// For a topic that has to be made.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    pub partitioner: String,
    pub compression: String,
    /// Bytes.
    pub memory_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            store: Store::default(),
            metrics: Metrics::default(),
            keys: Vec::new(),
            keys_file: None,
            bucket: None,
            prefix: String::new(),
            dest_bucket: None,
            dest_key: None,
            max_files: 1000,
            include: Vec::new(),
            exclude: Vec::new(),
            since: None,
            scheme: Scheme::Obs,
            topic: "file-processing-tasks".to_owned(),
            resend: false,
            dry_run: false,
            list_concurrency: 8,
            partitions: None,
            replication_factor: None,
            partitioner: "consistent_random".to_owned(),
            compression: "lz4".to_owned(),
            memory_limit: 256 * 1024 * 1024,
        }
    }
}
