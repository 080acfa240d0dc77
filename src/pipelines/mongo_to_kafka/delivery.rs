//! Messages and position, onto the topic and into the file: the position never before the messages.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::state::{Home, Progress, State, work};
use super::transform::Message;
use super::{NAME, PROPERTIES};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{DeadLetters, Guard, Refused};
use crate::kafka::{KeyedRecord, Producer, ProducerSettings, TopicDeadLetters, TransactionLog};
use crate::stats::{Stats, Timed};

/// What is settled at once.
#[derive(Debug)]
pub(super) struct Portion<P> {
    pub(super) messages: Vec<Message>,
    pub(super) refused: Vec<Refused>,
    /// How far the source has come with it.
    pub(super) progress: P,
    /// Documents or changes that were read for it.
    pub(super) read: u64,
    pub(super) bytes_read: u64,
}

enum Road {
    Plain(Box<Producer>),
    /// The position stands on a topic, in the transaction of its messages.
    Transactions(Box<TransactionLog>, String),
}

pub(super) struct Delivery<P> {
    road: Road,
    topic: String,
    home: Home,
    pub(super) state: State<P>,
    dead_letters: TopicDeadLetters,
    guard: Guard,
    stats: Arc<Stats>,
    /// Each portion is said.
    debug: bool,
    pub(super) transactions: u64,
    pub(super) tombstones: u64,
    /// Goes on where a former run ended.
    pub(super) is_resumed: bool,
}

impl<P: Progress> Delivery<P> {
    /// Shuts others out, and reads how far a former run came.
    pub(super) async fn open(
        config: &Config,
        database: &str,
        max_message_bytes: usize,
        stop: &CancellationToken,
        stats: &Arc<Stats>,
    ) -> Result<Self> {
        let home = Home::hold(config)?;
        let mut found = home.load::<P>(config, database)?.map(|found| found.state);
        let role = ProducerSettings {
            partitioner: config.partitioner.clone(),
            compression: config.compression.clone(),
            buffer_bytes: config.memory_limit / 4,
            transactional_id: None,
            transaction_timeout: None,
            max_message_bytes,
        };
        let (kafka, topic) = (&config.kafka, config.topic.clone());
        let road = if config.exactly_once {
            let (position, id) = (format!("{topic}_position"), work(config, database));
            let replicas = config.replication_factor;
            let log = TransactionLog::open(kafka, position, replicas, id.clone(), role, stop.clone()).await?;
            let logged = read::<P>(&log, &id)?;
            if let Some(logged) = logged.filter(|logged| found.as_ref().is_none_or(|found| logged.is_newer(found))) {
                found = Some(logged);
            }
            Road::Transactions(Box::new(log), id)
        } else {
            let producer = Producer::new(kafka, &role)?;
            producer.reach()?;
            Road::Plain(Box::new(producer))
        };
        if let Some(found) = &found {
            found.check(config, database)?;
        }
        let letters = config.dead_letter_topic.clone().unwrap_or_else(|| format!("{topic}_dlq"));
        Ok(Self {
            road,
            topic,
            home,
            is_resumed: found.is_some(),
            state: found.unwrap_or_else(|| State::new(config, database, P::default())),
            dead_letters: TopicDeadLetters::new(letters, NAME, kafka.clone(), stats.clone()).properties(&PROPERTIES),
            guard: Guard::new(config.max_rejected_share),
            stats: stats.clone(),
            debug: config.debug,
            transactions: 0,
            tombstones: 0,
        })
    }

    /// Sends a portion, and then remembers how far it reaches.
    pub(super) async fn send(&mut self, portion: Portion<P>) -> Result<()> {
        let Portion { messages, refused, progress, read, bytes_read } = portion;
        let (rows, letters) = (messages.len() as u64, refused.len() as u64);
        let bytes: usize = messages.iter().map(|message| message.value.as_ref().map_or(0, Vec::len)).sum();
        let tombstones = messages.iter().filter(|message| message.value.is_none()).count() as u64;
        self.stats.rows_read.add(read);
        self.stats.bytes_read.add(bytes_read);
        self.guard.accept(rows);
        self.refuse(refused).await?;
        let began = std::time::Instant::now();
        let blob = self.state.next(progress)?;
        self.deliver(messages, &blob).await?;
        fault("before_checkpoint");
        self.home.save::<P>(&blob).await?;
        if matches!(self.road, Road::Plain(_)) {
            fault("after_commit");
        }
        let took = began.elapsed();
        self.stats.took(Timed::Transaction, took);
        if self.debug {
            tracing::info!(read, written = rows, tombstones, rejected = letters, ?took, "sent and remembered");
        }
        self.transactions += 1;
        self.tombstones += tombstones;
        self.stats.rows_rejected.add(letters);
        self.stats.rows_written.add(rows);
        self.stats.bytes_written.add(bytes as u64);
        Ok(())
    }

    async fn refuse(&mut self, refused: Vec<Refused>) -> Result<()> {
        for one in &refused {
            self.guard.refuse(one);
        }
        self.dead_letters.send(refused).await?;
        self.guard.check()
    }

    async fn deliver(&mut self, messages: Vec<Message>, blob: &str) -> Result<()> {
        let topic = &self.topic;
        let records = messages.into_iter().map(|message| KeyedRecord {
            headers: message.headers,
            ..KeyedRecord::new(topic, message.key, message.value)
        });
        match &mut self.road {
            Road::Plain(producer) => {
                for record in records {
                    producer.send(topic, record.outgoing())?;
                    producer.poll()?;
                }
                producer.flush()?;
                if let Some(large) = producer.take_too_large().first() {
                    let key = large.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                    return Err(too_large(&format!("The broker refused the message of {key}: it is too large")));
                }
                fault("before_commit");
                Ok(())
            }
            Road::Transactions(log, id) => {
                let position = log.topic().to_owned();
                let state = KeyedRecord::new(&position, format!("{id}/state"), Some(blob.as_bytes().to_vec()));
                if records.len() == 0 {
                    return log.note(vec![state]).await;
                }
                log.send(records.chain([state]).collect()).await.map_err(|error| match error.kind() {
                    Kind::Rejected => too_large(&error.to_string()),
                    _ => error,
                })
            }
        }
    }

    pub(super) fn details(&self) -> [(String, serde_json::Value); 3] {
        [
            ("transactions".to_owned(), json!(self.transactions)),
            ("tombstones".to_owned(), json!(self.tombstones)),
            ("resumed".to_owned(), json!(self.is_resumed)),
        ]
    }
}

fn too_large(said: &str) -> Error {
    Error::new(Kind::Rejected, said).hint("Raise the topic's max.message.bytes; nothing was lost.")
}

fn read<P: Progress>(log: &TransactionLog, id: &str) -> Result<Option<State<P>>> {
    let (mut found, name) = (None, format!("{id}/state"));
    log.read(|key, value| {
        if key == name {
            found = value.map(str::to_owned);
        }
    })?;
    let unreadable = |error| {
        Error::settings(format!("The position on {} cannot be read: {error}", log.topic()))
            .hint("Use `cursor reset` to begin again.")
    };
    found.map(|state| serde_json::from_str(&state).map_err(unreadable)).transpose()
}
