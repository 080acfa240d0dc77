//! The rows of a table as an Arrow batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampSecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;

use super::columns::{CONTRACT, Column, Table, Type};
use super::tables::{Cell, Rows};

/// Collects rows of one table; the column `raw` only where it is kept.
#[derive(Debug)]
pub struct BatchBuilder {
    columns: Vec<(&'static Column, Builder)>,
}

#[derive(Debug)]
enum Builder {
    BigInt(Int64Builder),
    Int(Int32Builder),
    Decimal(Decimal128Builder),
    Time(TimestampSecondBuilder),
    Text(StringBuilder),
}

/// Of a text, about.
const TEXT_BYTES: usize = 16;

impl BatchBuilder {
    /// With room for so many rows; more may come.
    #[must_use]
    pub fn new(table: Table, has_raw: bool, rows: usize) -> Self {
        let columns = table.columns();
        let count = if table == Table::Order && !has_raw { CONTRACT } else { columns.len() };
        Self { columns: columns[..count].iter().map(|column| (column, Builder::of(column.of, rows))).collect() }
    }

    pub fn append(&mut self, rows: &Rows<'_>) {
        for (at, (_, builder)) in self.columns.iter_mut().enumerate() {
            builder.append(rows.iter().map(|row| &row[at]));
        }
    }

    /// # Errors
    /// Never for rows of this room.
    pub fn finish(self) -> Result<RecordBatch, ArrowError> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (column, builder) in self.columns {
            fields.push(Field::new(column.name, data_type(column.of), true));
            arrays.push(builder.finish()?);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    }
}

fn data_type(of: Type) -> DataType {
    match of {
        Type::BigInt => DataType::Int64,
        Type::Int => DataType::Int32,
        Type::Varchar(_) | Type::Text | Type::Json => DataType::Utf8,
        Type::Decimal => DataType::Decimal128(10, 2),
        Type::Timestamp | Type::DateTime => DataType::Timestamp(TimeUnit::Second, None),
    }
}

impl Builder {
    fn of(of: Type, rows: usize) -> Self {
        match of {
            Type::BigInt => Self::BigInt(Int64Builder::with_capacity(rows)),
            Type::Int => Self::Int(Int32Builder::with_capacity(rows)),
            Type::Decimal => Self::Decimal(Decimal128Builder::with_capacity(rows)),
            Type::Timestamp | Type::DateTime => Self::Time(TimestampSecondBuilder::with_capacity(rows)),
            Type::Varchar(_) | Type::Text | Type::Json => {
                Self::Text(StringBuilder::with_capacity(rows, rows * TEXT_BYTES))
            }
        }
    }

    fn append<'c, 'a: 'c>(&mut self, cells: impl Iterator<Item = &'c Cell<'a>>) {
        let number = |cell: &Cell<'_>| match cell {
            Cell::Int(number) | Cell::Amount(number) | Cell::Time(number) => Some(*number),
            Cell::Null | Cell::Text(_) => None,
        };
        match self {
            Self::BigInt(array) => cells.for_each(|cell| array.append_option(number(cell))),
            Self::Int(array) => {
                cells.for_each(|cell| array.append_option(number(cell).and_then(|number| i32::try_from(number).ok())));
            }
            Self::Decimal(array) => cells.for_each(|cell| array.append_option(number(cell).map(i128::from))),
            Self::Time(array) => cells.for_each(|cell| array.append_option(number(cell))),
            Self::Text(array) => cells.for_each(|cell| match cell {
                Cell::Text(text) => array.append_value(text),
                _ => array.append_null(),
            }),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::BigInt(mut array) => Arc::new(array.finish()),
            Self::Int(mut array) => Arc::new(array.finish()),
            Self::Decimal(mut array) => Arc::new(array.finish().with_precision_and_scale(10, 2)?),
            Self::Time(mut array) => Arc::new(array.finish()),
            Self::Text(mut array) => Arc::new(array.finish()),
        })
    }
}
