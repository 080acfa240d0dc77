//! The engine's errors as the classes of `pipeline_core.exceptions`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::{Error, Kind};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| to_python(py, &error).unwrap_or_else(|_| PyRuntimeError::new_err(error.to_string())))
    }
}

fn to_python(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let name = match error.kind() {
        Kind::Settings => "SettingsError",
        Kind::Access => "AccessDeniedError",
        Kind::NotFound => "NotFoundError",
        Kind::Unavailable | Kind::Fenced | Kind::Aborted => "UnavailableError",
        Kind::DataLoss => "DataLossError",
        Kind::Conflict => "ConflictError",
        Kind::Rejected => "RejectedError",
        Kind::Capacity => "CapacityError",
        Kind::Internal => "InternalError",
    };
    let class = py.import("pipeline_core.exceptions")?.getattr(name)?;
    Ok(PyErr::from_value(class.call1((error.to_string(), error.advice(), error.is_transient()))?))
}
