//! A Kafka producer for Python: messages one by one, each accounted for.
//!
//! A call that must wait does so detached, a tenth of a second at a time, and hears signals in between. What was not
//! delivered is kept until a call raises it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use serde::Deserialize;

use super::call::{BEAT, Stop, call, forked, heartbeat};
use super::logs::Listener;
use crate::config::{Kafka, from_json};
use crate::error::{Error, Kind, Result};
use crate::flow::Headers;
use crate::kafka::{self, Outgoing, ProducerSettings, TopicSpec, ensure_topic, max_message_bytes};
use crate::stats::Stats;

/// Milliseconds between two servings of delivery reports.
const SERVED: u64 = 2;

/// How long a record waits for room before delivery reports are looked at again.
const TURN: Duration = Duration::from_millis(5);

/// A key that is longer is cut where it is told.
const TOLD: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    kafka: Kafka,
    topic: String,
    partitioner: String,
    compression: String,
    memory_limit: usize,
    partitions: Option<i32>,
    replication_factor: Option<i32>,
}

/// Sends messages to one topic.
#[pyclass(frozen, module = "pipeline_core._core")]
pub(super) struct Producer {
    topic: String,
    pid: u32,
    began: Instant,
    /// When delivery reports were served last, in milliseconds since it began.
    served: AtomicU64,
    producer: Mutex<Option<Arc<kafka::Producer>>>,
    lost: Mutex<Lost>,
}

/// What was not delivered and has not been raised yet.
#[derive(Debug, Default)]
struct Lost {
    first: Option<Error>,
    others: u64,
}

impl Lost {
    fn add(&mut self, error: Error) {
        match self.first {
            Some(_) => self.others += 1,
            None => self.first = Some(hinted(error)),
        }
    }

    fn take(&mut self) -> Result<()> {
        let others = std::mem::take(&mut self.others);
        match self.first.take() {
            None => Ok(()),
            Some(first) if others == 0 => Err(first),
            Some(first) => {
                let hint = first.advice().unwrap_or_default().to_owned();
                Err(Error::new(first.kind(), format!("{first}; and {others} more")).hint(hint))
            }
        }
    }
}

/// The hint for what passes by itself is meant for runs, which are repeated whole.
fn hinted(error: Error) -> Error {
    if error.is_transient() { error.hint("Send again what has not arrived.") } else { error }
}

async fn open(config: Config) -> Result<kafka::Producer> {
    let Config { kafka, topic, partitioner, compression, memory_limit, partitions, replication_factor } = config;
    ensure_topic(&kafka, TopicSpec { partitions, replication_factor, ..TopicSpec::named(&topic) }).await?;
    let role = ProducerSettings {
        partitioner,
        compression,
        buffer_bytes: memory_limit,
        transactional_id: None,
        transaction_timeout: None,
        max_message_bytes: max_message_bytes(&kafka, &topic).await,
    };
    kafka::Producer::new(&kafka, &role)
}

#[pymethods]
impl Producer {
    /// Reaches the brokers, and makes the topic where it is missing; `config` is JSON.
    #[new]
    #[pyo3(signature = (config, stop, beat=None))]
    fn new(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let config: Config = from_json(config)?;
        let topic = config.topic.clone();
        let producer = call(py, stop, beat, async move |_, _| open(config).await)?;
        let producer = Mutex::new(Some(Arc::new(producer)));
        Ok(Self {
            topic,
            pid: std::process::id(),
            began: Instant::now(),
            served: AtomicU64::new(0),
            producer,
            lost: Mutex::default(),
        })
    }

    /// Hands a message over; waits while too much is on its way. When it raises, this message was not sent.
    #[pyo3(signature = (value, key=None, headers=None, beat=None))]
    fn send(
        &self,
        py: Python<'_>,
        value: Option<&[u8]>,
        key: Option<&[u8]>,
        headers: Option<Vec<(String, Option<Vec<u8>>)>>,
        beat: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let producer = self.open()?;
        if self.is_due() {
            self.note(&producer, producer.poll());
        }
        self.lost().take()?;
        let mut outgoing = Outgoing { key, value, ..Outgoing::default() };
        if let Some(headers) = headers {
            let mut packed = Headers::default();
            for (name, value) in &headers {
                packed.push(name, value.as_deref());
            }
            outgoing = outgoing.bearing(&packed);
        }
        let mut left = self.offer(&producer, outgoing, Duration::ZERO)?;
        if left.is_none() {
            return Ok(());
        }
        let listener = Listener::new();
        while let Some(mut outgoing) = left {
            heartbeat(py, beat, &Stats::default(), &listener)?;
            left = py.detach(|| {
                let deadline = Instant::now() + BEAT;
                while Instant::now() < deadline {
                    match self.offer(&producer, outgoing, TURN)? {
                        None => return Ok(None),
                        Some(back) => outgoing = back,
                    }
                }
                Ok::<_, Error>(Some(outgoing))
            })?;
        }
        Ok(())
    }

    /// Waits until all is acknowledged; raises what was not delivered, and that time is over.
    #[pyo3(signature = (timeout=None, beat=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>, beat: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let producer = self.open()?;
        let limit = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        let (began, listener) = (Instant::now(), Listener::new());
        loop {
            let wait = limit.map_or(BEAT, |limit| limit.saturating_sub(began.elapsed()).min(BEAT));
            let is_over = py.detach(|| match producer.settle(wait) {
                Ok(is_settled) => {
                    self.note(&producer, Ok(()));
                    is_settled
                }
                Err(error) => {
                    // These do not pass while it waits.
                    let is_final = error.kind() == Kind::Access || producer.is_broken();
                    self.note(&producer, Err(error));
                    is_final
                }
            });
            if is_over {
                return Ok(self.lost().take()?);
            }
            heartbeat(py, beat, &Stats::default(), &listener)?;
            if limit.is_some_and(|limit| began.elapsed() >= limit) {
                let late = format!(
                    "{} messages for {} are not acknowledged after {} s",
                    producer.in_flight(),
                    self.topic,
                    timeout.unwrap_or_default()
                );
                self.lost().add(Error::new(Kind::Unavailable, late));
                return Ok(self.lost().take()?);
            }
        }
    }

    /// Ends it without waiting; how many messages were not acknowledged.
    fn close(&self, py: Python<'_>) -> i32 {
        if self.pid != std::process::id() {
            return 0;
        }
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let in_flight = producer.as_ref().map_or(0, |producer| producer.in_flight());
        py.detach(|| drop(producer));
        in_flight
    }

    /// Whether it was made in this process and has not been closed.
    #[getter]
    fn is_open(&self) -> bool {
        self.pid == std::process::id() && self.producer.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Producer {
    fn open(&self) -> PyResult<Arc<kafka::Producer>> {
        // A fork may hold the lock for ever.
        if self.pid != std::process::id() {
            return Err(forked());
        }
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(producer.ok_or_else(|| Error::settings("This KafkaProducer is closed").hint("Make a new one."))?)
    }

    /// Whether delivery reports are to be served by this `send`: each time would cost as much as the sending.
    fn is_due(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let is_due = now.saturating_sub(self.served.load(Relaxed)) >= SERVED;
        if is_due {
            self.served.store(now, Relaxed);
        }
        is_due
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was not delivered.
    fn note(&self, producer: &kafka::Producer, outcome: Result<()>) {
        for record in producer.take_too_large() {
            let size = record.value.map_or(0, |value| value.len());
            self.lost().add(self.too_large(size, record.key.as_deref()));
        }
        if let Err(error) = outcome {
            self.lost().add(error);
        }
    }

    fn offer<'a>(
        &self,
        producer: &kafka::Producer,
        outgoing: Outgoing<'a>,
        wait: Duration,
    ) -> Result<Option<Outgoing<'a>>> {
        let (key, size) = (outgoing.key, outgoing.value.map_or(0, <[u8]>::len));
        producer.offer(&self.topic, outgoing, wait).map_err(|error| match error.kind() {
            Kind::Rejected => self.too_large(size, key),
            _ => hinted(error),
        })
    }

    fn too_large(&self, size: usize, key: Option<&[u8]>) -> Error {
        let key = key.map(|key| String::from_utf8_lossy(&key[..key.len().min(TOLD)]).into_owned());
        let of_key = key.map(|key| format!(" of the key {key:?}")).unwrap_or_default();
        Error::new(Kind::Rejected, format!("A message{of_key} has {size} bytes, more than topic {} takes", self.topic))
            .hint("Make it smaller, or raise the topic's max.message.bytes; all others are sent.")
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let producer = self.producer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.pid == std::process::id() {
            Python::attach(|py| py.detach(|| drop(producer)));
        } else {
            // Its threads are not in this process, and ending it would wait for them.
            std::mem::forget(producer);
        }
    }
}
