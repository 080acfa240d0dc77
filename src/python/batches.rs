//! Arrow batches for Python, handed over without a copy by the Arrow `PyCapsule` interface.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch as Batch, RecordBatchIterator, RecordBatchReader, StructArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyTuple};
use tokio_util::sync::CancellationToken;

use super::call::{Stop, call, runtime};
use super::rows;
use crate::config::from_json;
use crate::pipelines::read_batches::{Batches, Config};

/// A batch of a topic's rows.
#[pyclass(frozen, module = "pipeline_core")]
pub(super) struct RecordBatch(pub(super) Batch);

#[pymethods]
impl RecordBatch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn column_names(&self) -> Vec<String> {
        self.0.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.0.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        // The protocol lets a producer give its own types where it cannot give those asked for.
        drop(requested_schema);
        let array = FFI_ArrowArray::new(&StructArray::from(self.0.clone()).to_data());
        let array = PyCapsule::new_with_value(py, array, c"arrow_array")?;
        PyTuple::new(py, [schema_capsule(py, &self.0.schema())?, array])
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batches = RecordBatchIterator::new([Ok(self.0.clone())], self.0.schema());
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(batches)), c"arrow_array_stream")
    }

    /// The rows as dictionaries, without pyarrow.
    fn to_pylist<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        rows::of(py, &self.0)
    }

    fn __repr__(&self) -> String {
        format!("<RecordBatch of {} rows and {} columns>", self.0.num_rows(), self.0.num_columns())
    }
}

fn schema_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(|error| of_arrow(&error))?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

fn of_arrow(error: &ArrowError) -> PyErr {
    PyRuntimeError::new_err(format!("Arrow cannot hand the data over: {error}"))
}

/// An iterator over a topic's batches; also an Arrow stream.
#[pyclass(frozen, module = "pipeline_core")]
pub(super) struct BatchReader(Arc<Shared>);

struct Shared {
    batches: Mutex<State>,
    stop: CancellationToken,
}

struct State {
    batches: Option<Batches>,
    /// Read ahead to learn the columns.
    first: Option<Batch>,
    schema: Option<SchemaRef>,
}

impl Shared {
    fn next(&self, is_peek: bool) -> crate::error::Result<Option<Batch>> {
        let mut state = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        if state.first.is_none() {
            let next = match &mut state.batches {
                Some(batches) => batches.next(&self.stop)?,
                None => None,
            };
            if let Some(batch) = &next {
                state.schema.get_or_insert_with(|| batch.schema());
            } else {
                state.batches = None;
            }
            state.first = next;
        }
        Ok(if is_peek { state.first.clone() } else { state.first.take() })
    }

    fn schema(&self) -> SchemaRef {
        let state = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        state.schema.clone().unwrap_or_else(|| Arc::new(Schema::empty()))
    }
}

impl BatchReader {
    fn pull(&self, py: Python<'_>, is_peek: bool) -> PyResult<Option<Batch>> {
        let shared = self.0.clone();
        let stop = Stop { token: self.0.stop.clone() };
        call(py, &stop, None, async move |_, _| tokio::task::block_in_place(|| shared.next(is_peek)))
    }
}

#[pymethods]
impl BatchReader {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<RecordBatch>> {
        Ok(self.pull(py, false)?.map(RecordBatch))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        self.pull(py, true)?;
        schema_capsule(py, &self.0.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        self.pull(py, true)?;
        let stream = FFI_ArrowArrayStream::new(Box::new(Stream { shared: self.0.clone(), schema: self.0.schema() }));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// Leaves the topic; the iteration ends.
    fn close(&self, py: Python<'_>) {
        self.0.stop.cancel();
        py.detach(|| {
            let mut state = self.0.batches.lock().unwrap_or_else(PoisonError::into_inner);
            (state.batches, state.first) = (None, None);
        });
    }
}

/// What an Arrow consumer pulls from, on its own thread and without the interpreter.
struct Stream {
    shared: Arc<Shared>,
    schema: SchemaRef,
}

impl Iterator for Stream {
    type Item = Result<Batch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.shared.next(false).map_err(|error| ArrowError::ExternalError(error.into())).transpose()
    }
}

impl RecordBatchReader for Stream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Reads a topic as Arrow record batches, all of the same columns.
#[pyfunction]
pub(super) fn read_batches(py: Python<'_>, config: &str) -> PyResult<BatchReader> {
    let config: Config = from_json(config)?;
    runtime()?;
    let stop = Stop::default();
    let batches = call(py, &stop, None, async move |_, _| tokio::task::block_in_place(|| Batches::open(config)))?;
    let state = State { batches: Some(batches), first: None, schema: None };
    Ok(BatchReader(Arc::new(Shared { batches: Mutex::new(state), stop: CancellationToken::new() })))
}
