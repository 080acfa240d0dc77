//! Walmart's orders for Python, window by window.

use std::sync::Arc;

use pyo3::prelude::*;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::call::{Stop, call, runtime};
use crate::config::{self, from_json};
use crate::error::{Error, Kind, Result};
use crate::pipelines::walmart_to_kafka::Orders;
use crate::walmart::{Client, Order};

/// The orders of a span of time, as the API sends them.
#[pyclass(frozen, module = "pipeline_core")]
pub(super) struct OrderReader {
    client: Arc<Client>,
    orders: Arc<Mutex<Orders>>,
}

#[pymethods]
impl OrderReader {
    /// `config` is the block of settings, `request` the span; both are JSON.
    #[new]
    fn new(config: &str, request: &str) -> PyResult<Self> {
        let settings: config::Walmart = from_json(config)?;
        let _entered = runtime()?.enter();
        let client = Arc::new(Client::new(&settings)?);
        let orders = Orders::new(client.clone(), from_json(request)?)?;
        Ok(Self { client, orders: Arc::new(Mutex::new(orders)) })
    }

    /// The orders of the next window that has some, a JSON array; `None` after the last.
    #[pyo3(signature = (stop, beat=None))]
    fn next(&self, py: Python<'_>, stop: &Stop, beat: Option<&Bound<'_, PyAny>>) -> PyResult<Option<String>> {
        let orders = self.orders.clone();
        call(py, stop, beat, async move |stop, _| {
            let found = or_stopped(&stop, async { orders.lock().await.next().await }).await?;
            found.as_deref().map(array).transpose()
        })
    }

    /// One order; `None` when there is none of that number.
    #[pyo3(signature = (purchase_order_id, stop, beat=None))]
    fn order(
        &self,
        py: Python<'_>,
        purchase_order_id: String,
        stop: &Stop,
        beat: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<String>> {
        let client = self.client.clone();
        call(py, stop, beat, async move |stop, _| {
            let found = or_stopped(&stop, client.order(&purchase_order_id)).await?;
            found.map(|order| text(&order.json)).transpose()
        })
    }

    fn __repr__(&self) -> String {
        format!("<OrderReader of {}>", self.client.base_url())
    }
}

async fn or_stopped<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    let stopped = || Error::new(Kind::Unavailable, "Reading was stopped");
    stop.run_until_cancelled(work).await.ok_or_else(stopped)?
}

fn array(orders: &[Order]) -> Result<String> {
    let mut document = Vec::with_capacity(orders.iter().map(|order| order.json.len() + 1).sum::<usize>() + 2);
    for order in orders {
        document.push(if document.is_empty() { b'[' } else { b',' });
        document.extend_from_slice(&order.json);
    }
    document.push(b']');
    text(&document)
}

fn text(json: &[u8]) -> Result<String> {
    String::from_utf8(json.to_vec()).map_err(|error| Error::internal(format!("An order is no text: {error}")))
}
