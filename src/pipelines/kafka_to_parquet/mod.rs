//! A topic into Parquet (or JSON) objects: each record in exactly one visible file, whatever is killed.
//!
//! Where a file ends is logged, fenced by the group, before it becomes visible; so any trigger may end it.

mod config;
mod sink;
mod transform;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use trial::Trial;

use crate::config::OffsetReset;

use crate::decode::rows::Options;
use crate::error::{Error, Result};
use crate::flow::{Ended, Guard, Policy, drive_for};
use crate::kafka::{SourceSettings, TopicDeadLetters, TopicSource};
use crate::stats::{Report, Stats, Status};
use crate::store::{Encoders, Guarantee, Layout, Place, probe};
use sink::{Parts, TopicFiles};
use transform::Level;

pub const NAME: &str = "kafka_to_parquet";

/// A row group ends at so many rows or bytes of messages: a fixed number, for a file must come out the same again.
const GROUP_ROWS: usize = 128 * 1024;
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Writes the topic until `until`, or until it is stopped; then everything that was read is published and committed.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, data loss, conflict, rejected, capacity.
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    if config.to.is_empty() {
        return Err(Error::settings("It is not said where to write")
            .hint("Set --to to a URL or a path, e.g. --to gs://bucket or --to ./data."));
    }
    let levels = config.partition_by.iter().map(|text| Level::parse(text)).collect::<Result<Vec<_>>>()?;
    let place = Place::open(&config.to, &config.store)?;
    let prefix = config.prefix.clone();
    let guarantee = probe(&place, &prefix).await?;
    if guarantee == Guarantee::Overwrites {
        tracing::warn!(
            to = config.to,
            "this store does not honour create-only writes; the logged cut alone keeps writers apart"
        );
    }
    let topic: Arc<str> = config.topic.as_str().into();
    let layout = Layout {
        format: config.format,
        compression: config.compression,
        group_rows: GROUP_ROWS,
        group_bytes: GROUP_BYTES,
        growing_columns: ["offset", "time"].map(|name| format!("{}{name}", config.metadata_prefix)).to_vec(),
        spool_bytes: config.memory_limit / 1024,
        spill_dir: config.spill_dir.clone(),
    };
    layout.make_spill_dir()?;
    let mut source = TopicSource::join(source_settings(&config), &config.kafka, None, stop.clone(), stats.clone())?;
    let dead_letters = config.dead_letter_topic.clone().unwrap_or_else(|| format!("{}_dlq", config.topic));
    let mut sink = TopicFiles::new(Parts {
        place,
        guarantee,
        options: options(&config, &topic),
        topic,
        prefix,
        name: config.name.clone(),
        layout,
        encoders: Encoders::start()?,
        levels,
        flush_rows: config.flush_rows,
        flush_bytes: config.flush_bytes,
        dead_letters: TopicDeadLetters::new(dead_letters, NAME, config.kafka.clone(), stats.clone()),
        guard: Guard::new(config.max_rejected_share),
        stats: stats.clone(),
        stop: stop.clone(),
    });
    let policy = Policy {
        rows: None,
        bytes: None,
        age: Duration::from_secs_f64(config.flush_seconds),
        idle: config.idle_seconds.map(Duration::from_secs_f64),
        memory: config.memory_limit / 3,
        together: false,
    };
    let ended = drive_for(&mut source, &mut sink, &policy, &stop, config.until.duration()).await?;
    drop(source);
    let (status, reason) = match ended {
        Ended::Source(reason) => (Status::Complete, reason),
        Ended::Stopped if stop.is_cancelled() => (Status::Stopped, "stop requested".to_owned()),
        Ended::Stopped => (Status::Complete, "the time was over".to_owned()),
    };
    let details = Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("group_id".to_owned(), json!(config.group_id)),
        ("to".to_owned(), json!(config.to)),
        ("prefix".to_owned(), json!(config.prefix)),
        ("objects".to_owned(), json!(sink.objects)),
        ("create_only".to_owned(), json!(guarantee == Guarantee::CreateOnly)),
    ]);
    Ok(stats.report(NAME, status, reason, details))
}

fn options(config: &Config, topic: &Arc<str>) -> Options {
    Options {
        topic: topic.clone(),
        is_typed: config.typed,
        column_types: config.column_types.clone(),
        metadata_prefix: Some(config.metadata_prefix.clone()),
        key_encoding: config.key_encoding,
    }
}

/// How the pipeline reads.
pub(crate) fn source_settings(config: &Config) -> SourceSettings {
    SourceSettings {
        topic: config.topic.clone(),
        group_id: config.group_id.clone(),
        from_earliest: config.auto_offset_reset == OffsetReset::Earliest,
        until: config.until,
        session: Duration::from_secs_f64(config.session_timeout_seconds),
        fetch_bytes: config.memory_limit / 32,
        lag_interval: config.metrics.lag_interval(),
    }
}
