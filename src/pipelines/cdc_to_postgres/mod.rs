//! Change events from a topic into a replica in `PostgreSQL`: each change once in effect, each key in its order.
//!
//! Rows, the position, the owner's epoch, the ledger and the dead letters are committed in one transaction of the
//! target.

mod apply;
mod config;
mod pruning;
mod schema;
mod sink;
mod statements;
mod transform;
mod trial;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use config::Config;
pub use schema::{Made, init_db};
pub use trial::Trial;

use crate::config::OffsetReset;
use crate::error::Result;
use crate::flow::{Ended, Guard, Policy};
use crate::kafka::{SourceSettings, TopicDeadLetters};
use crate::metrics;
use crate::pipelines::loading;
use crate::sql::{Database, Outbox, PositionTable, Server, Session};
use crate::stats::{Report, Stats, Status};
use apply::Applier;
use schema::Names;
use sink::{ChangesToTable, Total};
use statements::Statements;

pub const NAME: &str = "cdc_to_postgres";

/// What `pipeline-core init-db` calls it.
const INIT: &str = "cdc-to-postgres";

/// Applies changes until `until`, or until it is stopped; then everything that was read is in the replica.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, data loss, rejected, capacity.
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    let names = Names::of(&config);
    let database = Database::connect(Server::Postgres(&config.target), session(&config), &stop).await?;
    let outcome = apply_until(&config, &names, &database, &stop, &stats).await;
    database.close().await;
    let (ended, total) = outcome?;
    let (status, reason) = match ended {
        Ended::Source(reason) => (Status::Complete, reason),
        Ended::Stopped if stop.is_cancelled() => (Status::Stopped, "stop requested".to_owned()),
        Ended::Stopped => (Status::Complete, "the time was over".to_owned()),
    };
    Ok(stats.report(NAME, status, reason, details(&config, &database, &total)))
}

async fn apply_until(
    config: &Config,
    names: &Names,
    database: &Database,
    stop: &CancellationToken,
    stats: &Arc<Stats>,
) -> Result<(Ended, Total)> {
    let applier = Arc::new(applier(config, names, database, stop).await?);
    let positions = applier.positions.clone();
    let dead_letters = config.dead_letter_topic.clone().unwrap_or_else(|| format!("{}_dlq", config.topic));
    let dead_letters = TopicDeadLetters::new(dead_letters, NAME, config.kafka.clone(), stats.clone());
    let mut sink = ChangesToTable {
        applier,
        lanes: BTreeMap::new(),
        connections: config.connections as usize,
        dead_letters: dead_letters.format(config.dlq_format).into(),
        guard: Guard::new(config.max_rejected_share),
        stats: stats.clone(),
        total: Total::default(),
        poison: None,
    };
    let policy = Policy {
        rows: Some(config.batch_size),
        bytes: None,
        age: Duration::from_millis(config.batch_interval_ms),
        idle: None,
        memory: config.memory_limit / 2,
        together: true,
    };
    let over = stop.child_token();
    let _watched = over.clone().drop_guard();
    let interval = Duration::from_secs_f64(config.stats_interval_seconds);
    let _lines = metrics::log_every(interval, NAME, stats.clone());
    tokio::spawn(pruning::prune(config.clone(), names.clone(), database.clone(), over).in_current_span());
    let settings = source_settings(config);
    let ended = loading::load_until(settings, &config.kafka, &mut sink, &positions, &policy, stop, stats).await?;
    Ok((ended, sink.total))
}

async fn applier(config: &Config, names: &Names, database: &Database, stop: &CancellationToken) -> Result<Applier> {
    let plan = schema::plan(database, config, names).await?;
    let pipeline = format!("{NAME}.{}", config.group_id);
    let topic = config.topic.clone();
    let positions = names.position.clone();
    Ok(Applier {
        database: database.clone(),
        positions: PositionTable::new(database.clone(), positions, pipeline.clone(), topic.clone(), stop.clone()),
        outbox: Outbox::new(database.dialect(), names.dead_letter.clone(), pipeline, topic.clone()),
        statements: Statements::of(names, &plan),
        plan,
        topic,
        ledger: schema::ledger(database, config, names).await?,
        copy_rows: config.copy_rows,
        max_retries: config.max_retries,
        has_dead_letters: config.enable_dlq,
        stop: stop.clone(),
    })
}

fn session(config: &Config) -> Session {
    Session {
        // Beside the lanes: claims, and the removal of what is old.
        connections: config.connections + 2,
        // After so long a worker is dead for the group, and for the database.
        silence: Duration::from_secs_f64(config.session_timeout_seconds.ceil()),
        statement_timeout: Some(Duration::from_secs_f64(config.statement_timeout_seconds)),
        init: INIT,
    }
}

fn source_settings(config: &Config) -> SourceSettings {
    let lag_interval = config.stats_interval_seconds.clamp(0.1, 2.0);
    SourceSettings {
        topic: config.topic.clone(),
        group_id: config.group_id.clone(),
        from_earliest: config.auto_offset_reset == OffsetReset::Earliest,
        until: config.until,
        session: Duration::from_secs_f64(config.session_timeout_seconds),
        fetch_bytes: config.memory_limit / 8,
        lag_interval: Some(Duration::from_secs_f64(lag_interval)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean of few")]
fn details(config: &Config, database: &Database, total: &Total) -> Map<String, serde_json::Value> {
    let applied = &total.applied;
    let mean = applied.time.as_secs_f64() / total.transactions.max(1) as f64;
    Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("group_id".to_owned(), json!(config.group_id)),
        ("table".to_owned(), json!(config.table)),
        ("upserted".to_owned(), json!(applied.upserted)),
        ("deleted".to_owned(), json!(applied.deleted)),
        ("truncates".to_owned(), json!(applied.truncates)),
        ("superseded".to_owned(), json!(applied.superseded)),
        ("stale".to_owned(), json!(applied.stale)),
        ("duplicates".to_owned(), json!(applied.duplicates)),
        ("dead_letters".to_owned(), json!(total.dead_letters)),
        ("retries".to_owned(), json!(applied.retries)),
        ("transactions".to_owned(), json!(total.transactions)),
        ("transaction_seconds".to_owned(), json!({"mean": mean, "max": total.longest.as_secs_f64()})),
        ("server".to_owned(), json!(database.server())),
    ])
}

/// Whether the database and its tables are there: name of what was looked at, and what was found.
pub async fn reach(config: &Config) -> Vec<(&'static str, Result<String>)> {
    let database = match Database::open(Server::Postgres(&config.target), session(config)).await {
        Ok(database) => database,
        Err(error) => return vec![("database", Err(error))],
    };
    let names = Names::of(config);
    let plan = schema::plan(&database, config, &names).await;
    let server = database.server();
    database.close().await;
    let tables = plan.map(|plan| format!("{} and those beside it; {} columns", config.table, plan.columns.len()));
    vec![("database", Ok(server)), ("tables", tables)]
}
