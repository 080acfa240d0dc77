//! What the source says of its tables: who they are, their columns, and the sequence that numbers the changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::transform::{expression, type_name};
use super::width::Width;
use crate::error::{Error, Kind, Result};
use crate::sql::{Asked, Database, Dialect, Fetched, Value};

/// Tells a table from one that was made again under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) table_oid: i64,
    pub(super) database_oid: i64,
    /// Of the cluster; none where the server does not tell it.
    pub(super) system: Option<String>,
}

impl Identity {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_system = self.system.is_none() || other.system.is_none() || self.system == other.system;
        is_system && self.table_oid == other.table_oid && self.database_oid == other.database_oid
    }
}

/// The change table.
#[derive(Debug, Clone)]
pub(super) struct ChangeTable {
    pub(super) identity: Identity,
    /// Quoted, with its schema.
    pub(super) sequence: String,
    /// A condition on `pg_locks`: those who take a number or insert into the table.
    pub(super) writers: String,
    /// The columns of the mapping, as texts.
    pub(super) columns: String,
    pub(super) width: Width,
}

/// A name, or a schema and a name, quoted.
pub(super) fn table_name(name: &str) -> String {
    let parts: Vec<String> = name.splitn(2, '.').map(|part| Dialect::Postgres.quoted(part)).collect();
    parts.join(".")
}

/// Columns of a table and their types.
pub(super) type Columns = BTreeMap<String, String>;

impl ChangeTable {
    /// Looks at the table, and refuses one whose changes cannot be told in order.
    pub(super) async fn find(database: &Database, config: &Config) -> Result<Self> {
        let (oid, found) = change_columns(database, config).await?;
        let row = one(database, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()", &[]).await?;
        let database_oid = row.int(0)?.unwrap_or_default();
        let system = match database.query("SELECT system_identifier::text FROM pg_control_system()", &[]).await {
            Ok(rows) => rows.first().map(|row| row.text(0)).transpose()?.flatten(),
            Err(error) if error.kind() == Kind::Access => None,
            Err(error) => return Err(error),
        };
        let sequence = sequence(database, config, oid).await?;
        Ok(Self {
            writers: writers(database, oid, &sequence, database_oid).await?,
            sequence,
            columns: expressions(config, &found),
            width: Width::of(config, &found),
            identity: Identity { table_oid: oid, database_oid, system },
        })
    }
}

/// The change table's oid and columns, of which it has those of the mapping.
pub(super) async fn change_columns(database: &Database, config: &Config) -> Result<(i64, Columns)> {
    let oid = table_oid(database, &config.table).await?.ok_or_else(|| missing(&config.table))?;
    let found = columns(database, oid).await?;
    check_changes(config, &found)?;
    Ok((oid, found))
}

/// Whether the change table has what the mapping says.
pub(super) fn check_changes(config: &Config, found: &Columns) -> Result<()> {
    let mapping = &config.mapping;
    let own = [&mapping.id_column, &mapping.action_column];
    check_columns(&config.table, found, own.into_iter().chain(mapping.columns.iter().map(|column| &column.name)))
}

/// The mapping's columns in a SELECT.
pub(super) fn expressions(config: &Config, found: &Columns) -> String {
    let of = |name: &String| found.get(name).map(|of| type_name(of)).unwrap_or_default();
    let columns = config.mapping.columns.iter().map(|column| expression(column, &of(&column.name)));
    columns.collect::<Vec<_>>().join(", ")
}

/// What a server has to be.
pub(super) async fn check_server(database: &Database) -> Result<()> {
    if database.major_version() < 10 {
        return Err(Error::settings(format!("{} is too old", database.server()))
            .hint("Changes are captured from PostgreSQL 10 or newer."));
    }
    if is_standby(database).await? {
        return Err(Error::settings("The server is a standby: it cannot say which changes are complete")
            .hint("Name the primary server."));
    }
    Ok(())
}

pub(super) async fn is_standby(database: &Database) -> Result<bool> {
    Ok(one(database, "SELECT pg_is_in_recovery()", &[]).await?.bool(0)?.unwrap_or_default())
}

pub(super) async fn table_oid(asked: impl Asked, name: &str) -> Result<Option<i64>> {
    let row = one(asked, "SELECT to_regclass(?)::oid::bigint", &[Value::Text(&table_name(name))]).await?;
    row.int(0)
}

pub(super) fn missing(table: &str) -> Error {
    Error::new(Kind::NotFound, format!("There is no table {table} in the source"))
        .hint(format!("Run `pipeline-core init-db {}` first.", super::INIT))
}

pub(super) async fn columns(asked: impl Asked, oid: i64) -> Result<Columns> {
    let sql = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute \
               WHERE attrelid = ?::bigint::oid AND attnum > 0 AND NOT attisdropped";
    let rows = asked.ask(sql, &[Value::Int(oid)]).await?;
    rows.iter().map(|row| Ok((row.text(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default()))).collect()
}

pub(super) fn check_columns<'a>(table: &str, found: &Columns, wanted: impl Iterator<Item = &'a String>) -> Result<()> {
    let missing: Vec<&str> = wanted.filter(|name| !found.contains_key(*name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::settings(format!("The table {table} has no column {}", missing.join(", ")))
        .hint("Name the columns that it has in the mapping's key, columns, id_column and action_column."))
}

/// That of the column's default, or of an identity column.
pub(super) async fn sequence(database: &Database, config: &Config, oid: i64) -> Result<String> {
    let sql = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), s.seqcache, s.seqincrement, s.seqcycle \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid \
               WHERE c.oid = coalesce((\
               SELECT d.refobjid FROM pg_attrdef def \
               JOIN pg_attribute a ON a.attrelid = def.adrelid AND a.attnum = def.adnum \
               JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = def.oid \
               AND d.refclassid = 'pg_class'::regclass \
               JOIN pg_class q ON q.oid = d.refobjid AND q.relkind = 'S' \
               WHERE def.adrelid = ?::bigint::oid AND a.attname = ? LIMIT 1), \
               pg_get_serial_sequence(?, ?)::regclass::oid)";
    let (table, column) = (table_name(&config.table), config.mapping.id_column.as_str());
    let values = [Value::Int(oid), Value::Text(column), Value::Text(&table), Value::Text(column)];
    let rows = database.query(sql, &values).await?;
    let Some(row) = rows.first() else {
        return Err(Error::settings(format!("The column {column} of {} is numbered by no sequence", config.table))
            .hint("Changes are told apart by a SERIAL, BIGSERIAL or identity column."));
    };
    let name = row.text(0)?.unwrap_or_default();
    let (cache, increment) = (row.int(1)?.unwrap_or_default(), row.int(2)?.unwrap_or_default());
    if cache != 1 {
        return Err(Error::settings(format!(
            "The sequence {name} has CACHE {cache}: each session would number its changes from a stock of its own"
        ))
        .hint(format!(
            "ALTER SEQUENCE {name} CACHE 1; sessions that are open use up their stock: connect them again."
        )));
    }
    if increment <= 0 || row.bool(3)?.unwrap_or_default() {
        return Err(Error::settings(format!("The sequence {name} does not go up for ever"))
            .hint(format!("ALTER SEQUENCE {name} INCREMENT 1 NO CYCLE;")));
    }
    Ok(name)
}

/// Both locks are held until the transaction is over: that of the sequence by who has taken a number from it.
async fn writers(database: &Database, oid: i64, sequence: &str, database_oid: i64) -> Result<String> {
    let sql = "SELECT relhassubclass, to_regclass(?)::oid::bigint FROM pg_class WHERE oid = ?::bigint::oid";
    let row = one(database, sql, &[Value::Text(sequence), Value::Int(oid)]).await?;
    let (has_parts, sequence) = (row.bool(0)?.unwrap_or_default(), row.int(1)?.unwrap_or_default());
    let relations = if has_parts {
        format!(
            "WITH RECURSIVE part(oid) AS (SELECT {oid}::oid UNION ALL \
             SELECT i.inhrelid FROM pg_inherits i JOIN part ON i.inhparent = part.oid) \
             SELECT oid FROM part UNION ALL SELECT {sequence}::oid"
        )
    } else {
        format!("{oid}, {sequence}")
    };
    Ok(format!(
        "locktype = 'relation' AND database = {database_oid} AND relation IN ({relations}) \
         AND mode = 'RowExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()"
    ))
}

/// The only row of a query.
pub(super) async fn one(asked: impl Asked, sql: &str, values: &[Value<'_>]) -> Result<Fetched> {
    let row = asked.ask(sql, values).await?.into_iter().next();
    row.ok_or_else(|| Error::new(Kind::Unavailable, format!("The source gives no row for: {sql}")))
}
