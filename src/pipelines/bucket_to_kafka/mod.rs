//! A bucket's objects to file tasks on a topic: each version of an object once, also over runs that were killed.
//!
//! What has been sent stands on a compacted topic beside it, written in the same transactions as the tasks.

mod config;
mod sent;
mod transform;

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use transform::Task;

use crate::error::{Error, Kind, Result};
use crate::kafka::{TopicSpec, ensure_topic};
use crate::pipelines::buckets::Buckets;
use crate::stats::{Report, Stats, Status};
use crate::store::{Listed, Place, list, list_some, look};
use sent::SentLog;
use transform::{Filter, is_directory};

pub const NAME: &str = "bucket_to_kafka";

/// Objects that are looked at at once, for a list of keys.
const LOOKS: usize = 32;

/// Tasks in one transaction.
const BATCH: usize = 5_000;

/// What a run has seen.
#[derive(Debug, Default)]
struct Seen {
    sent_before: u64,
    filtered: u64,
    directories: u64,
    /// `max_files` ended it.
    is_more: bool,
}

/// Lists, and sends a task for each object that is new.
///
/// # Errors
/// By kind: settings, access, not found (bucket or key), unavailable, conflict (another run of the same).
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    let bucket = bucket(&config)?;
    let mut log = log(&config, &bucket, &stop).await?;
    let mut seen = Seen::default();
    let outcome = send_listed(&config, &bucket, &mut log, &stop, &stats, &mut seen).await;
    // What was begun is sent or taken back; what was sent before stays.
    if let Some(log) = &mut log {
        match &outcome {
            Ok(_) => log.commit(&stats).await?,
            Err(_) => log.drop_batch(),
        }
    }
    let (status, reason) = if outcome? {
        (Status::Stopped, "stop requested".to_owned())
    } else if seen.is_more {
        tracing::warn!(
            max_files = config.max_files,
            "there are more files than max_files; run it again for the next ones"
        );
        (Status::Complete, "max_files was reached".to_owned())
    } else {
        (Status::Complete, "end of listing".to_owned())
    };
    let details = Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("bucket".to_owned(), json!(bucket)),
        ("prefix".to_owned(), json!(config.prefix)),
        ("sent_before".to_owned(), json!(seen.sent_before)),
        ("filtered".to_owned(), json!(seen.filtered)),
        ("directories".to_owned(), json!(seen.directories)),
        ("more".to_owned(), json!(seen.is_more)),
    ]);
    Ok(stats.report(NAME, status, reason, details))
}

/// True when it was stopped.
async fn send_listed(
    config: &Config,
    bucket: &str,
    log: &mut Option<SentLog>,
    stop: &CancellationToken,
    stats: &Stats,
    seen: &mut Seen,
) -> Result<bool> {
    let filter = Filter::new(config)?;
    let pages = pages(config, bucket)?;
    tokio::pin!(pages);
    let mut taken = 0;
    loop {
        let page = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(true),
            page = pages.next() => page,
        };
        let Some(page) = page else { return Ok(false) };
        stats.answers();
        for found in page? {
            stats.rows_read.add(1);
            if is_directory(&found) {
                seen.directories += 1;
                continue;
            }
            if !filter.takes(&found) {
                seen.filtered += 1;
                continue;
            }
            let task = Task::of(found, bucket, config);
            if log.as_ref().is_some_and(|log| !config.resend && log.has(&task)) {
                seen.sent_before += 1;
                continue;
            }
            if taken == config.max_files {
                seen.is_more = true;
                return Ok(false);
            }
            taken += 1;
            if let Some(log) = log.as_mut() {
                log.add(task)?;
                if log.waiting() >= BATCH {
                    log.commit(stats).await?;
                }
            }
        }
    }
}

/// The tasks that a run would send, whatever was sent before.
///
/// # Errors
/// As `run`.
pub async fn tasks(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Vec<Task>> {
    let bucket = bucket(&config)?;
    let filter = Filter::new(&config)?;
    let pages = pages(&config, &bucket)?;
    tokio::pin!(pages);
    let mut tasks = Vec::new();
    while let Some(page) = stop.run_until_cancelled(pages.next()).await.flatten() {
        for found in page? {
            stats.rows_read.add(1);
            if tasks.len() as u64 == config.max_files {
                return Ok(tasks);
            }
            if !is_directory(&found) && filter.takes(&found) {
                tasks.push(Task::of(found, &bucket, &config));
            }
        }
    }
    Ok(tasks)
}

/// Sends tasks that the caller has made; those with an `ETag` that was sent before are left out.
///
/// # Errors
/// As `run`.
pub async fn send(config: Config, tasks: Vec<Task>, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    let mut seen = Seen::default();
    if let Some(mut log) = log(&config, "", &stop).await? {
        for task in tasks {
            stats.rows_read.add(1);
            if !config.resend && log.has(&task) {
                seen.sent_before += 1;
                continue;
            }
            log.add(task)?;
            if log.waiting() >= BATCH {
                log.commit(&stats).await?;
            }
        }
        log.commit(&stats).await?;
    }
    let details = Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("sent_before".to_owned(), json!(seen.sent_before)),
    ]);
    Ok(stats.report(NAME, Status::Complete, "end of the list", details))
}

fn bucket(config: &Config) -> Result<String> {
    let bucket = config.bucket.clone().filter(|bucket| !bucket.is_empty()).ok_or_else(|| {
        Error::settings("No bucket is named").hint("Use --bucket, or set SOURCE_BUCKET or OBS_SOURCE_BUCKET.")
    })?;
    if config.dest_key.is_some() && (config.keys.len() != 1 || config.keys_file.is_some()) {
        return Err(Error::settings("dest_key needs exactly one key")
            .hint("Name the file with SINGLE_FILE or as an argument, or leave --dest-key (DEST_KEY) out."));
    }
    Ok(bucket)
}

async fn log(config: &Config, bucket: &str, stop: &CancellationToken) -> Result<Option<SentLog>> {
    if config.dry_run {
        return Ok(None);
    }
    let spec = TopicSpec {
        partitions: config.partitions,
        replication_factor: config.replication_factor,
        ..TopicSpec::named(&config.topic)
    };
    ensure_topic(&config.kafka, spec).await?;
    SentLog::open(config, bucket, stop).await.map(Some)
}

fn pages(config: &Config, bucket: &str) -> Result<impl Stream<Item = Result<Vec<Listed>>> + Send + use<>> {
    let place = Buckets::new(config.scheme, &config.store).trust(bucket)?;
    let mut keys = config.keys.clone();
    if let Some(file) = &config.keys_file {
        keys.extend(read_keys(file)?);
    }
    if keys.is_empty() {
        return Ok(list(&place, &config.prefix, config.list_concurrency).left_stream());
    }
    let found = futures::stream::iter(keys).map(move |key| look_at(place.clone(), key));
    Ok(found.buffered(LOOKS).map_ok(|found| vec![found]).right_stream())
}

async fn look_at(place: Place, key: String) -> Result<Listed> {
    match look(&place, &key).await {
        Ok(found) => Ok(Listed { key, size: found.size, e_tag: found.e_tag, last_modified: found.last_modified }),
        // A HEAD has no body to say which of the two is missing.
        Err(error) if error.kind() == Kind::NotFound => {
            list_some(&place).await?;
            Err(Error::new(Kind::NotFound, format!("There is no object {}", place.url(&key))).caused_by(error))
        }
        Err(error) => Err(error),
    }
}

fn read_keys(file: &str) -> Result<Vec<String>> {
    let text = if file == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| Error::io(format!("Cannot read the keys in {file}"), error))?;
    Ok(text.lines().map(|line| line.trim_end_matches('\r').to_owned()).filter(|key| !key.is_empty()).collect())
}

/// Whether the bucket can be listed.
///
/// # Errors
/// When it is not there, does not let us in, or is not named.
pub async fn reach(config: &Config) -> Result<String> {
    let bucket = bucket(config)?;
    let place = Buckets::new(config.scheme, &config.store).trust(&bucket)?;
    list_some(&place).await?;
    Ok(bucket)
}
