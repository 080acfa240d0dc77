//! Orders parsed for Python, with no topic and no database.

use arrow::array::RecordBatch as Batch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use chrono_tz::Tz;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyString;
use serde::Deserialize;

use super::batches::RecordBatch;
use crate::config::from_json;
use crate::decode::walmart::{BatchBuilder, Parser, Rules, Table};
use crate::error::{Error, Result};

/// A document with orders; borrowed from Python.
pub(super) enum Document {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl<'py> FromPyObject<'_, 'py> for Document {
    type Error = PyErr;

    // Derived, it would make an exception of each document that is not of the first kind.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyString>() {
            object.extract().map(Self::Text)
        } else {
            Ok(Self::Bytes(object.extract()?))
        }
    }
}

impl Document {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    formatted_timezone: String,
    truncate: bool,
    raw: bool,
    source_file: String,
}

/// Rows that stay in the processor's caches until they are copied into the batch.
const WARM: usize = 64;

/// Number of the document, path, reason, and the order's JSON.
type Refusal = (usize, String, String, String);

/// Reads orders, arrays of orders and pages of the API; returns the rows of a table, and what was refused as
/// (number of the document, path, reason, JSON).
#[pyfunction]
#[pyo3(signature = (documents, table, options))]
#[expect(clippy::needless_pass_by_value, reason = "what Python hands over")]
pub(super) fn parse_walmart_orders(
    py: Python<'_>,
    documents: Vec<Document>,
    table: &str,
    options: &str,
) -> PyResult<(RecordBatch, Vec<Refusal>)> {
    let options: Options = from_json(options)?;
    let table = of_name(table)?;
    let zone: Tz = options.formatted_timezone.parse().map_err(|_| unknown_zone(&options.formatted_timezone))?;
    let (truncate, raw, source_file) = (options.truncate, options.raw, options.source_file);
    let rules = Rules { truncate, raw, zone, source_file };
    // The system is asked for its processors only where that is worth its time.
    let threads = match documents.len() / SHARE {
        0 | 1 => 1,
        most => std::thread::available_parallelism().map_or(1, usize::from).min(most),
    };
    let share = documents.len().div_ceil(threads).max(1);
    let work = || {
        if threads == 1 {
            let (batch, refusals) = parse(&documents, 0, table, &rules)?;
            return Ok((RecordBatch(batch), refusals));
        }
        let parts: Vec<_> = std::thread::scope(|scope| {
            let begun = documents.chunks(share).enumerate().map(|(number, part)| {
                let rules = &rules;
                scope.spawn(move || parse(part, number * share, table, rules))
            });
            let begun: Vec<_> = begun.collect();
            begun.into_iter().map(|thread| thread.join().map_err(|_| Error::internal("The parser panicked"))?).collect()
        });
        let (mut batches, mut refusals) = (Vec::new(), Vec::new());
        for part in parts {
            let (batch, refused) = part?;
            batches.push(batch);
            refusals.extend(refused);
        }
        let schema = BatchBuilder::new(table, raw, 0).finish().map_err(of_arrow)?.schema();
        Ok::<_, Error>((RecordBatch(concat_batches(&schema, &batches).map_err(of_arrow)?), refusals))
    };
    let bytes: usize = documents.iter().map(|document| document.bytes().len()).sum();
    Ok(if bytes < LITTLE { work()? } else { py.detach(work)? })
}

/// Bytes that are parsed sooner than another thread gives the interpreter back.
const LITTLE: usize = 64 * 1024;

/// Documents for which a thread is worth its start.
const SHARE: usize = 256;

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn of_arrow(error: ArrowError) -> Error {
    Error::internal(error.to_string())
}

fn parse(documents: &[Document], first: usize, table: Table, rules: &Rules) -> Result<(Batch, Vec<Refusal>)> {
    let mut parser = Parser::new(rules);
    let (mut batch, mut refusals) = (BatchBuilder::new(table, rules.raw, documents.len().min(WARM)), Vec::new());
    for (number, document) in documents.iter().enumerate() {
        parser.read(document.bytes(), |outcome| {
            if let Err(refused) = outcome {
                let text = String::from_utf8_lossy(refused.text).into_owned();
                refusals.push((first + number, refused.path, refused.reason, text));
            }
        });
        if parser.tables().rows(Table::Order).len() >= WARM {
            batch.append(parser.tables().rows(table));
            parser.clear();
        }
    }
    batch.append(parser.tables().rows(table));
    Ok((batch.finish().map_err(of_arrow)?, refusals))
}

fn of_name(name: &str) -> Result<Table> {
    Ok(match name {
        "order" => Table::Order,
        "charge" => Table::Charge,
        "status" => Table::Status,
        "refund" => Table::Refund,
        other => {
            return Err(
                Error::settings(format!("There is no table {other:?}")).hint("Use order, charge, status or refund.")
            );
        }
    })
}

fn unknown_zone(name: &str) -> Error {
    Error::settings(format!("There is no time zone {name:?}")).hint("Use a name such as UTC or America/Los_Angeles.")
}
