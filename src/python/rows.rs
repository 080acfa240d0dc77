//! The rows of a batch as Python objects, for those who have no Arrow library.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampSecondType,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// A dictionary for each row: int, float, bool, str, `decimal.Decimal`, naive or UTC `datetime.datetime`, None.
pub(super) fn of<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let rows: Vec<_> = (0..batch.num_rows()).map(|_| PyDict::new(py)).collect();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = PyString::intern(py, field.name());
        let value = reader(py, column)?;
        for (number, row) in rows.iter().enumerate() {
            if column.is_valid(number) {
                row.set_item(&name, value(number)?)?;
            } else {
                row.set_item(&name, py.None())?;
            }
        }
    }
    Ok(rows)
}

type Reader<'a, 'py> = Box<dyn Fn(usize) -> PyResult<Bound<'py, PyAny>> + 'a>;

fn reader<'a, 'py: 'a>(py: Python<'py>, column: &'a ArrayRef) -> PyResult<Reader<'a, 'py>> {
    Ok(match column.data_type() {
        DataType::Int32 => {
            let array = column.as_primitive::<Int32Type>();
            Box::new(move |at| Ok(array.value(at).into_pyobject(py)?.into_any()))
        }
        DataType::Int64 => {
            let array = column.as_primitive::<Int64Type>();
            Box::new(move |at| Ok(array.value(at).into_pyobject(py)?.into_any()))
        }
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            Box::new(move |at| Ok(array.value(at).into_pyobject(py)?.into_any()))
        }
        DataType::Boolean => {
            let array = column.as_boolean();
            Box::new(move |at| Ok(array.value(at).into_pyobject(py)?.to_owned().into_any()))
        }
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            Box::new(move |at| Ok(PyString::new(py, array.value(at)).into_any()))
        }
        DataType::Decimal128(..) => {
            let array = column.as_primitive::<Decimal128Type>();
            let decimal = py.import("decimal")?.getattr("Decimal")?;
            Box::new(move |at| decimal.call1((array.value_as_string(at),)))
        }
        DataType::Timestamp(TimeUnit::Second, None) => {
            let array = column.as_primitive::<TimestampSecondType>();
            Box::new(move |at| moment(py, array.value_as_datetime(at)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let array = column.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |at| moment(py, array.value_as_datetime(at)))
        }
        other => {
            let message =
                format!("A column of {other} cannot be given without an Arrow library: use pyarrow or polars");
            return Err(PyTypeError::new_err(message));
        }
    })
}

fn moment(py: Python<'_>, moment: Option<chrono::NaiveDateTime>) -> PyResult<Bound<'_, PyAny>> {
    Ok(moment.into_pyobject(py)?.into_any())
}
