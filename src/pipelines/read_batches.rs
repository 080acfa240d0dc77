//! A topic as Arrow record batches, for notebooks.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::config::{ColumnType, Kafka};
use crate::decode::rows::{KeyEncoding, Options, Push, Record, Rows};
use crate::error::{Error, Kind, Result};
use crate::flow::Until;
use crate::kafka::TopicReader;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub topic: String,
    /// `earliest`, `latest` or an offset.
    pub start: String,
    pub until: Until,
    pub typed: bool,
    pub column_types: HashMap<String, ColumnType>,
    pub batch_rows: usize,
    /// Add the five metadata columns.
    pub metadata: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            topic: "supply-chain-orders".to_owned(),
            start: "earliest".to_owned(),
            until: Until::End,
            typed: false,
            column_types: HashMap::new(),
            batch_rows: 8192,
            metadata: true,
        }
    }
}

/// Batches of a topic up to its end; each of one partition, all of the same columns.
#[derive(Debug)]
pub struct Batches {
    reader: TopicReader,
    rows: Rows,
    batch_rows: usize,
    /// The columns are those of the first batch.
    is_settled: bool,
}

impl Batches {
    /// # Errors
    /// When the broker cannot be reached, there is no such topic, or a setting is wrong.
    pub fn open(config: Config) -> Result<Self> {
        let at = match config.start.as_str() {
            "earliest" | "latest" => None,
            offset => Some(offset.parse::<i64>().map_err(|_| {
                Error::settings(format!("Cannot read start={offset:?}")).hint("Use earliest, latest or an offset.")
            })?),
        };
        if !matches!(config.until, Until::End | Until::Rows(_)) {
            return Err(Error::settings("read_batches ends at the end or after a number of rows")
                .hint("Use until=\"end\" or e.g. until=\"1000rows\"."));
        }
        let range = |_, (low, high): (i64, i64)| match (at, config.start.as_str()) {
            (Some(offset), _) => Some((offset.max(low), high)),
            (None, "latest") => None,
            _ => Some((low, high)),
        };
        let reader = TopicReader::new(&config.kafka, &config.topic, config.until.rows(), range)?;
        let options = Options {
            topic: config.topic.as_str().into(),
            is_typed: config.typed,
            column_types: config.column_types,
            metadata_prefix: config.metadata.then(String::new),
            key_encoding: KeyEncoding::Utf8,
        };
        Ok(Self {
            reader,
            rows: Rows::new(options, Vec::new()),
            batch_rows: config.batch_rows.max(1),
            is_settled: false,
        })
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// When a message does not fit, with its place: nothing is left out silently.
    pub fn next(&mut self, stop: &CancellationToken) -> Result<Option<RecordBatch>> {
        let Some((partition, records)) = self.reader.next(self.batch_rows, || stop.is_cancelled())? else {
            return Ok(None);
        };
        for record in records.iter() {
            let row =
                Record { partition, offset: record.offset, time: record.time, key: record.key, value: record.value };
            let refused = match self.rows.push(row, !self.is_settled)? {
                Push::Added => continue,
                Push::NewColumns => "it has columns that the first batch had not".to_owned(),
                Push::Refused(reason) => reason,
            };
            let message = format!("Partition {partition}, offset {}: {refused}", record.offset);
            return Err(Error::new(Kind::Rejected, message)
                .hint("kafka-to-parquet would put it into the dead letters, or into a new file."));
        }
        self.is_settled = true;
        self.rows.finish().map(Some)
    }
}
