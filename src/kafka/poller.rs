//! The thread that polls: it packs messages by partition and hands them on, and it never stops polling for long,
//! however slow the sink is, so that the group keeps us.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::client::{Watch, of_kafka};
use super::closing::{GroupConsumer, answer};
use super::fence::Breath;
use super::message::Records;
use crate::error::{Error, Kind};

/// What the poller hands on.
#[derive(Debug)]
pub(super) enum Polled {
    Records(i32, Records),
    /// So far there is no more in the partition; and where it goes on, past what is no message.
    EndOf(i32, Option<i64>),
    Assigned(Vec<i32>),
    Revoked {
        partitions: Vec<i32>,
        lost: bool,
    },
    Failed(Error),
}

/// Keeps rebalances for the poller to hand on in order; what must be done about them is done elsewhere.
#[derive(Debug, Default)]
pub(super) struct Rebalances {
    pub(super) watch: Watch,
    waiting: Mutex<Vec<Polled>>,
    /// Set when the consumer is closed: a revoke then needs no settling.
    pub(super) is_closing: AtomicBool,
    /// Set when one has been answered since.
    pub(super) has_answered: AtomicBool,
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> =
            list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        if self.is_closing.load(Ordering::SeqCst) {
            answer(consumer);
            self.has_answered.store(true, Ordering::SeqCst);
            return;
        }
        let polled = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Polled::Assigned(partitions),
            _ => Polled::Revoked { partitions, lost: consumer.assignment_lost() },
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(polled);
    }
}

/// Answers an assignment.
pub(super) fn take_over(consumer: &BaseConsumer<Rebalances>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        _ => consumer.assign(list),
    }
}

/// Answers a revoke.
pub(super) fn give_back(consumer: &BaseConsumer<Rebalances>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

/// How long the poller waits for room, at the most, before it pauses its partitions and polls on.
const ROOM: Duration = Duration::from_secs(20);

/// A pack is handed on at this size.
const PACK_BYTES: usize = 256 * 1024;
const PACK_ROWS: usize = 4096;

/// How long it waits for a message: so long may it take to notice that the other side has gone.
const NAP: Duration = Duration::from_millis(20);

/// What has been read is handed on after so long a silence, and after so long at the most.
const LULL: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);

pub(super) struct Poller {
    pub(super) consumer: Arc<GroupConsumer>,
    pub(super) breath: Arc<Breath>,
    pub(super) to: Sender<Polled>,
    pub(super) max_poll_interval: Duration,
}

impl Poller {
    /// Where librdkafka stands, which needs no broker for it.
    fn position(&self, partition: i32) -> Option<i64> {
        let positions = self.consumer.position().ok()?;
        positions.elements().iter().find(|element| element.partition() == partition)?.offset().to_raw()
    }

    /// Polls until the other side has gone.
    pub(super) fn run(self) {
        let mut packs: BTreeMap<i32, Records> = BTreeMap::new();
        // Since when there are messages that have not been handed on.
        let mut since: Option<Instant> = None;
        while !self.to.is_closed() {
            let wait = if since.is_none() { NAP } else { LULL };
            // Without waiting first: that spares librdkafka a look at the clock for each message.
            let polled = self.consumer.poll(Duration::ZERO).or_else(|| self.consumer.poll(wait));
            let sent = match polled {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let pack = packs.entry(partition).or_default();
                    pack.push(&message);
                    drop(message);
                    since.get_or_insert_with(Instant::now);
                    if pack.len().is_multiple_of(64) {
                        self.breath.breathe();
                    }
                    if pack.len().is_multiple_of(64) && since.is_some_and(|since| since.elapsed() > LONGEST) {
                        since = None;
                        self.hand_on_all(&mut packs)
                    } else if pack.bytes() >= PACK_BYTES || pack.len() >= PACK_ROWS {
                        let pack = std::mem::take(pack);
                        self.hand_on(Polled::Records(partition, pack))
                    } else {
                        true
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    since = None;
                    let position = self.position(partition);
                    self.hand_on_all(&mut packs) && self.hand_on(Polled::EndOf(partition, position))
                }
                Some(Err(error)) => match failure(&error, &self.consumer.context().watch) {
                    Some(error) => self.hand_on(Polled::Failed(error)),
                    None => true,
                },
                None => {
                    self.breath.breathe();
                    since = None;
                    self.hand_on_all(&mut packs)
                }
            };
            if !(sent && self.hand_on_rebalances(&mut packs)) {
                return;
            }
        }
    }

    fn hand_on_rebalances(&self, packs: &mut BTreeMap<i32, Records>) -> bool {
        let waiting =
            std::mem::take(&mut *self.consumer.context().waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return true;
        }
        self.hand_on_all(packs) && waiting.into_iter().all(|event| self.hand_on(event))
    }

    fn hand_on_all(&self, packs: &mut BTreeMap<i32, Records>) -> bool {
        packs
            .iter_mut()
            .filter(|(_, pack)| !pack.is_empty())
            .all(|(partition, pack)| self.hand_on(Polled::Records(*partition, std::mem::take(pack))))
    }

    /// False when the other side has gone.
    fn hand_on(&self, mut polled: Polled) -> bool {
        let room = ROOM.min(self.max_poll_interval / 4);
        let mut since = Instant::now();
        let mut paused: Option<TopicPartitionList> = None;
        loop {
            match self.to.try_send(polled) {
                Ok(()) => break,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(back)) => polled = back,
            }
            self.breath.breathe();
            if since.elapsed() < room && paused.is_none() {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            // Polled empty-handed: with everything paused no message comes, but the group sees us.
            if paused.is_none() || since.elapsed() >= room {
                since = Instant::now();
                paused = self.consumer.assignment().ok().inspect(|all| drop(self.consumer.pause(all)));
            }
            if let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(50)) {
                self.wind_back(&message);
            }
        }
        if let Some(paused) = paused {
            let _ = self.consumer.resume(&paused);
        }
        true
    }

    /// A message that slipped through the pause is read again later.
    fn wind_back(&self, message: &rdkafka::message::BorrowedMessage<'_>) {
        let offset = rdkafka::Offset::Offset(message.offset());
        if let Err(error) = self.consumer.seek(message.topic(), message.partition(), offset, Duration::from_secs(5)) {
            tracing::warn!(%error, "a paused partition could not be wound back");
        }
    }
}

/// What ends the run; all else passes by itself and is only logged.
fn failure(error: &KafkaError, watch: &Watch) -> Option<Error> {
    let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition) => Some(
            Error::new(Kind::NotFound, "The topic is gone")
                .hint("Check its name; the pipeline that sends to a topic creates it."),
        ),
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Some(
            Error::new(Kind::DataLoss, "Records that were not read yet have been deleted from the topic")
                .hint("Raise the topic's retention. To go on with what is left, reset the group's offsets."),
        ),
        _ => {
            let said = of_kafka("Reading failed", error.clone());
            if is_fatal || said.kind() == Kind::Access {
                return watch.trouble.take_lasting().or(Some(said));
            }
            tracing::debug!(%error, "librdkafka reports a passing error");
            None
        }
    }
}
