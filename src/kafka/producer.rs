//! A producer whose every record is accounted for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::client::{ASK, Watch, base_config, of_kafka, with_properties};
use super::embedded::{self, PARTITION_BYTES};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::flow::Headers;

#[derive(Debug, Clone)]
pub struct ProducerSettings {
    pub partitioner: String,
    pub compression: String,
    /// What may be on its way to the broker, in bytes.
    pub buffer_bytes: usize,
    /// Writes in transactions under this name.
    pub transactional_id: Option<String>,
    /// After so long the broker aborts a transaction that is still open.
    pub transaction_timeout: Option<Duration>,
    /// What the topic takes at once.
    pub max_message_bytes: usize,
}

/// Keeps what was not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    watch: Watch,
    /// The embedded broker's partitions are counted.
    is_counting: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failure: Option<Error>,
    /// Records that were not accepted, that of `failure` among them.
    failed: u64,
    too_large: Vec<TooLarge>,
    /// Bytes by partition, on the embedded broker.
    stored: HashMap<(String, i32), u64>,
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first failure, and how many there were since the last call.
    fn take_failure(&mut self) -> Option<Error> {
        let failed = std::mem::take(&mut self.failed);
        let failure = self.failure.take()?;
        Some(match failed {
            0 | 1 => failure,
            _ => Error::new(failure.kind(), format!("{failure}; nor were {} others", failed - 1)).caused_by(failure),
        })
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivery: &DeliveryResult<'_>, ticket: usize) {
        match delivery {
            Ok(message) => {
                if self.is_counting {
                    *self.state().stored.entry((message.topic().to_owned(), message.partition())).or_default() +=
                        stored_size(message);
                }
            }
            Err((KafkaError::MessageProduction(Code::MessageSizeTooLarge | Code::InvalidMessageSize), message)) => {
                let (key, value) = (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec));
                self.state().too_large.push(TooLarge { ticket, key, value });
            }
            Err((error, message)) => {
                let what = format!("A record for {} was not accepted", message.topic());
                let mut state = self.state();
                state.failure.get_or_insert_with(|| of_kafka(&what, error.clone()));
                state.failed += 1;
            }
        }
    }
}

/// A record that the broker found too large.
#[derive(Debug)]
pub struct TooLarge {
    pub ticket: usize,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// A later producer of the same transactional id has taken over.
pub(super) fn fenced() -> Error {
    Error::new(Kind::Conflict, "Another run sends the same data to the same topic")
        .hint("Let it end, or stop it; this one has sent nothing twice.")
}

/// A record and what surrounds it, not compressed: more than is really kept.
fn stored_size(message: &impl Message) -> u64 {
    (message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len) + 70) as u64
}

/// Headers as librdkafka takes them.
pub(super) fn owned(headers: &Headers) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new(), |owned, (key, value)| owned.insert(Header { key, value }))
}

/// A record to send.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    /// Without one, its key decides.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Option<OwnedHeaders>,
    /// Names the record again if it turns out too large.
    pub ticket: usize,
}

impl Outgoing<'_> {
    /// The same with these headers.
    #[must_use]
    pub fn bearing(self, headers: &Headers) -> Self {
        Self { headers: Some(owned(headers)), ..self }
    }
}

/// Sends records; idempotent, acknowledged by all replicas.
pub struct Producer {
    pub(super) inner: BaseProducer<Deliveries>,
    settings: config::Kafka,
    is_transactional: bool,
    /// Bytes handed over since the last flush; bounds what the embedded broker may still get.
    unflushed: AtomicU64,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("servers", &self.settings.bootstrap_servers).finish_non_exhaustive()
    }
}

/// A batch on its way to the broker, in bytes.
const BATCH: usize = 1_000_000;

/// How often a long wait is told.
const SAID: Duration = Duration::from_secs(10);

/// How long a record waits for room before it is looked what else there is.
const WAIT: Duration = Duration::from_millis(20);

/// On the embedded broker, so much may be on its way at a time.
const EMBEDDED_STEP: u64 = 1024 * 1024;

impl Producer {
    /// # Errors
    /// When a setting is wrong.
    pub fn new(settings: &config::Kafka, role: &ProducerSettings) -> Result<Self> {
        // A message that is larger than the queue would wait for ever.
        let queue = role.buffer_bytes.max(2 * role.max_message_bytes);
        let mut config = base_config(settings);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", &role.partitioner)
            .set("compression.type", &role.compression)
            .set("linger.ms", "10")
            .set("message.max.bytes", role.max_message_bytes.to_string())
            .set("batch.size", role.max_message_bytes.min(BATCH).to_string())
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.kbytes", (queue / 1024).max(1024).to_string())
            // librdkafka needs some 300 bytes a message beside its own, which the limit above leaves out.
            .set("queue.buffering.max.messages", (role.buffer_bytes / 512).max(10_000).to_string());
        if role.compression == "gzip" {
            // Its default takes two and a half times as long for an eighth less.
            config.set("compression.level", "1");
        }
        if let Some(timeout) = role.transaction_timeout {
            config.set("transaction.timeout.ms", timeout.as_millis().to_string());
        }
        let mut config = with_properties(config, settings);
        if let Some(id) = &role.transactional_id {
            config.set("transactional.id", id);
        }
        let is_counting = embedded::is_embedded(&settings.bootstrap_servers);
        let deliveries = Deliveries { is_counting, ..Deliveries::default() };
        let inner =
            config.create_with_context(deliveries).map_err(|error| of_kafka("Cannot make a producer", error))?;
        let is_transactional = role.transactional_id.is_some();
        Ok(Self { inner, settings: settings.clone(), is_transactional, unflushed: AtomicU64::new(0) })
    }

    /// Hands a record over; waits while too much is on its way.
    ///
    /// # Errors
    /// `Rejected` when the record is larger than the topic takes: only this one is refused. All others end the run.
    pub fn send(&self, topic: &str, outgoing: Outgoing<'_>) -> Result<()> {
        let mut left = Some(outgoing);
        while let Some(outgoing) = left {
            left = self.offer(topic, outgoing, WAIT)?;
        }
        Ok(())
    }

    /// Hands a record over, or gives it back after so long when too much is on its way.
    ///
    /// # Errors
    /// As `send`.
    pub fn offer<'a>(&self, topic: &str, outgoing: Outgoing<'a>, wait: Duration) -> Result<Option<Outgoing<'a>>> {
        let size = outgoing.value.map_or(0, <[u8]>::len) + outgoing.key.map_or(0, <[u8]>::len);
        if !self.has_room(topic, size as u64, wait)? {
            return Ok(Some(outgoing));
        }
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, outgoing.ticket);
        record.partition = outgoing.partition;
        record.key = outgoing.key;
        record.payload = outgoing.value;
        record.headers = outgoing.headers;
        match self.inner.send(record) {
            Ok(()) => Ok(None),
            Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                tokio::task::block_in_place(|| self.inner.poll(wait));
                self.check()?;
                Ok(Some(Outgoing { headers: back.headers, ..outgoing }))
            }
            Err((error, _)) => Err(self.aborted(self.explain(&format!("Cannot send to {topic}"), error))),
        }
    }

    /// The embedded broker drops what does not fit without a word, so stop before.
    fn has_room(&self, topic: &str, size: u64, wait: Duration) -> Result<bool> {
        if !self.inner.context().is_counting {
            return Ok(true);
        }
        if self.unflushed.load(Relaxed) + size >= EMBEDDED_STEP {
            if !self.settle(wait)? {
                return Ok(false);
            }
            self.unflushed.store(0, Relaxed);
            let state = self.inner.context().state();
            let fullest = state.stored.iter().filter(|((name, _), _)| name == topic).map(|(_, bytes)| *bytes).max();
            if fullest.unwrap_or(0) + EMBEDDED_STEP.max(size) > PARTITION_BYTES {
                return Err(Error::new(Kind::Capacity, format!("Topic {topic} would not fit into the embedded broker, which keeps 5 MiB of a partition"))
                    .hint("Use more partitions (--partitions), fewer rows (--limit), or a Kafka of your own (KAFKA_BOOTSTRAP_SERVERS)."));
            }
        }
        self.unflushed.fetch_add(size + 70, Relaxed);
        Ok(true)
    }

    /// Serves delivery reports.
    ///
    /// # Errors
    /// The first record that was not accepted.
    pub fn poll(&self) -> Result<()> {
        self.inner.poll(Duration::ZERO);
        self.check()
    }

    /// The records that the broker found too large, since the last call.
    #[must_use]
    pub fn take_too_large(&self) -> Vec<TooLarge> {
        std::mem::take(&mut self.inner.context().state().too_large)
    }

    /// Waits until every record has been acknowledged.
    ///
    /// # Errors
    /// The first record that was not accepted.
    pub fn flush(&self) -> Result<()> {
        while !self.settle(SAID)? {
            tracing::warn!(records = self.in_flight(), "waiting for the broker to acknowledge");
        }
        Ok(())
    }

    /// Waits for so long at most; whether every record has been acknowledged.
    ///
    /// # Errors
    /// The first record that was not accepted, since the last call.
    pub fn settle(&self, wait: Duration) -> Result<bool> {
        tokio::task::block_in_place(|| {
            let deadline = Instant::now() + wait;
            while self.inner.in_flight_count() > 0 {
                // Sends what lingers, waits for nothing: its own way of waiting sleeps a tenth of a second.
                let _ = self.inner.flush(Duration::ZERO);
                self.inner.poll(Duration::from_millis(5));
                self.check()?;
                if Instant::now() > deadline {
                    return Ok(self.inner.in_flight_count() == 0);
                }
            }
            self.check().map(|()| true)
        })
    }

    /// Records that have not been acknowledged so far.
    #[must_use]
    pub fn in_flight(&self) -> i32 {
        self.inner.in_flight_count()
    }

    fn check(&self) -> Result<()> {
        let context = self.inner.context();
        if let Some(fatal) = self.fatal() {
            return Err(fatal);
        }
        if let Some(failure) = context.state().take_failure() {
            return Err(self.aborted(failure));
        }
        match context.watch.trouble.take_lasting() {
            Some(trouble) if trouble.kind() == Kind::Access => Err(trouble),
            _ => Ok(()),
        }
    }

    /// In a transaction, what passes by itself costs the transaction and no more.
    pub(super) fn aborted(&self, error: Error) -> Error {
        if self.is_transactional && error.is_transient() {
            Error::new(Kind::Aborted, error.to_string()).caused_by(error)
        } else {
            error
        }
    }

    /// Whether nothing can be sent any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.fatal().is_some()
    }

    /// Why nothing can be sent any more, if so.
    fn fatal(&self) -> Option<Error> {
        let (code, reason) = self.inner.client().fatal_error()?;
        Some(match code {
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => fenced(),
            _ => of_kafka(&format!("The producer has failed: {reason}"), KafkaError::MessageProduction(code)),
        })
    }

    pub(super) fn explain(&self, what: &str, error: KafkaError) -> Error {
        if let Some(fatal) = self.fatal() {
            return fatal;
        }
        match self.inner.context().watch.trouble.take_lasting() {
            Some(trouble) => trouble,
            None => of_kafka(what, error),
        }
    }

    /// Makes sure that the broker answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn reach(&self) -> Result<()> {
        let asked = self.inner.client().fetch_metadata(None, ASK);
        asked
            .map(drop)
            .map_err(|error| self.explain(&format!("Cannot reach Kafka at {}", self.settings.bootstrap_servers), error))
    }
}
