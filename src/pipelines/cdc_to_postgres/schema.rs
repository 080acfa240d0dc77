//! The replica and the tables beside it: what they are called, what they are like, and how they are made.

use std::collections::HashMap;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::decode::change::Plan;
use crate::error::{Error, Kind, Result};
use crate::sql::{Asked, DEFINE_ALONE, Database, Dialect, Outbox, PositionTable, Server, Session, Transaction, Value};

/// The column that keeps an older event from undoing a newer one.
pub(super) const VERSION: &str = "cdc_version";

/// Names as they stand in SQL.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// As the user wrote it.
    pub(super) plain: String,
    pub(super) table: String,
    pub(super) ledger: String,
    pub(super) tombstone: String,
    pub(super) position: String,
    pub(super) dead_letter: String,
}

impl Names {
    pub(super) fn of(config: &Config) -> Self {
        let schema = config.table.split_once('.').map(|(schema, _)| schema);
        let beside = |name: &str| match schema {
            Some(schema) if !name.contains('.') => quoted(&format!("{schema}.{name}")),
            _ => quoted(name),
        };
        Self {
            plain: config.table.clone(),
            table: quoted(&config.table),
            ledger: beside(&config.processed_events),
            tombstone: beside("pipeline_core_tombstone"),
            position: beside("pipeline_core_position"),
            dead_letter: beside("pipeline_core_dead_letter"),
        }
    }
}

/// `schema.table`, each part quoted.
fn quoted(name: &str) -> String {
    name.split('.').map(|part| Dialect::Postgres.quoted(part)).collect::<Vec<_>>().join(".")
}

/// A table's columns: type, and whether it must not be null. Empty where there is no such table.
async fn columns(asked: impl Asked, table: &str) -> Result<HashMap<String, (String, bool)>> {
    // A domain is what it is made of.
    let sql = "SELECT a.attname::text, format_type(COALESCE(NULLIF(t.typbasetype, 0), a.atttypid), \
               CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END), a.attnotnull OR t.typnotnull \
               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = to_regclass(?) AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = asked.ask(sql, &[Value::Text(table)]).await?;
    let rows = rows.iter().map(|row| {
        let of = (row.text(1)?.unwrap_or_default(), row.bool(2)?.unwrap_or_default());
        Ok((row.text(0)?.unwrap_or_default(), of))
    });
    rows.collect()
}

/// How messages are read for the table as it is. Looks at all tables first: a run without them would only fail later.
///
/// # Errors
/// `NotFound` and `Settings`, with what to do.
pub(super) async fn plan(database: &Database, config: &Config, names: &Names) -> Result<Plan> {
    let columns_of_mapping = config.mapping.columns.iter().map(|column| &column.name);
    // It stands for a value in our statements.
    if let Some(name) =
        columns_of_mapping.chain([&config.table, &config.processed_events]).find(|name| name.contains('?'))
    {
        return Err(Error::settings(format!("The name {name} has a question mark")));
    }
    let found = columns(database, &names.table).await?;
    let own = [&names.tombstone, &names.position, &names.dead_letter];
    let ledger = config.enable_idempotency.then_some(&names.ledger);
    for table in own.into_iter().chain(ledger) {
        database.query(&format!("SELECT 1 FROM {table} LIMIT 0"), &[]).await?;
    }
    if found.is_empty() {
        database.query(&format!("SELECT 1 FROM {} LIMIT 0", names.table), &[]).await?;
    }
    let mapped = config.mapping.columns.iter().map(|column| column.name.as_str());
    let missing: Vec<&str> = mapped.filter(|name| !found.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(Error::settings(format!("{} has no column {}", config.table, missing.join(", ")))
            .hint("Change the mapping, or add the columns."));
    }
    if !found.contains_key(VERSION) {
        return Err(Error::settings(format!("{} has no column {VERSION}", config.table))
            .hint("Run `pipeline-core init-db cdc-to-postgres`: it adds the column and keeps every row."));
    }
    Plan::new(&config.mapping, config.unknown_fields, |name| found.get(name).cloned())
}

/// The largest number of a change that the ledger takes, where it is kept.
pub(super) async fn ledger(database: &Database, config: &Config, names: &Names) -> Result<Option<i64>> {
    if !config.enable_idempotency {
        return Ok(None);
    }
    let found = columns(database, &names.ledger).await?;
    let of = found.get("action_id").map_or("integer", |(of, _)| of.as_str());
    Ok(Some(if of == "integer" { i64::from(i32::MAX) } else { i64::MAX >> 16 }))
}

/// What `init_db` found and made.
#[derive(Debug, Default, Serialize)]
pub struct Made {
    pub server: String,
    pub database: String,
    pub created: Vec<String>,
    /// Nothing is ever moved here.
    pub migrated: Option<()>,
    pub statements: Vec<String>,
}

/// Makes what is missing; drops nothing, and may be run again.
///
/// # Errors
/// When the server cannot be reached or refuses, or a table of that name is something else.
pub async fn init_db(config: &Config, stop: &CancellationToken) -> Result<Made> {
    let session = Session { statement_timeout: None, ..super::session(config) };
    let database = Database::connect(Server::Postgres(&config.target), session, stop).await?;
    let mut making = Making { config, names: Names::of(config), database, made: Made::default() };
    let outcome = making.all().await;
    making.database.close().await;
    outcome?;
    Ok(making.made)
}

struct Making<'a> {
    config: &'a Config,
    names: Names,
    database: Database,
    made: Made,
}

impl Making<'_> {
    async fn all(&mut self) -> Result<()> {
        self.made.server = self.database.server();
        let rows = self.database.query("SELECT current_database()::text", &[]).await?;
        self.made.database = rows.first().map(|row| row.text(0)).transpose()?.flatten().unwrap_or_default();
        if let Some((schema, _)) = self.config.table.split_once('.') {
            self.make_schema(schema).await?;
        }
        let names = self.names.clone();
        let definition = self.replica();
        if !self.make(&names.table, &definition).await? {
            self.bring_up(&names.table).await?;
        }
        self.make_ledger(&names.ledger).await?;
        self.make(&names.tombstone, &tombstone_definition(&names.tombstone)).await?;
        self.make(&names.position, &PositionTable::definition(Dialect::Postgres, &names.position)).await?;
        self.make(&names.dead_letter, &Outbox::definition(Dialect::Postgres, &names.dead_letter)).await?;
        Ok(())
    }

    /// A transaction beside which no other `init_db` makes anything.
    async fn begin(&self) -> Result<Transaction> {
        let mut transaction = self.database.begin().await?;
        transaction.say(DEFINE_ALONE).await?;
        Ok(transaction)
    }

    async fn say(&mut self, mut transaction: Transaction, sql: &str) -> Result<()> {
        transaction.say(sql).await?;
        transaction.commit().await?;
        tracing::info!(statement = sql, "changed the database");
        self.made.statements.push(sql.to_owned());
        Ok(())
    }

    async fn make_schema(&mut self, schema: &str) -> Result<()> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT 1 FROM pg_namespace WHERE nspname = ?";
        if !transaction.query(sql, &[Value::Text(schema)]).await?.is_empty() {
            return transaction.roll_back().await;
        }
        self.say(transaction, &format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema))).await?;
        self.made.created.push(schema.to_owned());
        Ok(())
    }

    /// True where it was missing.
    async fn make(&mut self, name: &str, definition: &str) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let rows = transaction.query("SELECT to_regclass(?) IS NOT NULL", &[Value::Text(name)]).await?;
        if rows.first().map(|row| row.bool(0)).transpose()?.flatten().unwrap_or_default() {
            transaction.roll_back().await?;
            return Ok(false);
        }
        self.say(transaction, definition).await?;
        self.made.created.push(name.replace('"', ""));
        Ok(true)
    }

    fn replica(&self) -> String {
        let mapping = &self.config.mapping;
        let columns = mapping.columns.iter().map(|column| {
            let required = if column.required || mapping.key.contains(&column.name) { " NOT NULL" } else { "" };
            format!("{} {}{required}", Dialect::Postgres.quoted(&column.name), plain_type(&column.of))
        });
        let key: Vec<String> = mapping.key.iter().map(|name| Dialect::Postgres.quoted(name)).collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({}, last_updated TIMESTAMP DEFAULT CURRENT_TIMESTAMP, {VERSION} BIGINT, \
             PRIMARY KEY ({}))",
            self.names.table,
            columns.collect::<Vec<_>>().join(", "),
            key.join(", ")
        )
    }

    /// A table that is there already keeps all it has.
    async fn bring_up(&mut self, table: &str) -> Result<()> {
        let mut transaction = self.begin().await?;
        let found = columns(&mut transaction, table).await?;
        let mapped = self.config.mapping.columns.iter().map(|column| column.name.as_str());
        let missing: Vec<&str> = mapped.filter(|name| !found.contains_key(*name)).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Error::new(Kind::Conflict, format!("{table} is there and has no column {missing}"))
                .hint("Name another table, or change the mapping."));
        }
        if found.contains_key(VERSION) {
            return transaction.roll_back().await;
        }
        self.say(transaction, &format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {VERSION} BIGINT")).await
    }

    async fn make_ledger(&mut self, ledger: &str) -> Result<()> {
        let mapping = &self.config.mapping;
        let key = mapping.key.first().and_then(|name| mapping.columns.iter().find(|column| column.name == *name));
        let (key, of) = key.map_or(("emp_id", "integer"), |column| (column.name.as_str(), column.of.as_str()));
        let column = Dialect::Postgres.quoted(key);
        let definition = format!(
            "CREATE TABLE IF NOT EXISTS {ledger} (action_id {}, {column} {}, action VARCHAR(10), \
             processed_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, kafka_offset BIGINT, kafka_partition INT, \
             PRIMARY KEY (action_id))",
            // The contract's column is an INT; a change table of others may count further.
            if self.config.table == "employees" { "INT" } else { "BIGINT" },
            plain_type(of)
        );
        self.make(ledger, &definition).await?;
        let (schema, bare) =
            self.config.processed_events.rsplit_once('.').unwrap_or(("", &self.config.processed_events));
        let schema =
            if schema.is_empty() { self.config.table.split_once('.').map_or("", |parts| parts.0) } else { schema };
        for (suffix, column) in [(key, column.as_str()), ("timestamp", "processed_at")] {
            let index = format!("idx_{bare}_{suffix}");
            let name = if schema.is_empty() { quoted(&index) } else { quoted(&format!("{schema}.{index}")) };
            let sql = format!("CREATE INDEX IF NOT EXISTS {} ON {ledger} ({column})", quoted(&index));
            self.make(&name, &sql).await?;
        }
        Ok(())
    }
}

/// A number that counts by itself is only a number here.
fn plain_type(of: &str) -> &str {
    match of.trim().to_ascii_lowercase().as_str() {
        "smallserial" => "smallint",
        "serial" => "integer",
        "bigserial" => "bigint",
        _ => of,
    }
}

/// The row without a key is the table's last TRUNCATE.
fn tombstone_definition(name: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (table_name TEXT NOT NULL, key TEXT NOT NULL, version BIGINT NOT NULL, \
         deleted_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (table_name, key))"
    )
}
