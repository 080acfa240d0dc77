//! Walmart's orders from a topic into `MySQL` or `MariaDB`: each order's newest snapshot, once in effect.
//!
//! Rows, the position, the owner's epoch and the dead letters are committed in one transaction of the database.

mod config;
mod load;
mod schema;
mod sink;
mod transform;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use schema::{Made, Migrated, init_db};
pub use trial::Trial;

use crate::config::OffsetReset;
use crate::decode::walmart::{Rules, Table};
use crate::error::{Error, Kind, Result};
use crate::flow::{Ended, Guard, Policy};
use crate::kafka::{SourceSettings, TopicDeadLetters};
use crate::pipelines::loading;
use crate::sql::{Database, Outbox, PositionTable, Server, Session};
use crate::stats::{Report, Stats, Status};
use load::Loader;
use schema::Names;
use sink::{OrdersToTables, Total};

pub const NAME: &str = "walmart_to_mysql";

/// What `pipeline-core init-db` calls it.
const INIT: &str = "walmart-to-mysql";

/// Loads orders until `until`, or until it is stopped; then everything that was read is in the tables.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, data loss, rejected, capacity.
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    let rules = rules(&config)?;
    let database = Database::connect(Server::MySql(&config.mysql), session(&config), &stop).await?;
    let loader = Arc::new(loader(&config, rules, &database, &stop).await?);
    let positions = loader.positions.clone();
    let dead_letters = config.dead_letter_topic.clone().unwrap_or_else(|| format!("{}_dlq", config.topic));
    let mut sink = OrdersToTables {
        rules: loader.rules.clone(),
        loader,
        lanes: BTreeMap::new(),
        connections: config.connections as usize,
        dead_letters: TopicDeadLetters::new(dead_letters, NAME, config.kafka.clone(), stats.clone()).into(),
        guard: Guard::new(config.max_rejected_share),
        stats: stats.clone(),
        total: Total::default(),
    };
    let ended = load_until(&config, &mut sink, &positions, &stop, &stats).await;
    database.close().await;
    let (status, reason) = match ended? {
        Ended::Source(reason) => (Status::Complete, reason),
        Ended::Stopped if stop.is_cancelled() => (Status::Stopped, "stop requested".to_owned()),
        Ended::Stopped => (Status::Complete, "the time was over".to_owned()),
    };
    Ok(stats.report(NAME, status, reason, details(&config, &database, &sink.total)))
}

/// Looks at the tables first.
async fn loader(config: &Config, rules: Rules, database: &Database, stop: &CancellationToken) -> Result<Loader> {
    let names = Names::of(config);
    check_tables(database, &names).await?;
    let pipeline = format!("{NAME}.{}", config.group_id);
    let (table, topic) = (names.position.clone(), config.topic.clone());
    Ok(Loader {
        database: database.clone(),
        positions: PositionTable::new(database.clone(), table, pipeline.clone(), topic.clone(), stop.clone()),
        outbox: Outbox::new(database.dialect(), names.dead_letter.clone(), pipeline, topic.clone()),
        names,
        rules,
        topic,
        rows_per_statement: config.rows_per_statement,
        max_retries: config.max_retries,
        stop: stop.clone(),
    })
}

async fn load_until(
    config: &Config,
    sink: &mut OrdersToTables,
    positions: &PositionTable,
    stop: &CancellationToken,
    stats: &Arc<Stats>,
) -> Result<Ended> {
    let policy = Policy {
        rows: Some(config.batch_size),
        bytes: None,
        age: Duration::from_millis(config.batch_interval_ms),
        idle: None,
        memory: config.memory_limit / 2,
        together: true,
    };
    loading::load_until(source_settings(config), &config.kafka, sink, positions, &policy, stop, stats).await
}

fn rules(config: &Config) -> Result<Rules> {
    let zone: Tz = config.formatted_timezone.parse().map_err(|_| {
        Error::settings(format!("There is no time zone {:?}", config.formatted_timezone))
            .hint("Use a name such as UTC or America/Los_Angeles.")
    })?;
    Ok(Rules { truncate: config.truncate, raw: config.raw, zone, source_file: config.source_file.clone() })
}

/// Before a message is read: a run without its tables would only fail later.
async fn check_tables(database: &Database, names: &Names) -> Result<()> {
    for table in names.tables.iter().chain([&names.version, &names.position, &names.dead_letter]) {
        database.query(&format!("SELECT 1 FROM {table} LIMIT 0"), &[]).await?;
    }
    Ok(())
}

fn session(config: &Config) -> Session {
    Session {
        connections: config.connections + 1,
        // After so long a worker is dead for the group, and for the database.
        silence: Duration::from_secs_f64(config.session_timeout_seconds.ceil()),
        statement_timeout: None,
        init: INIT,
    }
}

fn source_settings(config: &Config) -> SourceSettings {
    SourceSettings {
        topic: config.topic.clone(),
        group_id: config.group_id.clone(),
        from_earliest: config.auto_offset_reset == OffsetReset::Earliest,
        until: config.until,
        session: Duration::from_secs_f64(config.session_timeout_seconds),
        fetch_bytes: config.memory_limit / 8,
        lag_interval: config.metrics.lag_interval(),
    }
}

fn details(config: &Config, database: &Database, total: &Total) -> Map<String, serde_json::Value> {
    let tables: Map<_, _> = Table::ALL
        .iter()
        .map(|table| (format!("{}{}", config.table, table.suffix()), json!(total.loaded.rows[*table as usize])))
        .collect();
    Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("group_id".to_owned(), json!(config.group_id)),
        ("database".to_owned(), json!(config.database)),
        ("tables".to_owned(), json!(tables)),
        ("orders".to_owned(), json!(total.loaded.orders)),
        ("orders_older".to_owned(), json!(total.loaded.older)),
        ("orders_unchanged".to_owned(), json!(total.loaded.unchanged)),
        ("values_cut".to_owned(), json!(total.values_cut)),
        ("dead_letters".to_owned(), json!(total.dead_letters)),
        ("retries".to_owned(), json!(total.loaded.retries)),
        ("server".to_owned(), json!(database.server())),
    ])
}

/// Whether the database and its tables are there: name of what was looked at, and what was found.
pub async fn reach(config: &Config) -> Vec<(&'static str, Result<String>)> {
    let database = match Database::open(Server::MySql(&config.mysql), session(config)).await {
        Ok(database) => database,
        Err(error) => return vec![("database", Err(error))],
    };
    let tables = check_tables(&database, &Names::of(config)).await;
    let there = schema::is_database(&database, &config.database).await.and_then(|is_there| {
        let server = database.server();
        if is_there { Ok(server) } else { Err(no_database(&server, &config.database)) }
    });
    database.close().await;
    vec![("database", there), ("tables", tables.map(|()| format!("all are in {}", config.database)))]
}

fn no_database(server: &str, name: &str) -> Error {
    Error::new(Kind::NotFound, format!("{server} has no database {name}"))
        .hint("Run `pipeline-core init-db walmart-to-mysql` first.")
}
