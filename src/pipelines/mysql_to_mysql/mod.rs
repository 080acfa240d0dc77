//! Items of one `MySQL` database into another, as a task says: with what they refer to and what belongs to them.
//!
//! Each chunk of items is one transaction of the target. What is the same there is not written, so that a run may be
//! repeated.

mod config;
mod read;
mod schema;
mod statements;
mod tables;
mod tally;
mod transform;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

pub use config::Config;
pub use schema::{Made, init_db};

use crate::error::{Error, Result};
use crate::metrics;
use crate::retry::patiently;
use crate::sql::{Database, Server, Session};
use crate::stats::{Report, Stats, Status, Timed};
use config::OnRejected;
use read::Reader;
use tables::Plan;
use tally::Tally;
use write::Writer;

pub const NAME: &str = "mysql_to_mysql";

/// What `pipeline-core init-db` calls it.
const INIT: &str = "mysql-to-mysql";

/// Migrates all items of the task, or until it is stopped; whatever happens, chunks are there whole or not at all.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, rejected.
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    check_settings(&config)?;
    let task = config.definition()?;
    let (source, target) = both(&config, &stop).await?;
    let outcome = migrate(&config, task, (&source, &target), &stop, &stats).await;
    for database in [&source, &target] {
        // A server that does not answer is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(2), database.close()).await;
    }
    outcome
}

async fn both(config: &Config, stop: &CancellationToken) -> Result<(Database, Database)> {
    let (source, target) = (config.source.server(), config.target.server());
    let source = Database::connect(Server::MySql(&source), session(config), stop).await?;
    let target = Database::connect(Server::MySql(&target), session(config), stop).await?;
    Ok((source, target))
}

fn check_settings(config: &Config) -> Result<()> {
    if config.chunk_rows == 0 {
        return Err(Error::settings("chunk_rows must be more than 0"));
    }
    let times = [
        ("stats_interval_seconds", config.stats_interval_seconds),
        ("statement_timeout_seconds", config.statement_timeout_seconds),
    ];
    match times.iter().find(|(_, seconds)| !(*seconds > 0.0 && *seconds < 1e9)) {
        Some((name, _)) => Err(Error::settings(format!("{name} must be a number of seconds"))),
        None => Ok(()),
    }
}

/// One connection: a lock is given back on the one that has taken it.
fn session(config: &Config) -> Session {
    let time = Duration::from_secs_f64(config.statement_timeout_seconds);
    Session { connections: 1, silence: Duration::from_secs(60), statement_timeout: Some(time), init: INIT }
}

async fn migrate(
    config: &Config,
    task: config::Task,
    (source, target): (&Database, &Database),
    stop: &CancellationToken,
    stats: &Arc<Stats>,
) -> Result<Report> {
    let databases = ((source, config.source.database.as_str()), (target, config.target.database.as_str()));
    let plan = Arc::new(Plan::find(task, databases.0, databases.1).await?);
    let reader = Reader { database: source.clone(), plan: plan.clone(), rows: config.chunk_rows };
    let writer = Writer {
        target: target.clone(),
        source: source.clone(),
        update: config.update,
        dry_run: config.dry_run,
        stops: config.on_rejected == OnRejected::Stop,
        packet: packet(target).await?,
        lock: format!("pipeline_core.{:016x}", xxh3_64(plan.target.table.full.as_bytes())),
        max_retries: config.max_retries,
        stop: stop.clone(),
        known: vec![HashSet::new(); plan.references.len()],
        plan,
    };
    let _lines = metrics::log_every(Duration::from_secs_f64(config.stats_interval_seconds), NAME, stats.clone());
    let mut run = Run { reader, writer, stats: stats.clone(), tally: Tally::default(), transactions: 0, retries: 0 };
    let status = run.all(stop).await?;
    let reason = match status {
        Status::Complete => "end of the items",
        Status::Stopped => "stop requested",
    };
    Ok(stats.report(NAME, status, reason, run.details(config, source, target)))
}

async fn packet(database: &Database) -> Result<usize> {
    let rows = database.query("SELECT CAST(@@max_allowed_packet AS CHAR)", &[]).await?;
    let text = rows.first().map(|row| row.text(0)).transpose()?.flatten();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Error::internal("max_allowed_packet is no number"))
}

struct Run {
    reader: Reader,
    writer: Writer,
    stats: Arc<Stats>,
    tally: Tally,
    transactions: u64,
    retries: u64,
}

impl Run {
    async fn all(&mut self, stop: &CancellationToken) -> Result<Status> {
        let (items, without_key) = patiently("Counting the items", stop, || self.reader.count()).await?;
        self.stats.rows_total.set(items);
        self.stats.answers();
        self.refuse_without_key(without_key)?;
        let mut after: Option<String> = None;
        while !stop.is_cancelled() {
            let read = || self.reader.next(after.as_deref());
            let Some(chunk) = patiently("Reading items", stop, read).await? else { return Ok(Status::Complete) };
            self.stats.answers();
            let began = Instant::now();
            let (tally, retries) = self.writer.write(&chunk).await?;
            self.stats.took(Timed::Transaction, began.elapsed());
            self.transactions += 1;
            self.retries += u64::from(retries);
            self.stats.bytes_read.add(chunk.bytes);
            self.take(tally);
            after = Some(chunk.last);
        }
        Ok(Status::Stopped)
    }

    fn take(&mut self, mut tally: Tally) {
        let counts = tally.table(&self.writer.plan.target.table.name).clone();
        self.stats.rows_read.add(counts.read);
        self.stats.rows_written.add(counts.written);
        self.stats.rows_rejected.add(tally.rejected());
        self.stats.bytes_written.add(tally.bytes_written);
        let named = self.tally.rejected.len();
        self.tally.add(tally);
        for row in &self.tally.rejected[named..] {
            tracing::warn!(table = row.table, key = row.key, reason = row.reason, "a row was refused");
        }
    }

    /// Items that no chunk has.
    fn refuse_without_key(&mut self, count: u64) -> Result<()> {
        let plan = &self.writer.plan;
        let mut tally = Tally::default();
        for _ in 0..count {
            tally.table(&plan.target.table.name).read += 1;
            tally.reject(&plan.target.table.name, None, format!("{} is NULL", plan.task.key));
        }
        if self.writer.stops && count > 0 {
            return Err(write::refusal(&tally));
        }
        self.take(tally);
        Ok(())
    }

    fn details(&self, config: &Config, source: &Database, target: &Database) -> Map<String, Value> {
        Map::from_iter([
            ("task".to_owned(), json!(config.task)),
            ("dry_run".to_owned(), json!(config.dry_run)),
            ("tables".to_owned(), json!(self.tally.tables)),
            ("rejected".to_owned(), json!(self.tally.rejected)),
            ("transactions".to_owned(), json!(self.transactions)),
            ("retries".to_owned(), json!(self.retries)),
            ("source_server".to_owned(), json!(source.server())),
            ("target_server".to_owned(), json!(target.server())),
        ])
    }
}

/// Whether both databases and the tables of the task are there: name of what was looked at, and what was found.
pub async fn reach(config: &Config) -> Vec<(&'static str, Result<String>)> {
    let (source, target) = (config.source.server(), config.target.server());
    let source = Database::open(Server::MySql(&source), session(config)).await;
    let target = Database::open(Server::MySql(&target), session(config)).await;
    let tables = match (&source, &target, check_settings(config).and_then(|()| config.definition())) {
        (_, _, Err(error)) => Some(Err(error)),
        (Ok(source), Ok(target), Ok(task)) => {
            let (from, to) = ((source, config.source.database.as_str()), (target, config.target.database.as_str()));
            let plan = Plan::find(task, from, to).await;
            Some(plan.map(|plan| format!("{} and {}", plan.items.table.full, plan.target.table.full)))
        }
        _ => None,
    };
    let mut found = Vec::new();
    for (name, database) in [("source", source), ("target", target)] {
        if let Ok(database) = &database {
            database.close().await;
        }
        found.push((name, database.map(|database| database.server())));
    }
    found.extend(tables.map(|tables| ("tables", tables)));
    found
}
