//! File tasks to results: each file brought over, parsed, its result uploaded and told of once, whatever is killed.
//!
//! The result is in its place before its notice and the task's offset become visible, both in one Kafka transaction.

mod attempt;
mod builtin;
mod config;
mod run;
mod transform;
mod workplace;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use config::{ChangedFiles, Config};

use crate::config::OffsetReset;
use crate::error::{Error, Result};
use crate::kafka::{Record, TaskSettings, TaskSource, TopicSpec, Waiting, ensure_topic, waiting};
use crate::pipelines::buckets::Buckets;
use crate::process::{Pool, PoolSettings, Secrets};
use crate::stats::{Counter, Report, Stats, Status};
use crate::store::{Budget, Place};
use attempt::{Parser, Shop, is_folder_writable};
use builtin::Builtin;
use run::{Finished, Run};
use transform::{Fallbacks, FileTask};
use workplace::Workplace;

pub const NAME: &str = "obs_worker";

/// Under which what becomes of files is logged.
const TARGET: &str = "pipeline_core::pipelines::obs_worker";

/// Does tasks until `until`, or until it is stopped; then what is in work may end, and the rest stays for others.
///
/// # Errors
/// By kind: settings (a parser that cannot be loaded), access, not found, unavailable, data loss, rejected.
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    check(&config)?;
    let workplace = Workplace::take(&config.download_dir, &config.upload_dir)?;
    // Children load while the group lets us in.
    let (parser, source) = tokio::join!(parser(&config), async {
        ensure_topic(&config.kafka, TopicSpec::named(&config.topic)).await?;
        if config.send_results {
            ensure_topic(&config.kafka, TopicSpec::named(&config.result_topic)).await?;
        }
        TaskSource::join(task_settings(&config), &config.kafka, stop.clone(), stats.clone())
    });
    let (parser, source) = (parser?, source?);
    let id = format!("pipeline_core.{}.{}", config.group_id, workplace.id);
    let mut commits = source.commits(&config.kafka, NAME, id);
    commits.begin().await?;
    let buckets = Buckets::new(config.scheme, &config.store);
    for bucket in [&config.source_bucket, &config.dest_bucket].into_iter().flatten() {
        buckets.trust(bucket)?;
    }
    let shop = Shop {
        buckets,
        workplace,
        parser,
        secrets: Secrets::of(&config.kafka, &config.store),
        benches: Semaphore::new(config.concurrency),
        budget: Budget::new(config.memory_limit / 2),
        disk: config.disk_limit.map(|bytes| {
            let kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX / 16).max(1);
            (Semaphore::new(kibibytes as usize), kibibytes)
        }),
        changed: Counter::default(),
        config,
    };
    let (ended, source, finished) = Run::new(source, commits, shop, stop.clone(), stats.clone()).finish().await?;
    drop(source);
    let (status, reason) = match ended {
        Some(reason) => (Status::Complete, reason),
        None => (Status::Stopped, "stop requested".to_owned()),
    };
    Ok(stats.report(NAME, status, reason, details(&finished)))
}

fn details(finished: &Finished) -> Map<String, Value> {
    let config = &finished.shop.config;
    let restarts = match &finished.shop.parser {
        Parser::Pool(pool) => pool.restarts(),
        Parser::Builtin(..) => 0,
    };
    Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("result_topic".to_owned(), json!(config.send_results.then_some(&config.result_topic))),
        ("group_id".to_owned(), json!(config.group_id)),
        ("parser".to_owned(), json!(config.parser)),
        ("processes".to_owned(), json!(config.processes)),
        ("retries".to_owned(), json!(finished.retries)),
        ("parser_restarts".to_owned(), json!(restarts)),
        ("files_changed".to_owned(), json!(finished.shop.changed.get())),
    ])
}

fn check(config: &Config) -> Result<()> {
    if config.session_timeout_seconds > config.max_poll_interval_seconds {
        return Err(Error::settings(
            "session_timeout_seconds (KAFKA_SESSION_TIMEOUT_MS) must not be more than max_poll_interval_seconds (KAFKA_MAX_POLL_INTERVAL_MS)",
        ));
    }
    if config.heartbeat_seconds >= config.session_timeout_seconds {
        return Err(Error::settings(
            "heartbeat_seconds (KAFKA_HEARTBEAT_INTERVAL_MS) must be less than session_timeout_seconds (KAFKA_SESSION_TIMEOUT_MS)",
        ));
    }
    Ok(())
}

async fn parser(config: &Config) -> Result<Parser> {
    if let Some(builtin) = Builtin::named(&config.parser).filter(|_| config.parser_command.is_empty()) {
        return Ok(Parser::Builtin(builtin, Arc::new(Semaphore::new(config.processes))));
    }
    let settings = PoolSettings {
        command: config.parser_command.clone(),
        setup: config.parser_setup.clone(),
        processes: config.processes,
        memory: config.task_memory,
        output: config.task_output,
        timeout: Duration::from_secs_f64(config.task_timeout),
    };
    Ok(Parser::Pool(Pool::start(settings).await?))
}

fn task_settings(config: &Config) -> TaskSettings {
    TaskSettings {
        topic: config.topic.clone(),
        group_id: config.group_id.clone(),
        from_earliest: config.auto_offset_reset == OffsetReset::Earliest,
        until: config.until,
        session: Duration::from_secs_f64(config.session_timeout_seconds),
        heartbeat: Duration::from_secs_f64(config.heartbeat_seconds),
        max_poll_interval: Duration::from_secs_f64(config.max_poll_interval_seconds),
        fetch_bytes: config.memory_limit / 32,
        most_open: config.max_poll_records.max(1),
        lag_interval: config.metrics.lag_interval(),
    }
}

/// How many tasks wait for the group.
///
/// # Errors
/// When the broker cannot be reached, or there is no such topic.
pub fn queue(config: &Config) -> Result<Vec<Waiting>> {
    waiting(&config.kafka, &config.topic, &config.group_id, config.auto_offset_reset == OffsetReset::Earliest)
}

/// Whether a message is a task that the worker would take on now; the error is why not.
pub(crate) fn attempt(config: &Config, message: Record<'_>) -> Result<(), String> {
    FileTask::read(message.value, Fallbacks::of(config)).map(drop).map_err(|(reason, _)| reason)
}

/// What the worker needs beside Kafka, and what was found of it.
pub async fn reach(config: &Config) -> Vec<(&'static str, Result<String>)> {
    let buckets = Buckets::new(config.scheme, &config.store);
    let mut found = Vec::new();
    let named = [("source bucket", &config.source_bucket), ("destination bucket", &config.dest_bucket)];
    for (name, bucket) in named {
        let Some(bucket) = bucket else { continue };
        found.push((name, bucket_answers(&buckets, bucket).await));
    }
    for (name, folder) in [("download folder", &config.download_dir), ("upload folder", &config.upload_dir)] {
        found.push((name, is_folder_writable(folder).map(|()| folder.display().to_string())));
    }
    let loaded = parser(config).await.map(|_| config.parser.clone());
    found.push(("parser", loaded));
    found
}

/// The buckets that tasks fall back to, for the benchmarks.
///
/// # Errors
/// When they are not set.
#[cfg(feature = "failpoints")]
pub fn places(config: &Config) -> Result<(Place, Place)> {
    let buckets = Buckets::new(config.scheme, &config.store);
    let open = |bucket: &Option<String>| buckets.trust(bucket.as_deref().unwrap_or_default());
    Ok((open(&config.source_bucket)?, open(&config.dest_bucket)?))
}

async fn bucket_answers(buckets: &Buckets, bucket: &str) -> Result<String> {
    let place: Place = buckets.trust(bucket)?;
    crate::store::list_some(&place).await?;
    Ok(bucket.to_owned())
}
