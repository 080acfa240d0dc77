//! Which folder a row belongs in, by its time or by a column.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMillisecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;

use crate::error::{Error, Result};
use crate::store::hive_segment;

/// One level of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Level {
    /// `name=` and the message's time, UTC, in this form.
    Time { name: String, form: String },
    /// `name=` and the row's value, which leaves the file.
    Column(String),
}

impl Level {
    /// Reads `date=%F` or a column's name.
    ///
    /// # Errors
    /// When the form is not one of strftime's.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((name, form)) = text.split_once('=') else { return Ok(Self::Column(text.to_owned())) };
        let is_broken = chrono::format::StrftimeItems::new(form).any(|item| item == chrono::format::Item::Error);
        if is_broken || name.is_empty() || !form.contains('%') {
            return Err(Error::settings(format!("Cannot read partition_by={text:?}"))
                .hint("Use e.g. date=%F, hour=%H, or the name of a column."));
        }
        Ok(Self::Time { name: name.to_owned(), form: form.to_owned() })
    }
}

/// The rows by folder, in the order of the folders; without levels all are in the one folder "".
///
/// # Errors
/// Only by a bug: the rows come from the batch itself.
pub(super) fn by_folder(batch: RecordBatch, levels: &[Level], time_column: &str) -> Result<Vec<(String, RecordBatch)>> {
    if levels.is_empty() {
        return Ok(vec![(String::new(), batch)]);
    }
    let of = |error| Error::internal(format!("Cannot sort rows into folders: {error}"));
    let options = FormatOptions::default();
    let formatters = levels.iter().map(|level| match level {
        Level::Column(name) => batch
            .column_by_name(name)
            .map(|column| ArrayFormatter::try_new(column, &options).map(|text| (column, text)))
            .transpose(),
        Level::Time { .. } => Ok(None),
    });
    let formatters: Vec<_> = formatters.collect::<Result<_, _>>().map_err(of)?;
    let times =
        batch.column_by_name(time_column).and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>());
    let mut folders: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let mut folder = String::new();
        for (level, formatter) in levels.iter().zip(&formatters) {
            let segment = match (level, formatter) {
                (Level::Time { name, form }, _) => {
                    let time = times
                        .filter(|times| times.is_valid(row))
                        .and_then(|times| DateTime::from_timestamp_millis(times.value(row)));
                    hive_segment(name, time.map(|time| time.format(form).to_string()).as_deref())
                }
                (Level::Column(name), Some((column, text))) if column.is_valid(row) => {
                    hive_segment(name, Some(&text.value(row).to_string()))
                }
                (Level::Column(name), _) => hive_segment(name, None),
            };
            folder.push_str(&segment);
            folder.push('/');
        }
        folders.entry(folder).or_default().push(u32::try_from(row).unwrap_or(u32::MAX));
    }
    let schema = batch.schema();
    let kept = schema.fields().iter().enumerate().filter_map(|(at, field)| {
        let is_level = levels.iter().any(|level| matches!(level, Level::Column(name) if name == field.name()));
        (!is_level).then_some(at)
    });
    let kept: Vec<usize> = kept.collect();
    let taken = folders.into_iter().map(|(folder, rows)| {
        let rows = take_record_batch(&batch, &UInt32Array::from(rows))?.project(&kept)?;
        Ok((folder, rows))
    });
    taken.collect::<Result<_, arrow::error::ArrowError>>().map_err(of)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn rows_go_to_the_folder_of_their_day_and_market() {
        let market: ArrayRef = Arc::new(StringArray::from(vec![Some("LATAM"), None, Some("LATAM")]));
        let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0, 0, 86_400_000]));
        let value: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let batch = RecordBatch::try_from_iter([("Market", market), ("time", time), ("value", value)]).unwrap();
        let levels = [Level::parse("date=%F").unwrap(), Level::parse("Market").unwrap()];
        let folders = by_folder(batch, &levels, "time").unwrap();
        let names: Vec<&str> = folders.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "date=1970-01-01/Market=LATAM/",
                "date=1970-01-01/Market=__HIVE_DEFAULT_PARTITION__/",
                "date=1970-01-02/Market=LATAM/"
            ]
        );
        assert!(folders.iter().all(|(_, rows)| rows.num_rows() == 1 && rows.column_by_name("Market").is_none()));
        assert!(Level::parse("date=%Q").is_err());
    }
}
