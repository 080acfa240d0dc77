//! The Python module `pipeline_core._core`: the only room that names pyo3.
//!
//! Each call blocks its own thread, detached from the interpreter; no other thread of ours ever touches Python.

mod batches;
mod call;
#[cfg(feature = "failpoints")]
mod ceiling;
mod embedded;
mod exceptions;
mod logs;
mod orders;
mod parse;
mod producer;
mod rows;

use pyo3::prelude::*;

/// The engine of `pipeline_core`.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::batches::{BatchReader, RecordBatch, read_batches};
    #[pymodule_export]
    use super::call::Stop;
    #[cfg(feature = "failpoints")]
    #[pymodule_export]
    use super::ceiling::{bench_consume, bench_find, bench_produce, bench_transfer};
    #[pymodule_export]
    use super::embedded::EmbeddedKafka;
    #[pymodule_export]
    use super::orders::OrderReader;
    #[pymodule_export]
    use super::parse::parse_walmart_orders;
    #[pymodule_export]
    use super::producer::Producer;
    #[pymodule_export]
    use super::{
        bucket_to_kafka, cdc_to_postgres, check, csv_to_kafka, dlq_replay, dlq_show, init_cdc_to_postgres,
        init_mysql_to_mysql, init_postgres_to_kafka, init_walmart_to_mysql, kafka_to_parquet, list_tasks, mongo_cursor,
        mongo_to_kafka, mysql_to_mysql, obs_worker, postgres_to_kafka, queue_length, send_tasks, verify,
        walmart_to_kafka, walmart_to_mysql,
    };

    #[pymodule_export]
    const PARTITION_BYTES: u64 = crate::kafka::embedded::PARTITION_BYTES;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

use std::sync::Arc;

use call::{Stop, call};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::config::{Metrics, from_json};
use crate::error::{Error, Result};
use crate::metrics;
use crate::pipelines;
use crate::stats::{Report, Stats};

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("A report cannot be written: {error}")))
}

/// What the settings of all pipelines hold.
#[derive(Deserialize)]
struct Watched {
    metrics: Metrics,
}

/// Runs a pipeline, whose numbers are served until its last heartbeat; returns the report as JSON.
fn transfer<C, F>(
    py: Python<'_>,
    name: &'static str,
    config: &str,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
    run: impl FnOnce(C, CancellationToken, Arc<Stats>) -> F + Send + 'static,
) -> PyResult<String>
where
    C: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Report>> + Send + 'static,
{
    let (config, watched) = (from_json(config), from_json(config));
    let (report, server) = call(py, stop, beat, async move |stop, stats| {
        let Watched { metrics } = watched?;
        let server = metrics::serve(&metrics, name, &stats)?;
        Ok((to_json(&run(config?, stop, stats).await?)?, server))
    })?;
    py.detach(|| drop(server));
    Ok(report)
}

/// Sends CSV files to a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn csv_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::csv_to_kafka::NAME, config, stop, beat, pipelines::csv_to_kafka::run)
}

/// Writes a topic to Parquet or JSON objects; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn kafka_to_parquet(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::kafka_to_parquet::NAME, config, stop, beat, pipelines::kafka_to_parquet::run)
}

/// Lists a bucket and sends a task for each new object; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn bucket_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::bucket_to_kafka::NAME, config, stop, beat, pipelines::bucket_to_kafka::run)
}

/// Lists a bucket; returns the tasks as JSON and sends nothing.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn list_tasks(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| {
        to_json(&pipelines::bucket_to_kafka::tasks(config?, stop, stats).await?)
    })
}

/// Sends tasks, a JSON list; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, tasks, stop, beat=None))]
fn send_tasks(
    py: Python<'_>,
    config: &str,
    tasks: &str,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let (config, tasks) = (from_json(config), from_json(tasks));
    call(py, stop, beat, async move |stop, stats| {
        to_json(&pipelines::bucket_to_kafka::send(config?, tasks?, stop, stats).await?)
    })
}

/// Does the file tasks of a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn obs_worker(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::obs_worker::NAME, config, stop, beat, pipelines::obs_worker::run)
}

/// Sends Walmart's orders to a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn walmart_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::walmart_to_kafka::NAME, config, stop, beat, pipelines::walmart_to_kafka::run)
}

/// How many tasks wait for the group of a worker, as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn queue_length(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config: Result<pipelines::obs_worker::Config, _> = from_json(config);
    call(py, stop, beat, async move |_, _| {
        let config = config?;
        let partitions = tokio::task::block_in_place(|| pipelines::obs_worker::queue(&config))?;
        let tasks: i64 = partitions.iter().map(|partition| partition.tasks).sum();
        let (topic, group_id) = (&config.topic, &config.group_id);
        to_json(&serde_json::json!({"topic": topic, "group_id": group_id, "tasks": tasks, "partitions": partitions}))
    })
}

/// Sends documents of a `MongoDB` collection to a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn mongo_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::mongo_to_kafka::NAME, config, stop, beat, pipelines::mongo_to_kafka::run)
}

/// Shows, sets or resets where `mongo_to_kafka` goes on; returns what is remembered as JSON.
#[pyfunction]
#[pyo3(signature = (config, action, value, stop, beat=None))]
fn mongo_cursor(
    py: Python<'_>,
    config: &str,
    action: &str,
    value: Option<String>,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let (config, action) = (from_json(config), pipelines::mongo_to_kafka::Action::parse(action));
    call(py, stop, beat, async move |_, _| {
        to_json(&pipelines::mongo_to_kafka::cursor(&config?, action?, value.as_deref()).await?)
    })
}

/// Loads orders of a topic into `MySQL` or `MariaDB`; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn walmart_to_mysql(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::walmart_to_mysql::NAME, config, stop, beat, pipelines::walmart_to_mysql::run)
}

/// Makes the databases and tables of `walmart_to_mysql`, or migrates them; returns what was done as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn init_walmart_to_mysql(
    py: Python<'_>,
    config: &str,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, _| to_json(&pipelines::walmart_to_mysql::init_db(&config?, &stop).await?))
}

/// Applies change events of a topic to a replica in `PostgreSQL`; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn cdc_to_postgres(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::cdc_to_postgres::NAME, config, stop, beat, pipelines::cdc_to_postgres::run)
}

/// Makes the tables of `cdc_to_postgres`; returns what was done as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn init_cdc_to_postgres(
    py: Python<'_>,
    config: &str,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, _| to_json(&pipelines::cdc_to_postgres::init_db(&config?, &stop).await?))
}

/// Sends the changes of a table of `PostgreSQL` to a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn postgres_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::postgres_to_kafka::NAME, config, stop, beat, pipelines::postgres_to_kafka::run)
}

/// Makes the tables and triggers of `postgres_to_kafka`; returns what was done as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn init_postgres_to_kafka(
    py: Python<'_>,
    config: &str,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, _| to_json(&pipelines::postgres_to_kafka::init_db(&config?, &stop).await?))
}

/// Migrates items of one `MySQL` database into another; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn mysql_to_mysql(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    transfer(py, pipelines::mysql_to_mysql::NAME, config, stop, beat, pipelines::mysql_to_mysql::run)
}

/// Makes the tables of `mysql_to_mysql`; returns what was done as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn init_mysql_to_mysql(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, _| to_json(&pipelines::mysql_to_mysql::init_db(&config?, &stop).await?))
}

/// Counts the letters of a dead-letter topic; returns what was found as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn dlq_show(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| to_json(&pipelines::dlq::show(config?, stop, stats).await?))
}

/// Sends dead letters again, or tries them with the settings of their pipelines, a JSON object; returns what came of it
/// as JSON.
#[pyfunction]
#[pyo3(signature = (config, trial, stop, beat=None))]
fn dlq_replay(
    py: Python<'_>,
    config: &str,
    trial: String,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| to_json(&pipelines::dlq::replay(config?, &trial, stop, stats).await?))
}

/// Compares the objects under a URL with the topic they came from; returns what was found as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn verify(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, _| to_json(&pipelines::verify::run(config?, stop).await?))
}

/// Looks whether everything that a pipeline needs can be reached; returns a list as JSON.
#[pyfunction]
#[pyo3(signature = (pipeline, config, stop, beat=None))]
fn check(
    py: Python<'_>,
    pipeline: String,
    config: String,
    stop: &Stop,
    beat: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    call(py, stop, beat, async move |_, _| to_json(&pipelines::check::run(&pipeline, &config).await?))
}
