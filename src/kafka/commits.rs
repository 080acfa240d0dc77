//! Commits of a member's positions with the records that tell of them, in one transaction, tried until it is certain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::message::{Header, OwnedHeaders};
use tokio_util::sync::CancellationToken;

use super::client::{ASK, of_kafka};
use super::closing::GroupConsumer;
use super::dead_letters;
use super::fence::Breath;
use super::group::offset_list;
use super::producer::{Outgoing, Producer, ProducerSettings};
use super::topics::{TopicSpec, ensure_topic};
use super::transaction::Transactions;
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{Lane, Refused};
use crate::retry::PATIENCE;

/// A record that goes out with a commit.
#[derive(Debug, Clone)]
pub struct Notice {
    pub topic: String,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

/// What becomes true at once.
#[derive(Debug, Default)]
pub struct Commit {
    pub positions: Vec<(Lane, i64, String)>,
    pub notices: Vec<Notice>,
    pub refused: Vec<Refused>,
}

/// A transaction of a worker that was killed holds its readers up for no longer than this.
const OPEN: Duration = Duration::from_secs(20);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

pub struct Commits {
    consumer: Arc<GroupConsumer>,
    breath: Arc<Breath>,
    kafka: config::Kafka,
    topic: String,
    pipeline: &'static str,
    transactional_id: String,
    stop: CancellationToken,
    transactions: Option<Transactions>,
    dead_letter_topic: Option<String>,
}

impl std::fmt::Debug for Commits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commits").field("transactional_id", &self.transactional_id).finish_non_exhaustive()
    }
}

impl Commits {
    pub(super) fn new(
        consumer: Arc<GroupConsumer>,
        breath: Arc<Breath>,
        kafka: config::Kafka,
        topic: String,
        pipeline: &'static str,
        transactional_id: String,
        stop: CancellationToken,
    ) -> Self {
        Self {
            consumer,
            breath,
            kafka,
            topic,
            pipeline,
            transactional_id,
            stop,
            transactions: None,
            dead_letter_topic: None,
        }
    }

    /// Makes the producer; a former one of the same name is fenced, and what it left open comes to nothing.
    ///
    /// # Errors
    /// When the broker has no transactions, or refuses them.
    pub async fn begin(&mut self) -> Result<()> {
        let role = ProducerSettings {
            partitioner: "consistent_random".to_owned(),
            compression: "lz4".to_owned(),
            buffer_bytes: 16 * 1024 * 1024,
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout: Some(OPEN),
            max_message_bytes: 1_000_000,
        };
        let producer = Arc::new(Producer::new(&self.kafka, &role)?);
        self.transactions = Some(Transactions::begin(producer, self.stop.clone()).await?);
        Ok(())
    }

    /// Commits all of it, or none.
    ///
    /// # Errors
    /// `Fenced` when the partitions are no longer ours: another member does those tasks. `Unavailable` when the broker
    /// does not come back.
    pub async fn commit(&mut self, commit: &Commit, dead_letter_topic: &str) -> Result<()> {
        if !commit.refused.is_empty() && self.dead_letter_topic.is_none() {
            let spec = TopicSpec { partitions: Some(1), ..TopicSpec::named(dead_letter_topic) };
            ensure_topic(&self.kafka, spec).await?;
            self.dead_letter_topic = Some(dead_letter_topic.to_owned());
        }
        let since = Instant::now();
        let mut is_doubtful = false;
        loop {
            if is_doubtful && self.was_committed(&commit.positions).await? {
                return Ok(());
            }
            let error = match self.attempt(commit).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == Kind::Fenced => {
                    self.abort().await;
                    return Err(error);
                }
                Err(error) => error,
            };
            let passes = error.is_transient() || matches!(error.kind(), Kind::Aborted | Kind::Conflict);
            if !passes || since.elapsed() > PATIENCE || (self.stop.is_cancelled() && since.elapsed() > OPEN) {
                return Err(Error::new(Kind::Unavailable, error.to_string()));
            }
            tracing::warn!(%error, "a transaction came to nothing; it is tried again");
            is_doubtful |= !self.abort().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// True when it is certain that nothing was committed.
    async fn abort(&mut self) -> bool {
        let Some(transactions) = &mut self.transactions else { return false };
        if transactions.abort().await {
            return true;
        }
        if let Some(transactions) = self.transactions.take() {
            transactions.leave();
        }
        false
    }

    async fn attempt(&mut self, commit: &Commit) -> Result<()> {
        if self.transactions.is_none() {
            self.begin().await?;
        }
        let Some(transactions) = &mut self.transactions else { return Err(Error::internal("No producer")) };
        let producer = transactions.producer.clone();
        for notice in &commit.notices {
            let headers = notice
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let outgoing = Outgoing {
                key: Some(&notice.key),
                value: Some(&notice.value),
                headers: Some(headers),
                ..Outgoing::default()
            };
            producer.send(&notice.topic, outgoing)?;
        }
        if let Some(topic) = &self.dead_letter_topic {
            for refused in &commit.refused {
                dead_letters::send(&producer, topic, self.pipeline, refused)?;
            }
        }
        let offsets = offset_list(&self.topic, commit.positions.iter().cloned())?;
        self.breath.settle().await;
        fault("before_commit");
        let consumer = self.consumer.clone();
        transactions.commit(&offsets, move || member(&consumer)).await?;
        fault("after_commit");
        Ok(())
    }

    /// After a commit that nobody knows the outcome of: what the group says.
    async fn was_committed(&mut self, positions: &[(Lane, i64, String)]) -> Result<bool> {
        // A new producer of the same name ends what the last one left open, one way or the other.
        if self.transactions.is_none() {
            self.begin().await?;
        }
        let mut asked = rdkafka::TopicPartitionList::new();
        for (lane, ..) in positions {
            asked.add_partition(&self.topic, *lane);
        }
        let consumer = self.consumer.clone();
        let found = crate::retry::patiently("Reading the group's positions", &self.stop, || {
            let asked = asked.clone();
            let found = tokio::task::block_in_place(|| consumer.committed_offsets(asked, ASK));
            let found = found.map_err(|error| of_kafka("Cannot read the group's positions", error));
            async { found }
        })
        .await?;
        let elements = found.elements();
        Ok(positions.iter().any(|(lane, position, note)| {
            elements.iter().any(|element| {
                element.partition() == *lane
                    && element.offset() == rdkafka::Offset::Offset(*position)
                    && element.metadata() == note
            })
        }))
    }
}

/// The group's metadata, while the partitions are ours.
fn member(consumer: &GroupConsumer) -> Result<ConsumerGroupMetadata> {
    let metadata = consumer.group_metadata();
    if consumer.assignment_lost() {
        return Err(Error::new(Kind::Fenced, "The partitions were lost"));
    }
    metadata.ok_or_else(|| Error::internal("A group has no metadata"))
}
