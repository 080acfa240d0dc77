//! Changes of a table of `PostgreSQL` to a topic: each committed change once, each row's in the order of its commits.
//!
//! Triggers put the changes down in a table; the fence tells which are complete. Messages and position are one Kafka
//! transaction.

mod catalog;
mod config;
mod fence;
mod held;
mod progress;
mod reader;
mod schema;
mod snapshot;
mod transform;
mod width;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use config::Config;
pub use schema::{Made, init_db};

use crate::error::{Error, Result};
use crate::fault::fault;
use crate::kafka::{TopicSpec, ensure_topic};
use crate::metrics;
use crate::sql::{Database, Server, Session};
use crate::stats::{Live, Report, Stats, Status, Timed};
use catalog::{ChangeTable, check_server};
use held::Watched;
use progress::Progress;
use reader::{ACTIONS, Batch, Looking, Next, Reader};
use snapshot::Rows;
use transform::Writer;

pub const NAME: &str = "postgres_to_kafka";

/// What `pipeline-core init-db` calls it.
const INIT: &str = "postgres-to-kafka";

/// Of a topic that has to be made: rows of up to 10 MiB.
const PROPERTIES: [(&str, &str); 1] = [("max.message.bytes", "10485760")];

/// Sends changes until `until`, or until it is stopped.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, conflict (the source was made again; another run of the same).
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    check_settings(&config)?;
    let database = Database::connect(Server::Postgres(&config.source), session(), &stop).await?;
    let outcome = send_until(&Arc::new(config), &database, &stop, &stats).await;
    // A server that does not answer is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), database.close()).await;
    outcome
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
async fn send_until(
    config: &Arc<Config>,
    database: &Database,
    stop: &CancellationToken,
    stats: &Arc<Stats>,
) -> Result<Report> {
    let deadline = config.until.duration().map(|duration| Instant::now() + duration);
    let writer = Writer::new(&config.mapping)?;
    check_server(database).await?;
    let table = ChangeTable::find(database, config).await?;
    let spec = TopicSpec {
        partitions: config.partitions,
        replication_factor: config.replication_factor,
        properties: &PROPERTIES,
        ..TopicSpec::named(&config.topic)
    };
    ensure_topic(&config.kafka, spec).await?;
    let progress = Progress::open(config, &table.identity, stop).await?;
    let wants_rows = Reader::wants_rows(config, &progress.state);
    let rows = if wants_rows { Some(Rows::find(database, config).await?) } else { None };
    let watched = Watched::default();
    watched.seen().position = progress.state.position;
    let reader = Reader {
        database: database.clone(),
        config: config.clone(),
        table,
        writer,
        rows,
        snapshot: progress.state.snapshot.clone(),
        position: progress.state.position,
        rows_left: config.until.rows(),
        stats: stats.clone(),
        watched: watched.clone(),
        stop: stop.clone(),
        sight: Looking::default(),
    };
    let _lines = metrics::log_every(Duration::from_secs_f64(config.stats_interval_seconds), NAME, stats.clone());
    if let Some(position) = progress.resumed_from {
        tracing::info!(position, "going on where the last run ended");
    }
    stats.note(Live::Position, progress.state.position as f64);
    let mut run = Run { progress, stats: stats.clone(), watched, actions: [0; 4], snapshot_rows: 0 };
    let (status, reason) = run.send_all(reader, stop, deadline).await?;
    Ok(stats.report(NAME, status, reason, run.details(config, database)))
}

fn check_settings(config: &Config) -> Result<()> {
    let counts = [
        ("batch_size", config.batch_size),
        ("snapshot_rows", config.snapshot_rows),
        ("poll_interval_ms", config.poll_interval_ms),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(Error::settings(format!("{name} must be more than 0")));
    }
    if config.position.is_some_and(|position| position < 0) {
        return Err(Error::settings("position must not be negative"));
    }
    if !(config.stats_interval_seconds > 0.0 && config.stats_interval_seconds < 1e9) {
        return Err(Error::settings("stats_interval_seconds must be a number of seconds"));
    }
    let mapping = &config.mapping;
    let columns = mapping.columns.iter().map(|column| &column.name);
    let names = columns.chain([&config.table, &config.snapshot_table, &mapping.id_column, &mapping.action_column]);
    // It stands for a value in our statements.
    match names.into_iter().find(|name| name.contains('?')) {
        Some(name) => Err(Error::settings(format!("The name {name} has a question mark"))),
        None => Ok(()),
    }
}

/// One connection: what was seen on another does not count.
fn session() -> Session {
    let minute = Duration::from_secs(60);
    Session { connections: 1, silence: minute, statement_timeout: Some(minute), init: INIT }
}

/// The reader's task ends with the run.
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Run {
    progress: Progress,
    stats: Arc<Stats>,
    watched: Watched,
    actions: [u64; 4],
    snapshot_rows: u64,
}

impl Run {
    /// One batch is sent while the next is read.
    async fn send_all(
        &mut self,
        reader: Reader,
        stop: &CancellationToken,
        deadline: Option<Instant>,
    ) -> Result<(Status, &'static str)> {
        let (give, mut batches) = mpsc::channel(1);
        let _reading = Reading(tokio::spawn(reader.run(give).in_current_span()));
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok((Status::Stopped, "stop requested")),
                () = until(deadline) => return Ok((Status::Complete, "the time was over")),
                next = batches.recv() => next,
            };
            match next {
                Some(Ok(Next::Batch(batch))) => self.send(batch).await?,
                Some(Ok(Next::End(reason))) => return Ok((Status::Complete, reason)),
                Some(Err(error)) => return Err(error),
                None => return Err(Error::internal("The reader of the changes is gone")),
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    async fn send(&mut self, batch: Batch) -> Result<()> {
        let (rows, position, is_snapshot) = (batch.messages.len() as u64, batch.position, batch.is_snapshot);
        let bytes = batch.messages.iter().map(|message| message.value.len() as u64).sum();
        let (bytes_read, actions) = (batch.bytes_read, batch.actions);
        self.stats.rows_read.add(rows);
        self.stats.bytes_read.add(bytes_read);
        let began = Instant::now();
        self.progress.commit(batch).await?;
        self.stats.took(Timed::Transaction, began.elapsed());
        self.stats.rows_written.add(rows);
        self.stats.bytes_written.add(bytes);
        for (sum, more) in self.actions.iter_mut().zip(actions) {
            *sum += more;
        }
        let lag = {
            let mut watched = self.watched.seen();
            watched.position = position;
            (watched.last_value - position).max(0)
        };
        self.stats.note(Live::Position, position as f64);
        self.stats.note(Live::Lag, lag as f64);
        if is_snapshot {
            self.snapshot_rows += rows;
            fault("after_chunk");
        }
        Ok(())
    }

    fn details(&self, config: &Config, database: &Database) -> Map<String, Value> {
        let state = &self.progress.state;
        let actions: Map<_, _> =
            ACTIONS.iter().zip(self.actions).map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        let watched = self.watched.seen();
        Map::from_iter([
            ("topic".to_owned(), json!(config.topic)),
            ("table".to_owned(), json!(config.table)),
            ("position".to_owned(), json!(state.position)),
            ("generation".to_owned(), json!(state.generation)),
            ("snapshot_rows".to_owned(), json!(self.snapshot_rows)),
            ("actions".to_owned(), Value::Object(actions)),
            ("fences".to_owned(), json!(watched.fences)),
            ("oldest_fence_seconds".to_owned(), json!(watched.longest.as_secs_f64())),
            ("held_back_by".to_owned(), json!(watched.held_back_by)),
            ("resumed_from".to_owned(), json!(self.progress.resumed_from)),
            ("server".to_owned(), json!(database.server())),
        ])
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether the database, its tables and the sequence are as they have to be.
pub async fn reach(config: &Config) -> Vec<(&'static str, Result<String>)> {
    let database = match Database::open(Server::Postgres(&config.source), session()).await {
        Ok(database) => database,
        Err(error) => return vec![("database", Err(error))],
    };
    let found = look_at_all(&database, config).await;
    database.close().await;
    found
}

async fn look_at_all(database: &Database, config: &Config) -> Vec<(&'static str, Result<String>)> {
    let server = match check_settings(config).and(Writer::new(&config.mapping)) {
        Ok(_) => check_server(database).await,
        Err(error) => Err(error),
    };
    let mut found = vec![("database", server.map(|()| database.server()))];
    let tables = match catalog::change_columns(database, config).await {
        Ok((oid, _)) => Rows::find(database, config).await.map(|_| oid),
        Err(error) => Err(error),
    };
    let oid = tables.as_ref().ok().copied();
    found.push(("tables", tables.map(|_| format!("{} and {}", config.table, config.snapshot_table))));
    if let Some(oid) = oid {
        let sequence = catalog::sequence(database, config, oid).await;
        found.push(("sequence", sequence.map(|name| format!("{name} numbers the changes one by one"))));
    }
    found
}
