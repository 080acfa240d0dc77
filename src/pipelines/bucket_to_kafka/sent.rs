//! What has been sent, kept on a topic of its own in the same transactions as the tasks.

use std::collections::HashSet;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

use super::config::Config;
use super::transform::Task;
use crate::error::{Error, Result};
use crate::kafka::{KeyedRecord, ProducerSettings, TransactionLog, max_message_bytes};
use crate::stats::{Stats, Timed};

pub(super) struct SentLog {
    log: TransactionLog,
    topic: String,
    /// Hashes of objects and their `ETag`s.
    sent: HashSet<u128>,
    batch: Vec<Task>,
}

impl SentLog {
    /// Reads what former runs have sent, after those that still go on with the same work have been fenced.
    pub(super) async fn open(config: &Config, bucket: &str, stop: &CancellationToken) -> Result<Self> {
        let topic = config.topic.clone();
        let work = serde_json::json!([topic, bucket, config.prefix, config.keys]).to_string();
        let id = format!("pipeline_core.bucket.{topic}.{:032x}", xxh3_128(work.as_bytes()));
        let role = ProducerSettings {
            partitioner: config.partitioner.clone(),
            compression: config.compression.clone(),
            buffer_bytes: config.memory_limit / 4,
            transactional_id: None,
            transaction_timeout: None,
            max_message_bytes: max_message_bytes(&config.kafka, &topic).await,
        };
        let (kafka, log_topic) = (&config.kafka, format!("{topic}_sent"));
        let log = TransactionLog::open(kafka, log_topic, config.replication_factor, id, role, stop.clone()).await?;
        let mut sent = HashSet::new();
        log.read(|key, e_tag| {
            if let Some(e_tag) = e_tag {
                sent.insert(hash(key, e_tag));
            }
        })?;
        Ok(Self { log, topic, sent, batch: Vec::new() })
    }

    /// Whether this version of the object has been sent. Without an `ETag` nobody can tell.
    pub(super) fn has(&self, task: &Task) -> bool {
        task.etag.as_ref().is_some_and(|e_tag| self.sent.contains(&hash(&task.identity(), e_tag)))
    }

    pub(super) fn add(&mut self, task: Task) -> Result<()> {
        if task.key.is_empty() {
            return Err(Error::settings("A task has no key"));
        }
        if let Some(e_tag) = &task.etag {
            self.sent.insert(hash(&task.identity(), e_tag));
        }
        self.batch.push(task);
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.batch.len()
    }

    pub(super) fn drop_batch(&mut self) {
        self.batch.clear();
    }

    /// Sends the batch, all of it or nothing.
    pub(super) async fn commit(&mut self, stats: &Stats) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let log_topic = self.log.topic().to_owned();
        for task in &self.batch {
            let value = serde_json::to_vec(task).map_err(|error| Error::internal(error.to_string()))?;
            bytes += value.len() as u64;
            records.push(KeyedRecord::new(&self.topic, task.key.as_str(), Some(value)));
            if let Some(e_tag) = &task.etag {
                records.push(KeyedRecord::new(&log_topic, task.identity(), Some(e_tag.clone().into_bytes())));
            }
        }
        let began = Instant::now();
        self.log.send(records).await?;
        stats.took(Timed::Transaction, began.elapsed());
        tracing::info!(tasks = self.batch.len(), topic = self.topic, "sent tasks");
        stats.rows_written.add(self.batch.len() as u64);
        stats.bytes_written.add(bytes);
        self.batch.clear();
        Ok(())
    }
}

fn hash(identity: &str, e_tag: &str) -> u128 {
    xxh3_128(format!("{identity}\n{e_tag}").as_bytes())
}
