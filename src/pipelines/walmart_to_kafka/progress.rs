//! How far a run has come, on a topic of its own in the same transactions as the orders.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

use super::config::Config;
use super::memory::Memory;
use crate::error::{Error, Result};
use crate::kafka::{KeyedRecord, ProducerSettings, TransactionLog, max_message_bytes};

/// Progress over windows without an order is put down so often.
const QUIET: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    work: Value,
    start: DateTime<Utc>,
    complete_up_to: DateTime<Utc>,
    is_finished: bool,
}

pub(super) struct Progress {
    log: TransactionLog,
    topic: String,
    id: String,
    work: Value,
    state: Option<State>,
    pub(super) memory: Memory,
    /// The state is not put down yet.
    is_ahead: bool,
    put_down: Instant,
}

/// An order's key and message.
pub(super) type Message = (String, Vec<u8>);

impl Progress {
    /// Fences a former run of the same work, and reads how far it came.
    pub(super) async fn open(config: &Config, work: Value, stop: &CancellationToken) -> Result<Self> {
        let topic = config.topic.clone();
        let id = format!("pipeline_core.walmart.{topic}.{:032x}", xxh3_128(work.to_string().as_bytes()));
        let role = ProducerSettings {
            partitioner: config.partitioner.clone(),
            compression: config.compression.clone(),
            buffer_bytes: config.memory_limit / 4,
            transactional_id: None,
            transaction_timeout: None,
            max_message_bytes: max_message_bytes(&config.kafka, &topic).await,
        };
        let (kafka, log_topic) = (&config.kafka, format!("{topic}_progress"));
        let log =
            TransactionLog::open(kafka, log_topic, config.replication_factor, id.clone(), role, stop.clone()).await?;
        let mut this = Self {
            log,
            topic,
            id,
            work,
            state: None,
            memory: Memory::default(),
            is_ahead: false,
            put_down: Instant::now(),
        };
        this.read()?;
        if config.restart || this.state.as_ref().is_some_and(|state| state.is_finished) {
            this.state = None;
            this.memory.forget_all();
        }
        Ok(this)
    }

    fn read(&mut self) -> Result<()> {
        let mut state = None;
        let (id, memory) = (&self.id, &mut self.memory);
        self.log.read(|key, value| match key.strip_prefix(id.as_str()) {
            Some("/state") => state = value.map(str::to_owned),
            Some(rest) => {
                if let Some(order) = rest.strip_prefix("/order/") {
                    memory.recall(order, value);
                }
            }
            None => {}
        })?;
        let topic = self.log.topic();
        let unreadable = |error| {
            Error::settings(format!("The progress on {topic} cannot be read: {error}"))
                .hint("Use --restart to forget it.")
        };
        self.state = state.map(|state| serde_json::from_str(&state).map_err(unreadable)).transpose()?;
        Ok(())
    }

    /// Where the interrupted run began, and up to where all is sent.
    pub(super) fn interrupted(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        self.state.as_ref().map(|state| (state.start, state.complete_up_to))
    }

    /// Begins where no other run has been interrupted; from now on this one can be.
    pub(super) async fn begin(&mut self, start: DateTime<Utc>) -> Result<()> {
        if self.state.is_some() {
            return Ok(());
        }
        let work = self.work.clone();
        self.state = Some(State { work, start, complete_up_to: start, is_finished: false });
        self.is_ahead = true;
        self.settle().await
    }

    /// Sends the orders, and with them puts down that all is complete up to `end`.
    pub(super) async fn commit(&mut self, end: DateTime<Utc>, messages: Vec<Message>) -> Result<()> {
        if let Some(state) = &mut self.state {
            state.complete_up_to = state.complete_up_to.max(end);
        }
        self.is_ahead = true;
        let changes = self.memory.changes();
        if messages.is_empty() && changes.is_empty() && self.put_down.elapsed() < QUIET {
            return Ok(());
        }
        self.send(messages, changes).await
    }

    /// Nothing is left to resume. The last thing of a run: killed before, it is gone on with; killed after, it is over.
    pub(super) async fn finish(&mut self) -> Result<()> {
        if let Some(state) = &mut self.state {
            state.is_finished = true;
        }
        self.memory.forget_all();
        self.is_ahead = true;
        self.settle().await
    }

    /// Puts down what is not put down yet.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if !self.is_ahead {
            return Ok(());
        }
        let changes = self.memory.changes();
        self.send(Vec::new(), changes).await
    }

    async fn send(&mut self, messages: Vec<Message>, changes: Vec<(String, Option<String>)>) -> Result<()> {
        let log_topic = self.log.topic().to_owned();
        let state = serde_json::to_vec(&self.state).map_err(|error| Error::internal(error.to_string()))?;
        let is_note = messages.is_empty();
        let mut records = Vec::with_capacity(messages.len() + changes.len() + 2);
        for (key, message) in messages {
            records.push(KeyedRecord::new(&self.topic, key, Some(message)));
        }
        for (order, entry) in changes {
            let key = format!("{}/order/{order}", self.id);
            records.push(KeyedRecord::new(&log_topic, key, entry.map(String::into_bytes)));
        }
        records.push(KeyedRecord::new(&log_topic, format!("{}/state", self.id), Some(state)));
        if is_note {
            self.log.note(records).await?;
        } else {
            self.log.send(records).await?;
        }
        (self.is_ahead, self.put_down) = (false, Instant::now());
        Ok(())
    }
}
