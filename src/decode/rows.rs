//! JSON messages to Arrow record batches: the columns in first-seen order, then where each row came from.
//!
//! A batch depends on nothing but its messages and the columns known before it, so that it can be built again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde::{Deserialize, Serialize};

use super::json::{self, Value};
use super::typed::{self, Kinds};
use crate::config::ColumnType;
use crate::error::{Error, Result};

/// The names of the five metadata columns, in order.
pub const METADATA: [&str; 5] = ["topic", "partition", "offset", "time", "key"];

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub time: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// A data column. Without a type, its type is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column(pub String, pub Option<ColumnType>);

/// How keys become text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEncoding {
    #[default]
    Utf8,
    Base64,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub topic: Arc<str>,
    /// Numbers, booleans and times get types of their own; else everything is text.
    pub is_typed: bool,
    pub column_types: HashMap<String, ColumnType>,
    /// `None` leaves the metadata columns out.
    pub metadata_prefix: Option<String>,
    pub key_encoding: KeyEncoding,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Push {
    Added,
    /// It has columns that the batch may not take on any more; nothing was added.
    NewColumns,
    /// It cannot become a row, and why.
    Refused(String),
}

#[derive(Debug)]
struct Cells {
    column: Column,
    /// The name as a message has it, with its quotes.
    quoted: Vec<u8>,
    text: StringBuilder,
    kinds: Kinds,
}

/// Builds a batch.
#[derive(Debug)]
pub struct Rows {
    options: Options,
    cells: Vec<Cells>,
    index: HashMap<String, usize>,
    partition: Int32Builder,
    offset: Int64Builder,
    time: TimestampMillisecondBuilder,
    key: StringBuilder,
    len: usize,
    bytes: usize,
    scratch: Vec<Option<Value<'static>>>,
}

impl Rows {
    #[must_use]
    pub fn new(options: Options, columns: Vec<Column>) -> Self {
        let mut rows = Self {
            options,
            cells: Vec::new(),
            index: HashMap::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            time: TimestampMillisecondBuilder::new(),
            key: StringBuilder::new(),
            len: 0,
            bytes: 0,
            scratch: Vec::new(),
        };
        for Column(name, kind) in columns {
            rows.add_column(name, kind);
        }
        rows
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the messages in the batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory held, about.
    #[must_use]
    pub fn held(&self) -> usize {
        // Buffers double as they grow, so about a half more than what is in them.
        (self.bytes + self.len * (self.cells.len() * 5 + 40)) * 3 / 2
    }

    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        self.cells.iter().map(|cells| cells.column.clone()).collect()
    }

    fn add_column(&mut self, name: String, kind: Option<ColumnType>) {
        let kind = kind.or_else(|| self.options.column_types.get(&name).copied());
        let kind = kind.or((!self.options.is_typed).then_some(ColumnType::String));
        let mut text = StringBuilder::new();
        for _ in 0..self.len {
            text.append_null();
        }
        self.index.insert(name.clone(), self.cells.len());
        self.cells.push(Cells::new(name, kind, text));
    }

    /// Adds a message; `may_grow` says whether it may bring columns that the batch does not have yet.
    ///
    /// # Errors
    /// When a field has the name of a metadata column: a setting must be changed.
    pub fn push(&mut self, record: Record<'_>, may_grow: bool) -> Result<Push> {
        let Some(bytes) = record.value else {
            return Ok(Push::Refused("The value is null (a tombstone)".to_owned()));
        };
        let key = match self.key_text(record.key) {
            Ok(key) => key,
            Err(reason) => return Ok(Push::Refused(reason)),
        };
        let mut row = recycle(std::mem::take(&mut self.scratch));
        row.resize(self.cells.len(), None);
        let mut news: Vec<(Cow<'_, str>, Value<'_>)> = Vec::new();
        let names = self.cells.iter().map(|cells| cells.quoted.as_slice());
        if json::known_object(bytes, names, |at, text| row[at] = Some(Value::Text(Cow::Borrowed(text)))) {
            let outcome = self.take(record, key, Ok(()), &row, news, may_grow, bytes.len());
            self.scratch = recycle(row);
            return outcome;
        }
        row.fill(None);
        let mut expected = 0;
        let parsed = json::object(bytes, |name, value| {
            let at = match self.cells.get(expected) {
                Some(cells) if cells.column.0 == name => Some(expected),
                _ => self.index.get(name.as_ref()).copied(),
            };
            match at {
                Some(at) => {
                    row[at] = Some(value);
                    expected = at + 1;
                }
                None => match news.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, former)) => *former = value,
                    None => news.push((name, value)),
                },
            }
        });
        let outcome = self.take(record, key, parsed, &row, news, may_grow, bytes.len());
        self.scratch = recycle(row);
        outcome
    }

    #[allow(clippy::too_many_arguments, reason = "the second half of `push`, after the row is parsed")]
    fn take(
        &mut self,
        record: Record<'_>,
        key: Option<Cow<'_, str>>,
        parsed: Result<(), String>,
        row: &[Option<Value<'_>>],
        news: Vec<(Cow<'_, str>, Value<'_>)>,
        may_grow: bool,
        bytes: usize,
    ) -> Result<Push> {
        if let Err(reason) = parsed {
            return Ok(Push::Refused(reason));
        }
        for (cells, value) in self.cells.iter().zip(row) {
            if let Some(reason) = cells.misfit(value.as_ref()) {
                return Ok(Push::Refused(reason));
            }
        }
        if !news.is_empty() && !may_grow {
            return Ok(Push::NewColumns);
        }
        for (name, value) in &news {
            if let Some(prefix) = &self.options.metadata_prefix
                && METADATA.iter().any(|column| name.strip_prefix(prefix.as_str()) == Some(column))
            {
                return Err(Error::settings(format!(
                    "A message has a field {name:?}, which is the name of a metadata column"
                ))
                .hint("Give the metadata columns another name, e.g. --metadata-prefix kafka_"));
            }
            let kind = self.options.column_types.get(name.as_ref()).copied();
            let column = Column(name.to_string(), kind.filter(|_| self.options.is_typed || kind.is_some()));
            let cells = Cells::new(column.0, column.1, StringBuilder::new());
            if let Some(reason) = cells.misfit(Some(value)) {
                return Ok(Push::Refused(reason));
            }
        }
        for (cells, value) in self.cells.iter_mut().zip(row) {
            cells.append(value.as_ref());
        }
        for (name, value) in news {
            self.add_column(name.into_owned(), None);
            if let Some(cells) = self.cells.last_mut() {
                cells.append(Some(&value));
            }
        }
        self.partition.append_value(record.partition);
        self.offset.append_value(record.offset);
        self.time.append_option(record.time);
        self.key.append_option(key);
        self.len += 1;
        self.bytes += bytes + record.key.map_or(0, <[u8]>::len);
        Ok(Push::Added)
    }

    fn key_text<'a>(&self, key: Option<&'a [u8]>) -> Result<Option<Cow<'a, str>>, String> {
        match (key, self.options.key_encoding) {
            (None, _) => Ok(None),
            (Some(key), KeyEncoding::Utf8) => std::str::from_utf8(key)
                .map(|key| Some(Cow::Borrowed(key)))
                .map_err(|_| "The key is not UTF-8 text; --key-encoding base64 would keep it".to_owned()),
            (Some(key), KeyEncoding::Base64) => Ok(Some(Cow::Owned(base64(key)))),
        }
    }

    /// The batch, its types decided; the columns stay known for the next one.
    ///
    /// # Errors
    /// Only by a bug: the columns have the same length.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut fields = Vec::with_capacity(self.cells.len() + METADATA.len());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(fields.capacity());
        for cells in &mut self.cells {
            let kind = *cells.column.1.get_or_insert_with(|| cells.kinds.column_type());
            let text = std::mem::take(&mut cells.text).finish();
            fields.push(Field::new(&cells.column.0, data_type(kind), true));
            arrays.push(typed_array(text, kind));
        }
        let topic = StringArray::from_iter_values(std::iter::repeat_n(self.options.topic.as_ref(), self.len));
        let partition = self.partition.finish();
        let offset = self.offset.finish();
        let time = self.time.finish().with_timezone("UTC");
        let key = self.key.finish();
        if let Some(prefix) = &self.options.metadata_prefix {
            let metadata: [ArrayRef; 5] =
                [Arc::new(topic), Arc::new(partition), Arc::new(offset), Arc::new(time), Arc::new(key)];
            for (name, array) in METADATA.iter().zip(metadata) {
                let is_nullable = matches!(*name, "time" | "key");
                fields.push(Field::new(format!("{prefix}{name}"), array.data_type().clone(), is_nullable));
                arrays.push(array);
            }
        }
        (self.len, self.bytes) = (0, 0);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| Error::internal(format!("A batch does not fit its schema: {error}")))
    }
}

impl Cells {
    fn new(name: String, kind: Option<ColumnType>, text: StringBuilder) -> Self {
        let mut quoted = Vec::new();
        json::quote_into(&mut quoted, &name, false);
        Self { column: Column(name, kind), quoted, text, kinds: Kinds::default() }
    }

    /// Why the value does not fit the column's type, if so.
    fn misfit(&self, value: Option<&Value<'_>>) -> Option<String> {
        let kind = self.column.1.filter(|kind| *kind != ColumnType::String)?;
        let fits = match value {
            None | Some(Value::Null) => true,
            Some(Value::Bool(_)) => kind == ColumnType::Boolean,
            Some(Value::Number(text)) => match kind {
                ColumnType::Int64 => typed::is_int(text),
                ColumnType::Float64 => typed::is_float(text),
                _ => false,
            },
            Some(Value::Text(text)) => match kind {
                ColumnType::Int64 => typed::is_int(text),
                ColumnType::Float64 => typed::is_float(text),
                ColumnType::Boolean => typed::boolean(text).is_some(),
                ColumnType::Timestamp => typed::timestamp(text).is_some(),
                ColumnType::String => true,
            },
            Some(Value::Nested(_)) => false,
        };
        (!fits).then(|| format!("Column {:?} is {} and the value does not fit", self.column.0, type_name(kind)))
    }

    fn append(&mut self, value: Option<&Value<'_>>) {
        let is_open = self.column.1.is_none();
        match value {
            None | Some(Value::Null) => self.text.append_null(),
            Some(Value::Bool(value)) => {
                self.text.append_value(if *value { "true" } else { "false" });
                if is_open {
                    self.kinds.see_bool();
                }
            }
            Some(Value::Number(text)) => {
                self.text.append_value(text);
                if is_open {
                    self.kinds.see_number(text);
                }
            }
            Some(Value::Text(text)) => {
                self.text.append_value(text);
                if is_open {
                    self.kinds.see_text(text);
                }
            }
            Some(Value::Nested(text)) => {
                self.text.append_value(text);
                if is_open {
                    self.kinds.see_nested();
                }
            }
        }
    }
}

/// The same allocation for values that borrow from elsewhere.
fn recycle<'b>(mut row: Vec<Option<Value<'_>>>) -> Vec<Option<Value<'b>>> {
    row.clear();
    row.into_iter().map(|_| None).collect()
}

fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::String => "string",
        ColumnType::Int64 => "int64",
        ColumnType::Float64 => "float64",
        ColumnType::Boolean => "boolean",
        ColumnType::Timestamp => "timestamp",
    }
}

fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::String => DataType::Utf8,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// Each cell was seen to fit when it was pushed.
fn typed_array(text: StringArray, kind: ColumnType) -> ArrayRef {
    let cells = || text.iter();
    match kind {
        ColumnType::String => Arc::new(text),
        ColumnType::Int64 => {
            let mut builder = Int64Builder::with_capacity(text.len());
            cells().for_each(|cell| builder.append_option(cell.and_then(|cell| cell.parse().ok())));
            Arc::new(builder.finish())
        }
        ColumnType::Float64 => {
            let mut builder = Float64Builder::with_capacity(text.len());
            cells().for_each(|cell| builder.append_option(cell.and_then(|cell| cell.parse().ok())));
            Arc::new(builder.finish())
        }
        ColumnType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(text.len());
            cells().for_each(|cell| builder.append_option(cell.and_then(typed::boolean)));
            Arc::new(builder.finish())
        }
        ColumnType::Timestamp => {
            let mut builder = TimestampMicrosecondBuilder::with_capacity(text.len());
            let micros = |cell: &str| typed::timestamp(cell).map(|instant| instant.timestamp_micros());
            cells().for_each(|cell| builder.append_option(cell.and_then(micros)));
            Arc::new(builder.finish().with_timezone("UTC"))
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
