//! What has been sent, kept on a topic of its own in the same transactions as the tasks.

use std::collections::HashSet;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

use super::config::Config;
use super::transform::Task;
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::kafka::{
    KeyedRecord, ProducerSettings, TopicReader, TopicSpec, TransactionalProducer, ensure_topic, max_message_bytes,
};
use crate::retry::PATIENCE;
use crate::stats::Stats;

pub(super) struct SentLog {
    producer: TransactionalProducer,
    kafka: config::Kafka,
    /// Names the last transaction on the log, for when its reply is lost.
    marker: String,
    transactions: u64,
    topic: String,
    log_topic: String,
    /// Hashes of objects and their `ETag`s.
    sent: HashSet<u128>,
    batch: Vec<Task>,
    stop: CancellationToken,
}

impl SentLog {
    /// Reads what former runs have sent, after those that still go on with the same work have been fenced.
    pub(super) async fn open(config: &Config, bucket: &str, stop: &CancellationToken) -> Result<Self> {
        let topic = config.topic.clone();
        let log_topic = format!("{topic}_sent");
        let spec = TopicSpec {
            partitions: Some(1),
            replication_factor: config.replication_factor,
            is_compacted: true,
            ..TopicSpec::named(&log_topic)
        };
        ensure_topic(&config.kafka, spec).await?;
        let work = serde_json::json!([topic, bucket, config.prefix, config.keys]).to_string();
        let id = format!("pipeline_core.bucket.{topic}.{:032x}", xxh3_128(work.as_bytes()));
        let role = ProducerSettings {
            partitioner: config.partitioner.clone(),
            compression: config.compression.clone(),
            buffer_bytes: config.memory_limit / 4,
            transactional_id: Some(id.clone()),
            transaction_timeout: None,
            max_message_bytes: max_message_bytes(&config.kafka, &topic).await,
        };
        let producer = TransactionalProducer::begin(&config.kafka, role, stop.clone()).await?;
        let mut sent = HashSet::new();
        tokio::task::block_in_place(|| {
            read(&config.kafka, &log_topic, |key, e_tag| {
                sent.insert(hash(key, e_tag));
            })
        })?;
        let kafka = config.kafka.clone();
        let batch = Vec::new();
        Ok(Self { producer, kafka, marker: id, transactions: 0, topic, log_topic, sent, batch, stop: stop.clone() })
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
        for task in &self.batch {
            let value = serde_json::to_vec(task).map_err(|error| Error::internal(error.to_string()))?;
            bytes += value.len() as u64;
            records.push((self.topic.as_str(), task.key.clone().into_bytes(), value));
            if let Some(e_tag) = &task.etag {
                records.push((self.log_topic.as_str(), task.identity().into_bytes(), e_tag.clone().into_bytes()));
            }
        }
        self.transactions += 1;
        let mark = format!("{}.{}.{}", std::process::id(), chrono::Utc::now().timestamp_micros(), self.transactions);
        records.push((self.log_topic.as_str(), self.marker.clone().into_bytes(), mark.clone().into_bytes()));
        deliver(&mut self.producer, &records, &self.stop, || {
            let mut last = String::new();
            read(&self.kafka, &self.log_topic, |key, found| {
                if key == self.marker {
                    found.clone_into(&mut last);
                }
            })?;
            Ok(last == mark)
        })
        .await?;
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

/// Sends the records until they are there; `is_there` is asked when nobody knows.
async fn deliver(
    producer: &mut TransactionalProducer,
    records: &[KeyedRecord<'_>],
    stop: &CancellationToken,
    is_there: impl Fn() -> Result<bool>,
) -> Result<()> {
    let since = Instant::now();
    loop {
        let error = match producer.send(records).await {
            Err(error) if error.kind() == Kind::Aborted => error,
            other => return other,
        };
        if since.elapsed() > PATIENCE || stop.is_cancelled() {
            return Err(Error::new(Kind::Unavailable, error.to_string()));
        }
        tracing::warn!(%error, "a transaction was aborted; its tasks are sent again");
        if !producer.recover().await? && tokio::task::block_in_place(&is_there)? {
            return Ok(());
        }
    }
}

/// Calls `take` with each key and value of the log.
fn read(kafka: &config::Kafka, log_topic: &str, mut take: impl FnMut(&str, &str)) -> Result<()> {
    let mut reader = TopicReader::new(kafka, log_topic, None, |_, range| Some(range))?;
    while let Some((_, records)) = reader.next(10_000, || false)? {
        for record in records.iter() {
            if let (Some(key), Some(value)) = (record.key, record.value) {
                take(&String::from_utf8_lossy(key), &String::from_utf8_lossy(value));
            }
        }
    }
    Ok(())
}
