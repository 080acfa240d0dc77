//! A file in the making: Parquet or JSON, encoded as it grows, in memory at first and then on disk.
//!
//! The bytes depend on the batches and the layout alone, so that a file can be written again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use super::footer::Footer;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Parquet,
    /// One array of objects, indented by two, raw UTF-8.
    Json,
}

impl Format {
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "json",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Parquet => "application/octet-stream",
            Self::Json => "application/json",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    Zstd,
    Snappy,
    None,
}

/// How files are made; part of what a cut records.
#[derive(Debug, Clone)]
pub struct Layout {
    pub format: Format,
    pub compression: Compression,
    /// A row group ends at so many rows or, before that, so many bytes of messages.
    pub group_rows: usize,
    pub group_bytes: usize,
    /// Integer columns whose values grow from row to row.
    pub growing_columns: Vec<String>,
    /// What a file may hold in memory before it goes to disk.
    pub spool_bytes: usize,
    /// Where it goes; the system's folder for temporary files when not set.
    pub spill_dir: Option<PathBuf>,
}

impl Layout {
    /// The folder that files spill to.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_spill_dir(&self) -> Result<()> {
        let Some(folder) = &self.spill_dir else { return Ok(()) };
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(format!("Cannot make the spill folder {}", folder.display()), error))
    }

    fn spool(&self) -> SpooledTempFile {
        match &self.spill_dir {
            Some(folder) => tempfile::spooled_tempfile_in(self.spool_bytes, folder),
            None => tempfile::spooled_tempfile(self.spool_bytes),
        }
    }

    fn properties(&self) -> WriterProperties {
        let codec = match self.compression {
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
            Compression::Snappy => Codec::SNAPPY,
            Compression::None => Codec::UNCOMPRESSED,
        };
        let mut properties = WriterProperties::builder();
        // Numbers that only grow are short as differences and gain nothing from a dictionary.
        for column in &self.growing_columns {
            let path = ColumnPath::from(column.as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        properties
            .set_compression(codec)
            .set_max_row_group_row_count(Some(self.group_rows))
            .set_max_row_group_bytes(None)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_dictionary_page_size_limit(256 * 1024)
            .build()
    }
}

/// A file in the making.
#[derive(Debug)]
pub(super) struct OutputFile {
    encoder: Encoder,
    format: Format,
    spill_dir: Option<PathBuf>,
    spool_bytes: usize,
    group_bytes: usize,
    /// Bytes of messages in the open row group.
    open_bytes: usize,
    rows: u64,
    columns: usize,
}

/// A column's dictionary has room for 4,096 values from the start, which the writer's own count leaves out.
const DICTIONARY: usize = 80 * 1024;

enum Encoder {
    Parquet(Box<ArrowWriter<SpooledTempFile>>),
    Json { spool: SpooledTempFile, written: usize },
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parquet(_) => "Parquet",
            Self::Json { .. } => "Json",
        })
    }
}

impl OutputFile {
    /// # Errors
    /// When the schema cannot be written in the format.
    pub(super) fn new(layout: &Layout, schema: SchemaRef) -> Result<Self> {
        let columns = schema.fields().len();
        let encoder = match layout.format {
            Format::Parquet => {
                let options = ArrowWriterOptions::new().with_properties(layout.properties());
                let writer = ArrowWriter::try_new_with_options(layout.spool(), schema, options);
                Encoder::Parquet(Box::new(writer.map_err(|error| of_parquet(layout.spill_dir.as_deref(), error))?))
            }
            Format::Json => Encoder::Json { spool: layout.spool(), written: 0 },
        };
        Ok(Self {
            encoder,
            format: layout.format,
            spill_dir: layout.spill_dir.clone(),
            spool_bytes: layout.spool_bytes,
            group_bytes: layout.group_bytes,
            open_bytes: 0,
            rows: 0,
            columns,
        })
    }

    /// Adds a batch made of so many bytes of messages.
    ///
    /// # Errors
    /// When the disk that it spills to is full.
    pub(super) fn write(&mut self, batch: &RecordBatch, message_bytes: usize) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.open_bytes += message_bytes;
        let of = |error| of_parquet(self.spill_dir.as_deref(), error);
        match &mut self.encoder {
            Encoder::Parquet(writer) => {
                writer.write(batch).map_err(of)?;
                if self.open_bytes >= self.group_bytes {
                    writer.flush().map_err(of)?;
                    self.open_bytes = 0;
                }
            }
            Encoder::Json { spool, written } => {
                let before = if self.rows > batch.num_rows() as u64 { ",\n" } else { "[\n" };
                let text =
                    json_rows(batch, before).map_err(|error| Error::internal(format!("Cannot write JSON: {error}")))?;
                spool.write_all(text.as_bytes()).map_err(|error| spill_error(self.spill_dir.as_deref(), error))?;
                *written += text.len();
            }
        }
        Ok(())
    }

    /// Bytes the file has now, about.
    #[must_use]
    pub(super) fn size(&self) -> usize {
        match &self.encoder {
            Encoder::Parquet(writer) => writer.bytes_written() + writer.in_progress_size(),
            Encoder::Json { written, .. } => *written,
        }
    }

    /// Bytes of memory held.
    #[must_use]
    pub(super) fn held(&self) -> usize {
        match &self.encoder {
            Encoder::Parquet(writer) => {
                let dictionaries = if writer.in_progress_rows() > 0 { self.columns * DICTIONARY } else { 0 };
                writer.memory_size() + writer.bytes_written().min(self.spool_bytes) + dictionaries
            }
            Encoder::Json { written, .. } => (*written).min(self.spool_bytes),
        }
    }

    /// Ends the file, with its footer.
    ///
    /// # Errors
    /// When the disk that it spills to is full.
    pub(super) fn finish(self, footer: &Footer) -> Result<Finished> {
        let spill_dir = self.spill_dir;
        let spool = match self.encoder {
            Encoder::Parquet(mut writer) => {
                for (key, value) in footer.entries() {
                    writer.append_key_value_metadata(KeyValue::new(key, value));
                }
                writer.into_inner().map_err(|error| of_parquet(spill_dir.as_deref(), error))?
            }
            Encoder::Json { mut spool, .. } => {
                let end: &[u8] = if self.rows == 0 { b"[]\n" } else { b"\n]\n" };
                spool.write_all(end).map_err(|error| spill_error(spill_dir.as_deref(), error))?;
                spool
            }
        };
        Ok(Finished { spool, format: self.format })
    }
}

/// A file that is ready to be published.
#[derive(Debug)]
pub struct Finished {
    pub(super) spool: SpooledTempFile,
    pub(super) format: Format,
}

fn spill_error(folder: Option<&Path>, error: io::Error) -> Error {
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    Error::io(format!("Cannot write to the spill folder {}", folder.display()), error)
}

fn of_parquet(folder: Option<&Path>, error: parquet::errors::ParquetError) -> Error {
    if let parquet::errors::ParquetError::External(cause) = error {
        return match cause.downcast::<io::Error>() {
            Ok(io) => spill_error(folder, *io),
            Err(other) => Error::internal(format!("Cannot encode Parquet: {other}")),
        };
    }
    Error::internal(format!("Cannot encode Parquet: {error}")).caused_by(error)
}

fn json_rows(batch: &RecordBatch, before: &str) -> Result<String, arrow::error::ArrowError> {
    use arrow::datatypes::DataType;
    let options = FormatOptions::default();
    let schema = batch.schema();
    let columns = batch.columns().iter().zip(schema.fields()).map(|(array, field)| {
        let is_bare =
            matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Boolean);
        Ok((
            serde_json::Value::from(field.name().as_str()).to_string(),
            is_bare,
            array,
            ArrayFormatter::try_new(array, &options)?,
        ))
    });
    let columns: Vec<_> = columns.collect::<Result<_, arrow::error::ArrowError>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        text.push_str(if row == 0 { before } else { ",\n" });
        text.push_str("  {");
        for (at, (name, is_bare, array, formatter)) in columns.iter().enumerate() {
            let value = match (array.is_null(row), is_bare) {
                (true, _) => "null".to_owned(),
                (false, true) => formatter.value(row).to_string(),
                (false, false) => serde_json::Value::from(formatter.value(row).to_string()).to_string(),
            };
            text.push_str(if at == 0 { "\n    " } else { ",\n    " });
            text.push_str(name);
            text.push_str(": ");
            text.push_str(&value);
        }
        text.push_str("\n  }");
    }
    Ok(text)
}
