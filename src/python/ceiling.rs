//! The most that the same clients can do, for the benchmarks: only in a test build.

use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;
use serde_json::json;
use tokio::task::{JoinError, JoinSet};

use super::call::{Stop, call};
use crate::config::{Kafka, from_json};
use crate::error::{Error, Result};
use crate::flow::{Event, Source, Until};
use crate::kafka::{Outgoing, Producer, SourceSettings, TopicSource};
use crate::mongo;
use crate::pipelines::{csv_to_kafka, kafka_to_parquet, mongo_to_kafka, obs_worker};
use crate::store::relay;

/// Sends records that were encoded beforehand: u32 length and key, u32 length and value, little-endian.
#[pyfunction]
pub(super) fn bench_produce(py: Python<'_>, config: &str, payload_file: String) -> PyResult<String> {
    let config: csv_to_kafka::Config = from_json(config)?;
    call(py, &Stop::default(), None, async move |_, _| {
        let file = std::fs::read(&payload_file).map_err(|error| Error::io("Cannot read the payloads", error))?;
        let role = csv_to_kafka::producer_settings(&config, 1_000_000);
        let producer = Arc::new(Producer::new(&config.kafka, &role)?);
        producer.reach()?;
        let started = Instant::now();
        let (mut rest, mut rows, mut bytes) = (file.as_slice(), 0u64, 0);
        while !rest.is_empty() {
            let (key, value) = (take(&mut rest)?, take(&mut rest)?);
            producer.send(
                &config.topic,
                Outgoing { key: (!key.is_empty()).then_some(key), value: Some(value), ..Outgoing::default() },
            )?;
            rows += 1;
            bytes += value.len();
            if rows % 256 == 0 {
                producer.poll()?;
            }
        }
        producer.flush()?;
        Ok(json!({"rows": rows, "bytes": bytes, "seconds": started.elapsed().as_secs_f64()}).to_string())
    })
}

/// Reads a collection in the order of `_id` and throws the documents away.
#[pyfunction]
pub(super) fn bench_find(py: Python<'_>, config: &str) -> PyResult<String> {
    let config: mongo_to_kafka::Config = from_json(config)?;
    call(py, &Stop::default(), None, async move |_, _| {
        let started = Instant::now();
        let client = mongo::Client::open(&config.mongodb).await?;
        let (collection, batch_size) = (config.collection, config.batch_size);
        let query = mongo::Query { collection, filter: bson::doc! {}, sort: bson::doc! {"_id": 1}, batch_size };
        let mut batches = mongo::Batches::read(&client, query);
        let (mut rows, mut bytes) = (0, 0);
        while let Some(found) = batches.next().await {
            let found = found?;
            let documents = found.documents()?;
            rows += documents.len();
            bytes += documents.iter().map(|document| document.len()).sum::<usize>();
        }
        Ok(json!({"rows": rows, "bytes": bytes, "seconds": started.elapsed().as_secs_f64()}).to_string())
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let broken = || Error::settings("The payload file is cut off");
    let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
    let (field, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(broken)?;
    *rest = tail;
    Ok(field)
}

/// Reads a topic to its end as `kafka_to_parquet` does, and throws the messages away.
#[pyfunction]
pub(super) fn bench_consume(py: Python<'_>, config: &str) -> PyResult<String> {
    let config: kafka_to_parquet::Config = from_json(config)?;
    call(py, &Stop::default(), None, async move |stop, stats| {
        let kafka: Kafka = config.kafka.clone();
        let settings = SourceSettings { until: Until::End, ..kafka_to_parquet::source_settings(&config) };
        let started = Instant::now();
        let mut source = TopicSource::join(settings, &kafka, None, stop, stats)?;
        let (mut rows, mut bytes) = (0, 0);
        loop {
            match source.next().await? {
                Event::Batch(_, records) => {
                    rows += records.len();
                    bytes += records.bytes();
                }
                Event::End(_) => break,
                _ => {}
            }
        }
        Ok(json!({"rows": rows, "bytes": bytes, "seconds": started.elapsed().as_secs_f64()}).to_string())
    })
}

/// Gets and puts objects, as many at once as the worker does, and does nothing else.
#[pyfunction]
pub(super) fn bench_transfer(py: Python<'_>, config: &str, keys: &str) -> PyResult<String> {
    let config: obs_worker::Config = from_json(config)?;
    let keys: Vec<String> = from_json(keys)?;
    call(py, &Stop::default(), None, async move |_, _| {
        let (source, target) = obs_worker::places(&config)?;
        let started = Instant::now();
        let (mut files, mut bytes) = (0u64, 0);
        let mut moves = JoinSet::new();
        for key in keys {
            if moves.len() == config.concurrency {
                bytes += joined(moves.join_next().await)?;
            }
            let (source, target) = (source.clone(), target.clone());
            let dest_key = format!("{key}{}", config.output_suffix);
            moves.spawn(async move { relay(&source, &key, &target, &dest_key).await });
            files += 1;
        }
        while !moves.is_empty() {
            bytes += joined(moves.join_next().await)?;
        }
        Ok(json!({"files": files, "bytes": bytes, "seconds": started.elapsed().as_secs_f64()}).to_string())
    })
}

fn joined(moved: Option<std::result::Result<Result<u64>, JoinError>>) -> Result<u64> {
    moved.map_or(Ok(0), |moved| moved.map_err(|error| Error::internal(error.to_string()))?)
}
