//! What the user says of `obs_worker`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::config::{Kafka, Metrics, OffsetReset, Store};
use crate::flow::Until;
use crate::pipelines::buckets::Scheme;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    pub kafka: Kafka,
    pub store: Store,
    pub metrics: Metrics,
    pub topic: String,
    pub result_topic: String,
    pub group_id: String,
    pub send_results: bool,
    pub auto_offset_reset: OffsetReset,
    pub session_timeout_seconds: f64,
    pub heartbeat_seconds: f64,
    pub max_poll_interval_seconds: f64,
    /// Tasks taken from the topic and not finished, at most.
    pub max_poll_records: usize,
    /// Of the original; offsets are always committed with the result.
    pub enable_auto_commit: bool,
    pub auto_commit_interval_seconds: f64,
    pub scheme: Scheme,
    pub source_bucket: Option<String>,
    pub dest_bucket: Option<String>,
    pub output_suffix: String,
    pub download_dir: PathBuf,
    pub upload_dir: PathBuf,
    pub processes: usize,
    pub parser: String,
    pub parser_command: Vec<String>,
    pub parser_setup: Value,
    pub cleanup_files: bool,
    pub cleanup_on_error: bool,
    /// Seconds that one parse may take.
    pub task_timeout: f64,
    /// Bytes of one parser's memory.
    pub task_memory: u64,
    /// Bytes of the largest file that a parser may write.
    pub task_output: u64,
    pub max_attempts: u8,
    /// Before the second attempt; doubles.
    pub retry_seconds: f64,
    /// Files in work at once.
    pub concurrency: usize,
    pub changed_files: ChangedFiles,
    pub until: Until,
    pub drain_seconds: f64,
    pub dead_letter_topic: Option<String>,
    pub max_rejected_share: f64,
    /// Bytes.
    pub memory_limit: usize,
    /// Bytes of files in the work folders at once.
    pub disk_limit: Option<u64>,
    /// Python's.
    pub log_db: Option<PathBuf>,
}

/// Files whose `ETag` is not the one in the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedFiles {
    /// As they are now.
    Process,
    Fail,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            store: Store::default(),
            metrics: Metrics::default(),
            topic: "file-processing-tasks".to_owned(),
            result_topic: "file-processing-results".to_owned(),
            group_id: "obs-workers".to_owned(),
            send_results: true,
            auto_offset_reset: OffsetReset::Latest,
            session_timeout_seconds: 10.0,
            heartbeat_seconds: 3.0,
            max_poll_interval_seconds: 300.0,
            max_poll_records: 500,
            enable_auto_commit: true,
            auto_commit_interval_seconds: 5.0,
            scheme: Scheme::Obs,
            source_bucket: None,
            dest_bucket: None,
            output_suffix: ".parsed.json".to_owned(),
            download_dir: "./work/downloads".into(),
            upload_dir: "./work/uploads".into(),
            processes: 4,
            parser: "default".to_owned(),
            parser_command: Vec::new(),
            parser_setup: Value::Null,
            cleanup_files: true,
            cleanup_on_error: false,
            task_timeout: 3600.0,
            task_memory: 2 * 1024 * 1024 * 1024,
            task_output: 5 * 1024 * 1024 * 1024,
            max_attempts: 3,
            retry_seconds: 1.0,
            concurrency: 32,
            changed_files: ChangedFiles::Process,
            until: Until::Stopped,
            drain_seconds: 8.0,
            dead_letter_topic: None,
            max_rejected_share: 0.5,
            memory_limit: 256 * 1024 * 1024,
            disk_limit: None,
            log_db: None,
        }
    }
}
