//! A topic of refused records: key and value as they were, reason and origin in the headers.

use rdkafka::message::{Header, OwnedHeaders};

use super::producer::{Outgoing, Producer, ProducerSettings};
use super::topics::{TopicSpec, ensure_topic, max_message_bytes};
use crate::config;
use crate::error::{Kind, Result};
use crate::flow::{DeadLetters, Origin, Refused};

/// A value past this is cut: no broker takes it by default. Its origin says where the whole is.
const LARGEST: usize = 900_000;

#[derive(Debug)]
pub struct TopicDeadLetters {
    topic: String,
    settings: config::Kafka,
    /// Made when the first record is refused: outside any transaction, for they tell of runs that fail too.
    producer: Option<Producer>,
}

impl TopicDeadLetters {
    /// Reaches nothing until the first record is refused; the topic is made then.
    #[must_use]
    pub fn new(topic: String, settings: config::Kafka) -> Self {
        Self { topic, settings, producer: None }
    }

    async fn open(&self) -> Result<Producer> {
        let spec = TopicSpec { partitions: Some(1), ..TopicSpec::named(&self.topic) };
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
            send(producer, &self.topic, record)?;
        }
        producer.flush()
    }
}

/// Hands a refused record over; what no broker would take is cut.
pub(super) fn send(producer: &Producer, topic: &str, record: &Refused) -> Result<()> {
    let whole = Outgoing { headers: Some(headers(record, false)), ..outgoing(record) };
    match producer.send(topic, whole) {
        Err(error) if error.kind() == Kind::Rejected => {
            let cut = Outgoing { headers: Some(headers(record, true)), ..outgoing(record) };
            let value = cut.value.map(|value| &value[..value.len().min(LARGEST)]);
            producer.send(topic, Outgoing { value, ..cut })
        }
        other => other,
    }
}

fn outgoing(record: &Refused) -> Outgoing<'_> {
    Outgoing { key: record.key.as_deref(), value: record.value.as_deref(), ..Outgoing::default() }
}

fn headers(record: &Refused, is_cut: bool) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    let mut add = |key: &str, value: &str| {
        headers = std::mem::replace(&mut headers, OwnedHeaders::new_with_capacity(0))
            .insert(Header { key, value: Some(value) });
    };
    add("__connect.errors.exception.message", &record.reason);
    match &record.origin {
        Origin::Topic { topic, partition, offset } => {
            add("__connect.errors.topic", topic);
            add("__connect.errors.partition", &partition.to_string());
            add("__connect.errors.offset", &offset.to_string());
        }
        Origin::File { name, line, byte } => {
            add("pipeline_core.file", name);
            add("pipeline_core.line", &line.to_string());
            add("pipeline_core.byte", &byte.to_string());
        }
    }
    if is_cut {
        let size = record.value.as_ref().map_or(0, Vec::len);
        add("pipeline_core.cut_from_bytes", &size.to_string());
    }
    headers
}
