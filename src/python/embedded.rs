//! librdkafka's in-process broker, for Python.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use super::call::forked;
use crate::error::Error;
use crate::kafka::embedded::Embedded;

/// A Kafka inside this process: about 5 MiB a partition, all forgotten when it is closed.
#[pyclass(frozen, module = "pipeline_core._core")]
pub(super) struct EmbeddedKafka {
    broker: Mutex<Option<Embedded>>,
    pid: u32,
}

impl EmbeddedKafka {
    fn running<T>(&self, act: impl FnOnce(&Embedded) -> crate::error::Result<T>) -> PyResult<T> {
        if self.pid != std::process::id() {
            return Err(forked());
        }
        let running = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::settings("The embedded broker has been closed");
        Ok(running.as_ref().ok_or_else(closed).and_then(act)?)
    }
}

#[pymethods]
impl EmbeddedKafka {
    #[new]
    #[pyo3(signature = (brokers=1))]
    fn new(py: Python<'_>, brokers: i32) -> PyResult<Self> {
        let broker = py.detach(|| Embedded::start(brokers))?;
        Ok(Self { broker: Mutex::new(Some(broker)), pid: std::process::id() })
    }

    /// Where clients find it.
    #[getter]
    fn bootstrap_servers(&self) -> PyResult<String> {
        self.running(|broker| Ok(broker.bootstrap_servers().to_owned()))
    }

    /// Makes a topic.
    fn create_topic(&self, py: Python<'_>, name: &str, partitions: i32) -> PyResult<()> {
        py.detach(|| self.running(|broker| broker.create_topic(name, partitions)))
    }

    /// Ends it; what it held is gone.
    fn close(&self, py: Python<'_>) {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(broker));
    }
}
