//! The databases and tables, and how a table of the original program becomes one of ours.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::decode::walmart::{CONTRACT, Column, Table, Type};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::sql::{Database, MAKE_ALONE, Outbox, PositionTable, Server, Session, Value, quoted};

/// The tables' names, quoted.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) tables: [String; 4],
    pub(super) version: String,
    pub(super) position: String,
    pub(super) dead_letter: String,
    /// The cell of the line's number in a row of the order table.
    pub(super) line_number: usize,
}

impl Names {
    pub(super) fn of(config: &Config) -> Self {
        let database = quoted(&config.database);
        let within = |name: &str| format!("{database}.{}", quoted(name));
        let columns = Table::Order.columns();
        Self {
            tables: Table::ALL.map(|table| within(&format!("{}{}", config.table, table.suffix()))),
            version: within(&format!("{}_version", config.table)),
            position: within("pipeline_core_position"),
            dead_letter: within("pipeline_core_dead_letter"),
            line_number: columns.iter().position(|column| column.name == LINE_NUMBER).unwrap_or_default(),
        }
    }
}

const LINE_NUMBER: &str = "lineNumber";

/// What `init_db` found and made.
#[derive(Debug, Default, Serialize)]
pub struct Made {
    pub server: String,
    pub database: String,
    pub created: Vec<String>,
    pub migrated: Option<Migrated>,
    pub statements: Vec<String>,
}

/// A table that was the original program's.
#[derive(Debug, Serialize)]
pub struct Migrated {
    pub from_key: Vec<String>,
    pub rows: u64,
    /// Lines without a number, or with the number of another, that got one below 1.
    pub renumbered: u64,
}

/// Makes what is missing, and brings an order table of the original's shape into ours. Loses no row; may be run again.
///
/// # Errors
/// When the server cannot be reached or refuses, or a table of that name is something else.
pub async fn init_db(config: &Config, stop: &CancellationToken) -> Result<Made> {
    // One, for it has the lock.
    let session = Session { connections: 1, ..super::session(config) };
    let database = Database::connect(Server::MySql(&config.mysql), session, stop).await?;
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
        self.made.database.clone_from(&self.config.database);
        // A cluster may refuse locks by name; tables are made there all the same.
        if let Err(error) = self.database.query(MAKE_ALONE, &[]).await {
            tracing::warn!(%error, "other runs of init-db are not kept out");
        }
        for name in [self.config.database.as_str(), "dws"] {
            self.make_database(name).await?;
        }
        let order = self.config.table.clone();
        if self.columns(&order).await?.is_empty() {
            self.make(&order, &definition(&self.names.tables[0], Table::Order, self.config.raw)).await?;
        } else {
            self.bring_up(&order).await?;
        }
        for table in [Table::Charge, Table::Status, Table::Refund] {
            let definition = definition(&self.names.tables[table as usize], table, false);
            self.make(&format!("{order}{}", table.suffix()), &definition).await?;
        }
        let (names, dialect) = (self.names.clone(), self.database.dialect());
        self.make(&format!("{order}_version"), &version_definition(&names.version)).await?;
        self.make("pipeline_core_position", &PositionTable::definition(dialect, &names.position)).await?;
        self.make("pipeline_core_dead_letter", &Outbox::definition(dialect, &names.dead_letter)).await?;
        self.note_versions().await
    }

    async fn make_database(&mut self, name: &str) -> Result<()> {
        if !is_database(&self.database, name).await? {
            let sql = format!(
                "CREATE DATABASE IF NOT EXISTS {} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
                quoted(name)
            );
            self.say(&sql).await?;
            self.made.created.push(name.to_owned());
        }
        Ok(())
    }

    async fn make(&mut self, name: &str, definition: &str) -> Result<()> {
        if self.columns(name).await?.is_empty() {
            self.say(definition).await?;
            self.made.created.push(format!("{}.{name}", self.config.database));
        }
        Ok(())
    }

    async fn say(&mut self, sql: &str) -> Result<()> {
        self.database.execute(sql).await?;
        tracing::info!(statement = sql, "changed the database");
        self.made.statements.push(sql.to_owned());
        Ok(())
    }

    /// The columns of a table in small letters, and whether each may be null.
    async fn columns(&self, table: &str) -> Result<BTreeMap<String, bool>> {
        let sql = "SELECT column_name, is_nullable FROM information_schema.columns \
                   WHERE table_schema = ? AND table_name = ?";
        let values = [Value::Text(&self.config.database), Value::Text(table)];
        let mut columns = BTreeMap::new();
        for row in self.database.query(sql, &values).await? {
            let name = row.text(0)?.unwrap_or_default().to_lowercase();
            columns.insert(name, row.text(1)?.as_deref() == Some("YES"));
        }
        Ok(columns)
    }

    async fn key(&self, table: &str) -> Result<Vec<String>> {
        let sql = "SELECT column_name FROM information_schema.statistics \
                   WHERE table_schema = ? AND table_name = ? AND index_name = 'PRIMARY' ORDER BY seq_in_index";
        let values = [Value::Text(&self.config.database), Value::Text(table)];
        let rows = self.database.query(sql, &values).await?;
        rows.iter().map(|row| Ok(row.text(0)?.unwrap_or_default())).collect()
    }

    /// An order table that is there already.
    async fn bring_up(&mut self, order: &str) -> Result<()> {
        let found = self.columns(order).await?;
        let wanted = Table::Order.columns().iter().take(CONTRACT + usize::from(self.config.raw));
        let missing: Vec<&Column> = wanted.filter(|column| !found.contains_key(&column.name.to_lowercase())).collect();
        let key = self.key(order).await?;
        let is_key = |names: &[&str]| {
            key.len() == names.len() && key.iter().zip(names).all(|(own, name)| own.eq_ignore_ascii_case(name))
        };
        if missing.iter().any(|column| Table::Order.key().contains(&column.name)) {
            let table = &self.names.tables[0];
            return Err(Error::new(Kind::Conflict, format!("{table} is there and is no table of orders"))
                .hint("Name another table or database, or rename the one that is there."));
        }
        let mut changes: Vec<String> =
            missing.iter().map(|column| format!("ADD COLUMN {} {}", quoted(column.name), sql_type(column))).collect();
        if is_key(Table::Order.key()) {
            return self.alter(&changes).await;
        }
        if !is_key(&["purchaseOrderId", "sku"]) {
            let (table, key) = (&self.names.tables[0], key.join(", "));
            return Err(Error::new(Kind::Conflict, format!("{table} has the primary key ({key})"))
                .hint("Only (purchaseOrderId, sku) and (purchaseOrderId, lineNumber) are known here."));
        }
        let renumbered = self.renumber().await?;
        fault("after_renumber");
        let rows = self.count().await?;
        // One statement: the server does all of it or nothing.
        changes.extend([
            "MODIFY lineNumber INT NOT NULL".to_owned(),
            "DROP PRIMARY KEY".to_owned(),
            "ADD PRIMARY KEY (purchaseOrderId, lineNumber)".to_owned(),
            "MODIFY sku VARCHAR(50) NULL".to_owned(),
            "MODIFY load_time DATETIME NULL DEFAULT CURRENT_TIMESTAMP".to_owned(),
        ]);
        // Old servers made a table's first TIMESTAMP one that changes with its row.
        let times = Table::Order.columns().iter().filter(|column| column.of == Type::Timestamp);
        changes.extend(times.map(|column| format!("MODIFY {} {}", quoted(column.name), sql_type(column))));
        self.alter(&changes).await?;
        fault("after_alter");
        self.made.migrated = Some(Migrated { from_key: key, rows, renumbered });
        Ok(())
    }

    async fn alter(&mut self, changes: &[String]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let sql = format!("ALTER TABLE {} {}", self.names.tables[0], changes.join(", "));
        self.say(&sql).await
    }

    async fn count(&self) -> Result<u64> {
        let rows = self.database.query(&format!("SELECT COUNT(*) FROM {}", self.names.tables[0]), &[]).await?;
        let count = rows.first().map(|row| row.int(0)).transpose()?.flatten().unwrap_or_default();
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Lines without a number, and all but the newest of those with one number, get numbers below 1.
    async fn renumber(&mut self) -> Result<u64> {
        let table = &self.names.tables[0];
        let mut transaction = self.database.begin().await?;
        let sql = format!(
            "SELECT purchaseOrderId, sku, lineNumber FROM {table} WHERE purchaseOrderId IN (\
             SELECT purchaseOrderId FROM (SELECT purchaseOrderId, lineNumber FROM {table} \
             GROUP BY purchaseOrderId, lineNumber HAVING lineNumber IS NULL OR COUNT(*) > 1) AS doubtful) \
             ORDER BY purchaseOrderId, statusDate DESC, request_time DESC, sku FOR UPDATE"
        );
        let mut orders: BTreeMap<i64, Vec<(String, Option<i64>)>> = BTreeMap::new();
        for row in transaction.query(&sql, &[]).await? {
            let line = (row.text(1)?.unwrap_or_default(), row.int(2)?);
            orders.entry(row.int(0)?.unwrap_or_default()).or_default().push(line);
        }
        // A TIMESTAMP that changes with its row keeps what it has when it is set to it.
        let times = Table::Order.columns().iter().filter(|column| column.of == Type::Timestamp);
        let kept: Vec<String> = times.map(|column| format!("{0} = {0}", quoted(column.name))).collect();
        let kept = kept.join(", ");
        let update = format!("UPDATE {table} SET lineNumber = ?, {kept} WHERE purchaseOrderId = ? AND sku = ?");
        let mut renumbered = 0;
        for (id, lines) in &orders {
            for (sku, number) in numbers_below_one(lines) {
                transaction.execute(&update, &[Value::Int(number), Value::Int(*id), Value::Text(sku)]).await?;
                renumbered += 1;
            }
        }
        transaction.commit().await?;
        if renumbered > 0 {
            tracing::warn!(rows = renumbered, "gave lines without a number of their own one below 1");
        }
        Ok(renumbered)
    }

    /// Orders of before get the version that their rows tell, so that no older snapshot replaces them.
    async fn note_versions(&mut self) -> Result<()> {
        let (order, version) = (&self.names.tables[0], &self.names.version);
        let sql = format!(
            "INSERT IGNORE INTO {version} (purchaseOrderId, statusDate, request_time, topic_partition, topic_offset, fingerprint) \
             SELECT o.purchaseOrderId, MAX(o.statusDate), MAX(o.request_time), -1, -1, '' FROM {order} o \
             LEFT JOIN {version} v ON v.purchaseOrderId = o.purchaseOrderId \
             WHERE v.purchaseOrderId IS NULL GROUP BY o.purchaseOrderId"
        );
        self.database.execute(&sql).await.map(drop)
    }
}

/// Whether there is a database of that name.
pub(super) async fn is_database(database: &Database, name: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?";
    Ok(!database.query(sql, &[Value::Text(name)]).await?.is_empty())
}

/// Lines, the newest first, that need a number: those without one, and those whose number a newer line has.
fn numbers_below_one(lines: &[(String, Option<i64>)]) -> Vec<(&str, i64)> {
    let mut taken = std::collections::BTreeSet::new();
    let homeless: Vec<&str> = lines
        .iter()
        .filter(|(_, number)| !number.is_some_and(|number| taken.insert(number)))
        .map(|(sku, _)| sku.as_str())
        .collect();
    let lowest = taken.first().copied().unwrap_or(1).min(1);
    homeless.into_iter().zip((1..).map(|step| lowest - step)).collect()
}

fn definition(name: &str, table: Table, has_raw: bool) -> String {
    let columns = table.columns();
    let count = if table == Table::Order && !has_raw { CONTRACT } else { columns.len() };
    let lines: Vec<String> = columns[..count]
        .iter()
        .map(|column| {
            let of = if table.key().contains(&column.name) {
                format!("{} NOT NULL", plain_type(column.of))
            } else {
                sql_type(column)
            };
            format!("{} {of}", quoted(column.name))
        })
        .collect();
    let key = table.key().join(", ");
    format!(
        "CREATE TABLE IF NOT EXISTS {name} ({}, PRIMARY KEY ({key})) \
         ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
        lines.join(", ")
    )
}

fn sql_type(column: &Column) -> String {
    let default = if column.name == "load_time" { "CURRENT_TIMESTAMP" } else { "NULL" };
    format!("{} NULL DEFAULT {default}", plain_type(column.of))
}

fn plain_type(of: Type) -> String {
    match of {
        Type::BigInt => "BIGINT".to_owned(),
        Type::Int => "INT".to_owned(),
        Type::Varchar(most) => format!("VARCHAR({most})"),
        Type::Text => "TEXT".to_owned(),
        Type::Decimal => "DECIMAL(10,2)".to_owned(),
        Type::Timestamp => "TIMESTAMP".to_owned(),
        Type::DateTime => "DATETIME".to_owned(),
        Type::Json => "JSON".to_owned(),
    }
}

fn version_definition(name: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (\
         purchaseOrderId BIGINT NOT NULL, statusDate BIGINT NULL, request_time DATETIME NULL, \
         topic_partition INT NOT NULL, topic_offset BIGINT NOT NULL, fingerprint BINARY(16) NOT NULL, \
         PRIMARY KEY (purchaseOrderId)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
    )
}
