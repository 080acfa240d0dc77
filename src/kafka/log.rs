//! What a run remembers, on a compacted topic that is written in the same transactions as its records.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::batches::TopicReader;
use super::producer::ProducerSettings;
use super::topics::{TopicSpec, ensure_topic};
use super::transactional::{KeyedRecord, TransactionalProducer};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::retry::PATIENCE;

/// The segment that is written to is not compacted.
const PROPERTIES: [(&str, &str); 1] = [("segment.bytes", "67108864")];

/// Sends records and remembers something of them, together or not at all.
#[derive(Debug)]
pub struct TransactionLog {
    producer: TransactionalProducer,
    kafka: config::Kafka,
    /// Names the last transaction on the log, for when its reply is lost.
    marker: String,
    transactions: u64,
    topic: String,
    stop: CancellationToken,
}

impl TransactionLog {
    /// Makes the topic if it is missing, and fences those who still go on with the work called `id`.
    ///
    /// # Errors
    /// When the broker cannot be reached, or has no transactions.
    pub async fn open(
        kafka: &config::Kafka,
        topic: String,
        replication_factor: Option<i32>,
        id: String,
        role: ProducerSettings,
        stop: CancellationToken,
    ) -> Result<Self> {
        let spec = TopicSpec {
            partitions: Some(1),
            replication_factor,
            is_compacted: true,
            properties: &PROPERTIES,
            ..TopicSpec::named(&topic)
        };
        ensure_topic(kafka, spec).await?;
        let role = ProducerSettings { transactional_id: Some(id.clone()), ..role };
        let producer = TransactionalProducer::begin(kafka, role, stop.clone()).await?;
        Ok(Self { producer, kafka: kafka.clone(), marker: id, transactions: 0, topic, stop })
    }

    /// Where it is kept.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Calls `take` with each key and value in order; `None` where a key was taken off.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn read(&self, take: impl FnMut(&str, Option<&str>)) -> Result<()> {
        tokio::task::block_in_place(|| read(&self.kafka, &self.topic, take))
    }

    /// The same for who only looks; nothing where there is no such topic.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn look(kafka: &config::Kafka, topic: &str, take: impl FnMut(&str, Option<&str>)) -> Result<()> {
        match tokio::task::block_in_place(|| read(kafka, topic, take)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Sends the records until they are there, once.
    ///
    /// # Errors
    /// `Conflict` when another run has taken over; `Unavailable` when the broker does not come back.
    pub async fn send(&mut self, records: Vec<KeyedRecord<'_>>) -> Result<()> {
        self.commit(records, false).await
    }

    /// Puts down something that belongs to no records.
    ///
    /// # Errors
    /// As `send`.
    pub async fn note(&mut self, records: Vec<KeyedRecord<'_>>) -> Result<()> {
        self.commit(records, true).await
    }

    async fn commit(&mut self, mut records: Vec<KeyedRecord<'_>>, is_note: bool) -> Result<()> {
        self.transactions += 1;
        let mark = format!("{}.{}.{}", std::process::id(), chrono::Utc::now().timestamp_micros(), self.transactions);
        let Self { producer, kafka, marker, topic, stop, .. } = self;
        records.push(KeyedRecord::new(topic, marker.as_str(), Some(mark.clone().into_bytes())));
        deliver(producer, &records, is_note, stop, || {
            let mut last = None;
            read(kafka, topic, |key, found| {
                if key == marker.as_str() {
                    last = found.map(str::to_owned);
                }
            })?;
            Ok(last.as_ref() == Some(&mark))
        })
        .await
    }
}

/// Sends the records until they are there; `is_there` is asked when nobody knows.
async fn deliver(
    producer: &mut TransactionalProducer,
    records: &[KeyedRecord<'_>],
    is_note: bool,
    stop: &CancellationToken,
    is_there: impl Fn() -> Result<bool>,
) -> Result<()> {
    let since = Instant::now();
    loop {
        let error = match producer.send(records, is_note).await {
            Err(error) if error.kind() == Kind::Aborted => error,
            other => return other,
        };
        if since.elapsed() > PATIENCE || stop.is_cancelled() {
            return Err(Error::new(Kind::Unavailable, error.to_string()));
        }
        tracing::warn!(%error, "a transaction was aborted; its records are sent again");
        if !producer.recover().await? && tokio::task::block_in_place(&is_there)? {
            return Ok(());
        }
    }
}

fn read(kafka: &config::Kafka, topic: &str, mut take: impl FnMut(&str, Option<&str>)) -> Result<()> {
    let mut reader = TopicReader::new(kafka, topic, None, |_, range| Some(range))?;
    while let Some((_, records)) = reader.next(10_000, || false)? {
        for record in records.iter() {
            if let Some(key) = record.key {
                let value = record.value.map(String::from_utf8_lossy);
                take(&String::from_utf8_lossy(key), value.as_deref());
            }
        }
    }
    Ok(())
}
