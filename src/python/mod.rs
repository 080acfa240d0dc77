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
    use super::ceiling::{bench_consume, bench_produce};
    #[pymodule_export]
    use super::embedded::EmbeddedKafka;
    #[pymodule_export]
    use super::{check, csv_to_kafka, kafka_to_parquet, verify};

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
