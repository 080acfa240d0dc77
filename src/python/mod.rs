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
    use super::ceiling::{bench_consume, bench_produce, bench_transfer};
    #[pymodule_export]
    use super::embedded::EmbeddedKafka;
    #[pymodule_export]
    use super::orders::OrderReader;
    #[pymodule_export]
    use super::parse::parse_walmart_orders;
    #[pymodule_export]
    use super::{
        bucket_to_kafka, check, csv_to_kafka, init_walmart_to_mysql, kafka_to_parquet, list_tasks, obs_worker,
        queue_length, send_tasks, verify, walmart_to_kafka, walmart_to_mysql,
    };

    #[pymodule_export]
    const PARTITION_BYTES: u64 = crate::kafka::embedded::PARTITION_BYTES;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

use call::{Stop, call};

use crate::config::from_json;
use crate::error::Error;
use crate::pipelines;

fn to_json(value: &impl serde::Serialize) -> crate::error::Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("A report cannot be written: {error}")))
}

/// Sends CSV files to a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn csv_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| to_json(&pipelines::csv_to_kafka::run(config?, stop, stats).await?))
}

/// Writes a topic to Parquet or JSON objects; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn kafka_to_parquet(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| {
        to_json(&pipelines::kafka_to_parquet::run(config?, stop, stats).await?)
    })
}

/// Lists a bucket and sends a task for each new object; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn bucket_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| {
        to_json(&pipelines::bucket_to_kafka::run(config?, stop, stats).await?)
    })
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
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| to_json(&pipelines::obs_worker::run(config?, stop, stats).await?))
}

/// Sends Walmart's orders to a topic; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn walmart_to_kafka(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| {
        to_json(&pipelines::walmart_to_kafka::run(config?, stop, stats).await?)
    })
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

/// Loads orders of a topic into `MySQL` or `MariaDB`; returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (config, stop, beat=None))]
fn walmart_to_mysql(py: Python<'_>, config: &str, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let config = from_json(config);
    call(py, stop, beat, async move |stop, stats| {
        to_json(&pipelines::walmart_to_mysql::run(config?, stop, stats).await?)
    })
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
