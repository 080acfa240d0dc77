//! How far the changes have been sent, on a topic of its own in the same transactions as the messages.

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::catalog::Identity;
use super::config::Config;
use super::reader::Batch;
use super::snapshot::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::flow::Headers;
use crate::kafka::{KeyedRecord, ProducerSettings, TransactionLog, max_message_bytes};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    table: String,
    #[serde(flatten)]
    identity: Identity,
    /// Numbers of another generation say nothing of this one's order.
    pub(super) generation: u32,
    /// The last change that was sent; all before it were.
    pub(super) position: i64,
    pub(super) snapshot: Option<Snapshot>,
}

pub(super) struct Progress {
    log: TransactionLog,
    topic: String,
    id: String,
    pub(super) state: State,
    /// Where a former run ended.
    pub(super) resumed_from: Option<i64>,
}

impl Progress {
    /// Fences a former run of the same work, and reads how far it came.
    pub(super) async fn open(config: &Config, identity: &Identity, stop: &CancellationToken) -> Result<Self> {
        let topic = config.topic.clone();
        let id = format!("pipeline_core.postgres.{topic}.{}", config.table);
        let role = ProducerSettings {
            partitioner: config.partitioner.clone(),
            compression: config.compression.clone(),
            buffer_bytes: config.memory_limit / 4,
            transactional_id: None,
            transaction_timeout: None,
            max_message_bytes: max_message_bytes(&config.kafka, &topic).await,
        };
        let (kafka, log_topic) = (&config.kafka, format!("{topic}_position"));
        let log =
            TransactionLog::open(kafka, log_topic, config.replication_factor, id.clone(), role, stop.clone()).await?;
        let found = read(&log, &id)?;
        let is_known = found.is_some();
        let state = begin(config, identity, found)?;
        let resumed_from = (is_known && !config.restart).then_some(state.position);
        let mut this = Self { log, topic, id, state, resumed_from };
        // What was decided here stands, however early the run ends.
        if !is_known || config.restart || config.position.is_some() {
            this.note().await?;
        }
        Ok(this)
    }

    /// Sends a batch, and with it puts down how far it reaches.
    pub(super) async fn commit(&mut self, batch: Batch) -> Result<()> {
        self.state.position = batch.position;
        self.state.snapshot = batch.snapshot;
        if batch.messages.is_empty() {
            return self.note().await;
        }
        let mut headers = Headers::default();
        if self.state.generation != 0 {
            headers.push("pipeline_core.generation", Some(self.state.generation.to_string().as_bytes()));
        }
        if batch.is_snapshot {
            headers.push("pipeline_core.snapshot", Some(b"true"));
        }
        let (state, log_topic) = (self.written()?, self.log.topic().to_owned());
        let mut records = Vec::with_capacity(batch.messages.len() + 2);
        for message in batch.messages {
            records.push(KeyedRecord {
                topic: &self.topic,
                key: message.key,
                value: Some(message.value),
                headers: headers.clone(),
                ..KeyedRecord::default()
            });
        }
        records.push(KeyedRecord::new(&log_topic, format!("{}/state", self.id), Some(state)));
        self.log.send(records).await.map_err(explain)
    }

    async fn note(&mut self) -> Result<()> {
        let (state, log_topic) = (self.written()?, self.log.topic().to_owned());
        self.log.note(vec![KeyedRecord::new(&log_topic, format!("{}/state", self.id), Some(state))]).await
    }

    fn written(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.state).map_err(|error| Error::internal(error.to_string()))
    }
}

fn read(log: &TransactionLog, id: &str) -> Result<Option<State>> {
    let (mut found, name) = (None, format!("{id}/state"));
    log.read(|key, value| {
        if key == name {
            found = value.map(str::to_owned);
        }
    })?;
    let topic = log.topic();
    let unreadable = |error| {
        Error::settings(format!("The position on {topic} cannot be read: {error}"))
            .hint("Use --restart to begin again, or --position to go on after a change.")
    };
    found.map(|state| serde_json::from_str(&state).map_err(unreadable)).transpose()
}

/// What the user says and what is remembered, joined.
fn begin(config: &Config, identity: &Identity, found: Option<State>) -> Result<State> {
    let fresh = State {
        table: config.table.clone(),
        identity: identity.clone(),
        generation: 0,
        position: config.position.unwrap_or_default(),
        snapshot: None,
    };
    match found {
        None => Ok(fresh),
        Some(found) if config.restart => Ok(State { generation: found.generation + 1, ..fresh }),
        Some(found) => {
            if config.position.is_none() && !found.identity.is_same(identity) {
                return Err(made_again(&config.table, "it is another one than that of the position"));
            }
            let position = config.position.unwrap_or(found.position);
            Ok(State { generation: found.generation, position, snapshot: found.snapshot, ..fresh })
        }
    }
}

/// The numbers of the source are none that the position could be compared with.
pub(super) fn made_again(table: &str, why: &str) -> Error {
    Error::new(Kind::Conflict, format!("The table {table} was made again, or has lost changes: {why}")).hint(
        "Use --restart to send everything again as a new generation, or --position to go on after a change; \
         nothing was sent meanwhile.",
    )
}

fn explain(error: Error) -> Error {
    if error.kind() != Kind::Rejected {
        return error;
    }
    error.hint(
        "A row is larger than the topic takes: raise its max.message.bytes, or leave a column out of the mapping.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(table_oid: i64) -> Identity {
        Identity { table_oid, database_oid: 5, system: Some("7".to_owned()) }
    }

    fn remembered(config: &Config) -> State {
        let state = begin(config, &identity(1), None).unwrap();
        let state = State { generation: 3, position: 42, ..state };
        serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap()
    }

    #[test]
    fn a_run_goes_on_with_the_table_that_it_knows() {
        let config = Config::default();
        let state = begin(&config, &identity(1), Some(remembered(&config))).unwrap();
        assert_eq!((state.generation, state.position), (3, 42));
        let unknown = Identity { system: None, ..identity(1) };
        assert!(begin(&config, &unknown, Some(remembered(&config))).is_ok());
        let error = begin(&config, &identity(2), Some(remembered(&config))).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.advice().is_some_and(|advice| advice.contains("--restart")));
    }

    #[test]
    fn the_user_may_begin_again_or_name_the_position() {
        let restart = Config { restart: true, ..Config::default() };
        let state = begin(&restart, &identity(2), Some(remembered(&restart))).unwrap();
        assert_eq!((state.generation, state.position), (4, 0));
        let named = Config { position: Some(7), ..Config::default() };
        let state = begin(&named, &identity(2), Some(remembered(&named))).unwrap();
        assert_eq!((state.generation, state.position, state.identity), (3, 7, identity(2)));
    }
}
