//! A topic of refused records: key and value as they were, reason and origin in the headers.

use std::sync::Arc;

use rdkafka::message::{Header, OwnedHeaders};

use super::letters;
use super::producer::{Outgoing, Producer, ProducerSettings, owned};
use super::topics::{TopicSpec, ensure_topic, max_message_bytes};
use super::wrapped::{LetterFormat, wrapped};
use crate::config;
use crate::error::{Kind, Result};
use crate::flow::{DeadLetters, Origin, Refused};
use crate::stats::Stats;

/// A value past this is cut: no broker takes it by default. Its origin says where the whole is.
const LARGEST: usize = 900_000;

#[derive(Debug)]
pub struct TopicDeadLetters {
    topic: String,
    /// The pipeline that refuses them.
    pipeline: &'static str,
    settings: config::Kafka,
    stats: Arc<Stats>,
    format: LetterFormat,
    /// Of the topic, where it has to be made.
    properties: &'static [(&'static str, &'static str)],
    /// Made when the first record is refused: outside any transaction, for they tell of runs that fail too.
    producer: Option<Producer>,
}

impl TopicDeadLetters {
    /// Reaches nothing until the first record is refused; the topic is made then.
    #[must_use]
    pub fn new(topic: String, pipeline: &'static str, settings: config::Kafka, stats: Arc<Stats>) -> Self {
        Self { topic, pipeline, settings, stats, format: LetterFormat::Raw, properties: &[], producer: None }
    }

    /// The same, where the topic has to be made like this.
    #[must_use]
    pub fn properties(self, properties: &'static [(&'static str, &'static str)]) -> Self {
        Self { properties, ..self }
    }

    /// The same with letters of that form.
    #[must_use]
    pub fn format(self, format: LetterFormat) -> Self {
        Self { format, ..self }
    }

    async fn open(&self) -> Result<Producer> {
        let spec = TopicSpec { partitions: Some(1), properties: self.properties, ..TopicSpec::named(&self.topic) };
        ensure_topic(&self.settings, spec).await?;
        let role = ProducerSettings {
            partitioner: "consistent_random".to_owned(),
            compression: "lz4".to_owned(),
            buffer_bytes: 8 * 1024 * 1024,
            transactional_id: None,
            transaction_timeout: None,
            max_message_bytes: max_message_bytes(&self.settings, &self.topic).await,
        };
        Producer::new(&self.settings, &role)
    }

    fn send_one(&self, producer: &Producer, record: &Refused) -> Result<()> {
        if self.format == LetterFormat::Original
            && let Some(wrapped) = wrapped(record)
        {
            match send_whole(producer, &self.topic, self.pipeline, &wrapped) {
                // Cut, its JSON would be none.
                Err(error) if error.kind() == Kind::Rejected => {}
                other => return other,
            }
        }
        send(producer, &self.topic, self.pipeline, record)
    }
}

impl DeadLetters for TopicDeadLetters {
    async fn send(&mut self, refused: Vec<Refused>) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        if self.producer.is_none() {
            self.producer = Some(self.open().await?);
        }
        let Some(producer) = &self.producer else { return Ok(()) };
        for record in &refused {
            tracing::warn!(reason = record.reason, origin = %record.origin, topic = self.topic, "refused a record");
            self.send_one(producer, record)?;
        }
        producer.flush()?;
        self.stats.dead_letters.add(refused.len() as u64);
        Ok(())
    }
}

/// Hands a refused record over; what no broker would take is cut.
pub(super) fn send(producer: &Producer, topic: &str, pipeline: &str, record: &Refused) -> Result<()> {
    match send_whole(producer, topic, pipeline, record) {
        Err(error) if error.kind() == Kind::Rejected => {
            let cut = Outgoing { headers: Some(headers(record, pipeline, true)), ..outgoing(record) };
            let beside = record.headers.bytes().len() + record.key.as_ref().map_or(0, Vec::len);
            let room = LARGEST.saturating_sub(beside);
            let value = cut.value.map(|value| &value[..value.len().min(room)]);
            producer.send(topic, Outgoing { value, ..cut })
        }
        other => other,
    }
}

fn send_whole(producer: &Producer, topic: &str, pipeline: &str, record: &Refused) -> Result<()> {
    producer.send(topic, Outgoing { headers: Some(headers(record, pipeline, false)), ..outgoing(record) })
}

fn outgoing(record: &Refused) -> Outgoing<'_> {
    Outgoing { key: record.key.as_deref(), value: record.value.as_deref(), ..Outgoing::default() }
}

/// The record's own first, then what became of it.
fn headers(record: &Refused, pipeline: &str, is_cut: bool) -> OwnedHeaders {
    let mut headers = owned(&record.headers);
    let mut add = |key: &str, value: &str| {
        headers = std::mem::replace(&mut headers, OwnedHeaders::new_with_capacity(0))
            .insert(Header { key, value: Some(value) });
    };
    add(letters::REASON, &record.reason);
    match &record.origin {
        Origin::Topic { topic, partition, offset } => {
            add(letters::TOPIC, topic);
            add(letters::PARTITION, &partition.to_string());
            add(letters::OFFSET, &offset.to_string());
        }
        Origin::File { name, line, byte } => {
            add(letters::FILE, name);
            add(letters::LINE, &line.to_string());
            add(letters::BYTE, &byte.to_string());
        }
        Origin::Collection { name } => add(letters::COLLECTION, name),
    }
    add(letters::PIPELINE, pipeline);
    if is_cut {
        let size = record.value.as_ref().map_or(0, Vec::len);
        add(letters::CUT_FROM, &size.to_string());
    }
    headers
}
