//! What a file says of where its rows came from, written into the Parquet footer and read back from there.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use super::client::{Place, of_store};
use super::names::ObjectName;
use crate::error::{Error, Kind, Result};

/// Where the rows of a file came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    pub topic: String,
    pub partition: i32,
    /// The first and last offset that the file's cut accounts for.
    pub first: i64,
    pub last: i64,
    /// Rows in this file; less than the offsets where records were refused or are not visible.
    pub rows: u64,
    /// Records of the cut that went to the dead letters.
    pub rejected: u64,
    /// How many files the cut has: one for each folder of a partitioned layout.
    pub files: u64,
}

const PREFIX: &str = "pipeline_core.";

impl Footer {
    pub(super) fn entries(&self) -> [(String, String); 7] {
        let Self { topic, partition, first, last, rows, rejected, files } = self;
        [
            ("topic", topic.clone()),
            ("partition", partition.to_string()),
            ("first_offset", first.to_string()),
            ("last_offset", last.to_string()),
            ("rows", rows.to_string()),
            ("rejected", rejected.to_string()),
            ("files", files.to_string()),
        ]
        .map(|(key, value)| (format!("{PREFIX}{key}"), value))
    }

    fn read(entries: &[(String, String)]) -> Option<Self> {
        let get =
            |key: &str| entries.iter().find(|(name, _)| name.strip_prefix(PREFIX) == Some(key)).map(|(_, value)| value);
        Some(Self {
            topic: get("topic")?.clone(),
            partition: get("partition")?.parse().ok()?,
            first: get("first_offset")?.parse().ok()?,
            last: get("last_offset")?.parse().ok()?,
            rows: get("rows")?.parse().ok()?,
            rejected: get("rejected")?.parse().ok()?,
            files: get("files")?.parse().ok()?,
        })
    }
}

struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl MetadataFetch for &Object {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, range).await.map_err(|error| ParquetError::External(error.into())) }.boxed()
    }
}

/// The footer of one object.
///
/// # Errors
/// When it cannot be read, or is not a file of ours.
pub(super) async fn read_footer(place: &Place, path: &Path, size: u64) -> Result<Footer> {
    let object = Object { store: place.store.clone(), path: path.clone() };
    let metadata =
        ParquetMetaDataReader::new().with_prefetch_hint(Some(16 * 1024)).load_and_finish(&object, size).await;
    let metadata = metadata.map_err(|error| match error {
        ParquetError::External(cause) => match cause.downcast::<object_store::Error>() {
            Ok(error) => of_store(format!("Cannot read the footer of {path}"), *error),
            Err(cause) => Error::new(Kind::DataLoss, format!("Cannot read the footer of {path}: {cause}")),
        },
        error => Error::new(Kind::DataLoss, format!("{path} is not a whole Parquet file: {error}")),
    })?;
    let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let entries: Vec<_> = entries.map(|entry| (entry.key.clone(), entry.value.clone().unwrap_or_default())).collect();
    let footer = Footer::read(&entries)
        .ok_or_else(|| Error::new(Kind::DataLoss, format!("{path} has our name, but not our footer")))?;
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
    if footer.rows != rows {
        return Err(Error::new(Kind::DataLoss, format!("{path} holds {rows} rows, its footer says {}", footer.rows)));
    }
    Ok(footer)
}

/// An object of ours: its path, what its name says, and its footer where it has one.
pub type Found = (String, ObjectName, Option<Footer>);

impl Place {
    /// All objects under `prefix` whose names say that they hold rows of the topic.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn objects_of(&self, prefix: &str, name: &str, topic: &str) -> Result<Vec<(String, u64, ObjectName)>> {
        let folder = self.path(prefix.trim_end_matches('/'))?;
        let found = self.store.list(Some(&folder)).try_filter_map(async |meta| {
            let parsed = meta.location.filename().and_then(|file| ObjectName::parse(file, name));
            Ok(parsed
                .filter(|parsed| parsed.topic == topic)
                .map(|parsed| (meta.location.to_string(), meta.size, parsed)))
        });
        let mut found: Vec<_> =
            found.try_collect().await.map_err(|error| of_store(format!("Cannot list {}", self.url(prefix)), error))?;
        found.sort_by(|a, b| (a.2.partition, a.2.first, &a.0).cmp(&(b.2.partition, b.2.first, &b.0)));
        Ok(found)
    }
}

/// Reads the footers of these objects, several at a time. What is wrong with one is told in its place.
pub async fn read_footers(place: &Place, objects: Vec<(String, u64, ObjectName)>) -> Vec<(Found, Option<Error>)> {
    stream::iter(objects)
        .map(async |(path, size, name)| {
            if name.extension != "parquet" {
                return ((path, name, None), None);
            }
            let read = match Path::parse(&path) {
                Ok(at) => read_footer(place, &at, size).await,
                Err(error) => Err(Error::internal(format!("{path} was listed but is no path: {error}"))),
            };
            match read {
                Ok(footer) => ((path, name, Some(footer)), None),
                Err(error) => ((path, name, None), Some(error)),
            }
        })
        .buffered(16)
        .collect()
        .await
}
