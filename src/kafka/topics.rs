//! Making sure that a topic is there.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::{ASK, Client, Watch, base_config, of_kafka, with_properties};
use super::embedded;
use crate::config;
use crate::error::{Error, Kind, Result};

/// What a topic should be like if it has to be made; `None` is the broker's default.
#[derive(Debug, Clone, Copy)]
pub struct TopicSpec<'a> {
    pub name: &'a str,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    /// Keeps the last record of each key for ever.
    pub is_compacted: bool,
    /// Properties of the topic and their values.
    pub properties: &'a [(&'a str, &'a str)],
}

impl<'a> TopicSpec<'a> {
    /// All else as the broker has it by default.
    #[must_use]
    pub fn named(name: &'a str) -> Self {
        Self { name, partitions: None, replication_factor: None, is_compacted: false, properties: &[] }
    }
}

/// Makes the topic where it is missing, and says so. Returns its partitions, and whether it was made.
///
/// # Errors
/// When the broker cannot be reached, or refuses.
pub async fn ensure_topic(settings: &config::Kafka, topic: TopicSpec<'_>) -> Result<(i32, bool)> {
    let client = Client::new(settings, None)?;
    let there = tokio::task::block_in_place(|| client.partitions(topic.name))?;
    if there > 0 {
        if let Some(wanted) = topic.partitions.filter(|wanted| *wanted != there) {
            tracing::warn!(
                topic = topic.name,
                partitions = there,
                wanted,
                "the topic is there already, with another number of partitions"
            );
        }
        return Ok((there, false));
    }
    if embedded::is_embedded(&settings.bootstrap_servers) {
        embedded::create_topic(&settings.bootstrap_servers, topic.name, topic.partitions.unwrap_or(1))?;
    } else {
        create(settings, topic).await?;
    }
    let deadline = Instant::now() + ASK;
    loop {
        let partitions = tokio::task::block_in_place(|| client.partitions(topic.name))?;
        if partitions > 0 {
            tracing::info!(topic = topic.name, partitions, "created the topic");
            return Ok((partitions, true));
        }
        if Instant::now() > deadline {
            return Err(Error::new(
                Kind::Unavailable,
                format!("Topic {} was created, but does not show up", topic.name),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn admin(settings: &config::Kafka) -> Result<AdminClient<Watch>, KafkaError> {
    AdminClient::from_config_and_context(&with_properties(base_config(settings), settings), Watch::default())
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ASK)).request_timeout(Some(ASK))
}

/// librdkafka's own limit where a topic does not say.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_000_000;

/// The largest batch of records that the topic takes. A larger one would be refused whole, with all its records.
pub async fn max_message_bytes(settings: &config::Kafka, topic: &str) -> usize {
    if embedded::is_embedded(&settings.bootstrap_servers) {
        return DEFAULT_MAX_MESSAGE_BYTES;
    }
    let described = async {
        let admin = admin(settings)?;
        let answers = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options()).await?;
        let answer = answers.into_iter().next().transpose().map_err(KafkaError::AdminOp)?;
        Ok::<_, KafkaError>(answer.and_then(|topic| topic.get("max.message.bytes")?.value.as_ref()?.parse().ok()))
    };
    match described.await {
        Ok(limit) => limit.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES),
        Err(error) => {
            tracing::debug!(%error, topic, "the topic's max.message.bytes cannot be asked for");
            DEFAULT_MAX_MESSAGE_BYTES
        }
    }
}

async fn create(settings: &config::Kafka, topic: TopicSpec<'_>) -> Result<()> {
    let what = format!("Cannot create topic {}", topic.name);
    let of = |error| of_kafka(&what, error);
    let admin = admin(settings).map_err(of)?;
    // -1 asks for the broker's default.
    let mut new = NewTopic::new(
        topic.name,
        topic.partitions.unwrap_or(-1),
        TopicReplication::Fixed(topic.replication_factor.unwrap_or(-1)),
    );
    if topic.is_compacted {
        new = new.set("cleanup.policy", "compact");
    }
    for (name, value) in topic.properties {
        new = new.set(name, value);
    }
    match admin.create_topics(&[new], &options()).await.map_err(of)?.into_iter().next() {
        Some(Err((_, code))) if code != Code::TopicAlreadyExists => Err(of(KafkaError::AdminOp(code))),
        _ => Ok(()),
    }
}
