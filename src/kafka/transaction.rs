//! A source's position that is committed in one Kafka transaction with the records it stands for.
//!
//! The position is a group offset of the topic itself: the group is named after the transactional id, the blob is the
//! offset's metadata. A new producer of the same name fences the old one and aborts what it left open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::client::{ASK, Watch, base_config, of_kafka, with_properties};
use super::group::offset_list;
use super::producer::{Producer, fenced};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::flow::Checkpoints;
use crate::retry::patiently;

const COMMIT: Duration = Duration::from_secs(10);

/// After so long a call of librdkafka will not come back.
const HUNG: Duration = Duration::from_secs(15);

/// After so long a step that is tried again and again will not succeed, not even when the coordinator is back.
const STUCK: Duration = Duration::from_secs(30);

/// The transactions of one producer, one after the other.
pub(super) struct Transactions {
    pub(super) producer: Arc<Producer>,
    stop: CancellationToken,
    is_open: bool,
}

impl Transactions {
    /// Fences former producers of the same name, whose open transaction comes to nothing, and begins the first one.
    ///
    /// # Errors
    /// When the broker has no transactions, or refuses them.
    pub(super) async fn begin(producer: Arc<Producer>, stop: CancellationToken) -> Result<Self> {
        patiently("Beginning a transaction", &stop, || async {
            tokio::task::block_in_place(|| producer.inner.init_transactions(COMMIT))
                .map_err(|error| producer.explain("Cannot begin a transaction", error))
        })
        .await?;
        let mut this = Self { producer, stop, is_open: false };
        this.open()?;
        Ok(this)
    }

    fn open(&mut self) -> Result<()> {
        self.producer
            .inner
            .begin_transaction()
            .map_err(|error| self.producer.explain("Cannot begin a transaction", error))?;
        self.is_open = true;
        Ok(())
    }

    /// Commits what was sent with the offsets, and begins the next transaction. `member` gives the group's metadata,
    /// and an error where the partitions are no longer its own.
    ///
    /// # Errors
    /// `Aborted` when nothing of the transaction came to be, or nobody knows whether it did.
    pub(super) async fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        member: impl Fn() -> Result<ConsumerGroupMetadata>,
    ) -> Result<()> {
        let (stop, since) = (self.stop.clone(), Instant::now());
        let (this, member) = (&*self, &member);
        // Two steps: once the second has begun, the first is not to be tried again.
        patiently("Committing the position", &stop, || async {
            let (offsets, metadata) = (offsets.clone(), member()?);
            let call =
                move |producer: &Producer| producer.inner.send_offsets_to_transaction(&offsets, &metadata, COMMIT);
            this.step(since, call).await
        })
        .await?;
        member()?;
        self.commit_records().await
    }

    /// Commits what was sent, and begins the next transaction.
    ///
    /// # Errors
    /// As `commit`.
    pub(super) async fn commit_records(&mut self) -> Result<()> {
        let (this, since) = (&*self, Instant::now());
        patiently("Committing the transaction", &self.stop, || {
            this.step(since, |producer| producer.inner.commit_transaction(COMMIT))
        })
        .await?;
        self.is_open = false;
        self.open()
    }

    /// Takes everything back and begins anew. True when it is certain that nothing of it was committed.
    pub(super) async fn abort(&mut self) -> bool {
        self.is_open = false;
        let aborted = self.bounded(|producer| producer.inner.abort_transaction(COMMIT)).await;
        matches!(aborted, Some(Ok(()))) && self.open().is_ok()
    }

    /// Lets go of a producer that does not do what it is told; closing it may take its time.
    pub(super) fn leave(self) {
        std::thread::spawn(move || drop(self));
    }

    /// One step of a commit, which may be tried again while its error is transient.
    async fn step(
        &self,
        since: Instant,
        call: impl FnOnce(&Producer) -> KafkaResult<()> + Send + 'static,
    ) -> Result<()> {
        let Some(outcome) = self.bounded(call).await else {
            return Err(Error::new(Kind::Aborted, "The transaction was not committed in time"));
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                let kind = if since.elapsed() < STUCK { Kind::Unavailable } else { Kind::Aborted };
                Err(Error::new(kind, format!("The transaction was not committed yet: {error}")))
            }
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                Err(Error::new(Kind::Aborted, format!("The transaction had to be aborted: {error}")))
            }
            Err(error) => match self.producer.explain("The transaction was not committed", error) {
                error if error.kind() == Kind::Fenced => Err(fenced()),
                error => Err(self.producer.aborted(error)),
            },
        }
    }

    /// What `call` gives, or `None` when it does not come back: librdkafka 2.12 can wait for ever for a coordinator
    /// that was away and came back. Then its thread and its producer are left behind; the next producer fences them.
    async fn bounded<T: Send + 'static>(&self, call: impl FnOnce(&Producer) -> T + Send + 'static) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let producer = self.producer.clone();
        std::thread::spawn(move || drop(done.send(call(&producer))));
        tokio::time::timeout(HUNG, outcome).await.ok()?.ok()
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        if self.is_open {
            let _ = self.producer.inner.abort_transaction(Duration::from_secs(5));
        }
    }
}

/// The position of a source, committed with its records.
pub struct TransactionCheckpoints {
    transactions: Transactions,
    consumer: BaseConsumer<Watch>,
    topic: String,
}

impl std::fmt::Debug for TransactionCheckpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionCheckpoints").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl TransactionCheckpoints {
    /// Fences former producers of the same name and begins the first transaction.
    ///
    /// # Errors
    /// When the broker has no transactions, or refuses them.
    pub async fn begin(
        producer: Arc<Producer>,
        settings: &config::Kafka,
        transactional_id: &str,
        topic: &str,
        stop: CancellationToken,
    ) -> Result<Self> {
        let mut config = with_properties(base_config(settings), settings);
        config
            .set("group.id", transactional_id)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed");
        let consumer =
            config.create_with_context(Watch::default()).map_err(|error| of_kafka("Cannot make a consumer", error))?;
        let transactions = Transactions::begin(producer, stop).await?;
        Ok(Self { transactions, consumer, topic: topic.to_owned() })
    }
}

impl Checkpoints for TransactionCheckpoints {
    async fn load(&mut self) -> Result<Option<String>> {
        patiently("Reading the position", &self.transactions.stop.clone(), || async {
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&self.topic, 0);
            let found = tokio::task::block_in_place(|| self.consumer.committed_offsets(asked, ASK));
            let found = found.map_err(|error| of_kafka("Cannot read the position", error))?;
            let element = found.elements().into_iter().next();
            Ok(element
                .filter(|element| matches!(element.offset(), Offset::Offset(_)))
                .map(|element| element.metadata().to_owned()))
        })
        .await
    }

    async fn save(&mut self, blob: &str) -> Result<()> {
        let offsets = offset_list(&self.topic, [(0, 0, blob.to_owned())])?;
        let consumer = &self.consumer;
        let member = || consumer.group_metadata().ok_or_else(|| Error::internal("A group has no metadata"));
        self.transactions.commit(&offsets, member).await
    }
}
