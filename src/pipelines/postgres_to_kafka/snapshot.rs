//! All rows of the table, range after range of its key, as they are by then. What changes meanwhile is in the stream,
//! with a later version.

use serde::{Deserialize, Serialize};

use super::catalog::{self, Columns, check_columns, columns, expressions, missing, table_name, table_oid};
use super::config::Config;
use super::width::Width;
use crate::error::{Error, Result};
use crate::sql::{Database, Dialect, Fetched, Value};

/// How far a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Its rows have this version: all changes up to it are in them.
    pub(super) fence: i64,
    /// The last key that was sent, as texts.
    pub(super) last_key: Option<Vec<String>>,
    pub(super) rows: u64,
    pub(super) is_finished: bool,
}

impl Snapshot {
    pub(super) fn new(fence: i64) -> Self {
        Self { fence, last_key: None, rows: 0, is_finished: false }
    }
}

/// The table that is read.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    table: String,
    columns: String,
    /// The key's columns, not to be taken for their texts in the result, and placeholders of their types.
    key: String,
    placeholders: String,
    width: Width,
    limit: u64,
}

impl Rows {
    pub(super) async fn find(database: &Database, config: &Config) -> Result<Self> {
        let oid = table_oid(database, &config.snapshot_table).await?;
        let found = columns(database, oid.ok_or_else(|| missing(&config.snapshot_table))?).await?;
        let mapping = &config.mapping;
        let names = mapping.columns.iter().map(|column| &column.name);
        check_columns(&config.snapshot_table, &found, names.chain(&mapping.key))?;
        let quoted = |name: &String| format!("source.{}", Dialect::Postgres.quoted(name));
        let placeholder = |name: &String| format!("?::{}", type_of(&found, name));
        let join = |parts: Vec<String>| parts.join(", ");
        Ok(Self {
            table: table_name(&config.snapshot_table),
            columns: expressions(config, &found),
            key: join(mapping.key.iter().map(quoted).collect()),
            placeholders: join(mapping.key.iter().map(placeholder).collect()),
            width: Width::of(config, &found),
            limit: config.snapshot_rows,
        })
    }

    /// The rows behind a key, at most so many.
    pub(super) async fn read(
        &self,
        database: &Database,
        last_key: Option<&[String]>,
        most: u64,
    ) -> Result<Vec<Fetched>> {
        let mut values: Vec<Value<'_>> = last_key.unwrap_or_default().iter().map(|text| Value::Text(text)).collect();
        let behind = match last_key {
            Some(_) => format!(" WHERE ({}) > ({})", self.key, self.placeholders),
            None => String::new(),
        };
        let from = format!("{} AS source{behind}", self.table);
        let limit = self.width.fitting(database, &from, &self.key, &values, self.limit.min(most)).await?;
        let sql = format!("SELECT {} FROM {from} ORDER BY {} LIMIT ?", self.columns, self.key);
        values.push(Value::Int(limit));
        database.query(&sql, &values).await
    }
}

fn type_of<'a>(found: &'a Columns, name: &str) -> &'a str {
    found.get(name).map_or("text", String::as_str)
}

/// A key without a value has no place in the order.
pub(super) fn whole(key: Vec<Option<&str>>) -> Result<Vec<String>> {
    key.into_iter()
        .map(|text| text.map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::settings("A row of the snapshot has no key").hint("Name columns that are never NULL."))
}

/// Until what was written by then is safe in the source: numbers that a crash takes back would be given again.
pub(super) async fn wait_until_safe(database: &Database) -> Result<()> {
    let written = catalog::one(database, "SELECT pg_current_wal_insert_lsn()::text", &[]).await?.text(0)?;
    let Some(written) = written else { return Ok(()) };
    for _ in 0..40 {
        let sql = "SELECT pg_current_wal_flush_lsn() >= ?::text::pg_lsn";
        if catalog::one(database, sql, &[Value::Text(&written)]).await?.bool(0)?.unwrap_or(true) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}
