//! The tables of the source and the triggers that put the changes down. What exists is kept as it is.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::catalog::{
    Columns, check_changes, check_columns, check_server, columns, missing, one, table_name, table_oid,
};
use super::config::Config;
use super::transform::type_name;
use crate::config::MappedColumn;
use crate::error::Result;
use crate::sql::{DEFINE_ALONE, Database, Dialect, Server, Session, Transaction, Value};

/// What `init_db` found and made.
#[derive(Debug, Default, Serialize)]
pub struct Made {
    pub server: String,
    pub database: String,
    pub created: Vec<String>,
    /// Nothing is ever migrated.
    pub migrated: Option<()>,
    pub statements: Vec<String>,
}

/// Makes what is missing, all of it or nothing; may be run again.
///
/// # Errors
/// When the server cannot be reached or refuses, or a table of that name has other columns.
pub async fn init_db(config: &Config, stop: &CancellationToken) -> Result<Made> {
    super::check_settings(config)?;
    super::Writer::new(&config.mapping)?;
    let session = Session { statement_timeout: None, ..super::session() };
    let database = Database::connect(Server::Postgres(&config.source), session, stop).await?;
    let outcome = make_all(&database, config).await;
    database.close().await;
    outcome
}

async fn make_all(database: &Database, config: &Config) -> Result<Made> {
    check_server(database).await?;
    let row = one(database, "SELECT current_database()::text", &[]).await?;
    let made = Made { server: database.server(), database: row.text(0)?.unwrap_or_default(), ..Made::default() };
    let mut making = Making { config, transaction: database.begin().await?, made };
    making.transaction.say(DEFINE_ALONE).await?;
    making.tables().await?;
    making.triggers().await?;
    making.transaction.commit().await?;
    for sql in &making.made.statements {
        tracing::info!(statement = sql, "changed the database");
    }
    Ok(making.made)
}

struct Making<'a> {
    config: &'a Config,
    transaction: Transaction,
    made: Made,
}

/// A trigger and what it calls: the end of its name, when it fires, and what it does.
struct Trigger {
    name: &'static str,
    when: String,
    body: String,
}

impl Making<'_> {
    /// A trigger that names a column which is not there would stop the writers of a table that is.
    async fn tables(&mut self) -> Result<()> {
        let (table, changes) = (self.found(&self.config.snapshot_table).await?, self.found(&self.config.table).await?);
        match table {
            Some(found) => {
                let mapping = &self.config.mapping;
                let names = mapping.columns.iter().map(|column| &column.name);
                check_columns(&self.config.snapshot_table, &found, names.chain(&mapping.key))?;
            }
            None => self.make(&self.config.snapshot_table, &table_definition(self.config)).await?,
        }
        match changes {
            Some(found) => check_changes(self.config, &found),
            None => self.make(&self.config.table, &changes_definition(self.config)).await,
        }
    }

    async fn found(&mut self, table: &str) -> Result<Option<Columns>> {
        match table_oid(&mut self.transaction, table).await? {
            Some(oid) => columns(&mut self.transaction, oid).await.map(Some),
            None => Ok(None),
        }
    }

    /// A table, and its schema where that is missing, too.
    async fn make(&mut self, name: &str, sql: &str) -> Result<()> {
        if let Some((schema, _)) = name.split_once('.')
            && self.count("SELECT count(*) FROM pg_namespace WHERE nspname = ?", &[Value::Text(schema)]).await? == 0
        {
            let quoted = Dialect::Postgres.quoted(schema);
            self.say(schema, &format!("CREATE SCHEMA IF NOT EXISTS {quoted}")).await?;
        }
        self.say(name, sql).await
    }

    async fn say(&mut self, name: &str, sql: &str) -> Result<()> {
        self.transaction.say(sql).await?;
        self.made.created.push(name.to_owned());
        self.made.statements.push(sql.to_owned());
        Ok(())
    }

    async fn triggers(&mut self) -> Result<()> {
        let (schema, table) = self.resolved(&self.config.snapshot_table).await?;
        let (_, changes) = self.resolved(&self.config.table).await?;
        let prefix = prefix(&self.config.snapshot_table);
        for Trigger { name, when, body } in triggers(self.config, &table, &changes) {
            let (trigger, plain) = (format!("{prefix}_{name}_trigger"), format!("log_{prefix}_{name}"));
            let sql = "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass(?) AND tgname = ?";
            if self.count(sql, &[Value::Text(&table), Value::Text(&trigger)]).await? > 0 {
                continue;
            }
            let function = format!("{schema}.{}", Dialect::Postgres.quoted(&plain));
            let sql = "SELECT count(*) FROM pg_proc WHERE oid = to_regprocedure(?)";
            if self.count(sql, &[Value::Text(&format!("{function}()"))]).await? == 0 {
                let sql = format!(
                    "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $pipeline_core$ BEGIN {body} RETURN NULL; END $pipeline_core$"
                );
                self.say(&plain, &sql).await?;
            }
            let quoted = Dialect::Postgres.quoted(&trigger);
            let each = if name == "truncate" { "STATEMENT" } else { "ROW" };
            let (event, condition) = when.split_once(' ').unwrap_or((&when, ""));
            let sql = format!(
                "CREATE TRIGGER {quoted} AFTER {event} ON {table} FOR EACH {each} {condition}EXECUTE PROCEDURE {function}()"
            );
            self.say(&trigger, &sql).await?;
        }
        Ok(())
    }

    async fn count(&mut self, sql: &str, values: &[Value<'_>]) -> Result<i64> {
        let rows = self.transaction.query(sql, values).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()?.flatten().unwrap_or_default())
    }

    /// The table's schema, and its name with it: a trigger runs with the search path of whoever writes.
    async fn resolved(&mut self, name: &str) -> Result<(String, String)> {
        let sql = "SELECT quote_ident(n.nspname), quote_ident(c.relname) FROM pg_class c \
                   JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(?)";
        let rows = self.transaction.query(sql, &[Value::Text(&table_name(name))]).await?;
        let row = rows.first().ok_or_else(|| missing(name))?;
        let (schema, table) = (row.text(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default());
        let full = format!("{schema}.{table}");
        Ok((schema, full))
    }
}

/// What the names of triggers begin with. The original's table is `employees`, its triggers are an `employee`'s.
fn prefix(table: &str) -> &str {
    match table.rsplit('.').next().unwrap_or(table) {
        "employees" => "employee",
        other => other,
    }
}

fn triggers(config: &Config, table: &str, changes: &str) -> [Trigger; 5] {
    let mapping = &config.mapping;
    let quoted = |name: &String| Dialect::Postgres.quoted(name);
    let names: Vec<String> = mapping.columns.iter().map(|column| quoted(&column.name)).collect();
    let action = quoted(&mapping.action_column);
    let log = |row: &str, what: &str| {
        let values: Vec<String> = names.iter().map(|name| format!("{row}.{name}")).collect();
        format!("INSERT INTO {changes} ({}, {action}) VALUES ({}, '{what}');", names.join(", "), values.join(", "))
    };
    let join = |with: &str, part: &dyn Fn(&String) -> String| {
        mapping.key.iter().map(|name| part(&quoted(name))).collect::<Vec<_>>().join(with)
    };
    let changed = join(" OR ", &|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}"));
    let same = join(" AND ", &|name| format!("taken.{name} = OLD.{name}"));
    let trigger = |name, when: &str, body| Trigger { name, when: when.to_owned(), body };
    [
        trigger("insert", "INSERT ", log("NEW", "INSERT")),
        // Before `update`, by the alphabet. A key that another row has by now is not gone.
        trigger(
            "key",
            &format!("UPDATE WHEN ({changed}) "),
            format!(
                "IF NOT EXISTS (SELECT 1 FROM {table} AS taken WHERE {same}) THEN {} END IF;",
                log("OLD", "DELETE")
            ),
        ),
        trigger("update", "UPDATE ", log("NEW", "UPDATE")),
        trigger("delete", "DELETE ", log("OLD", "DELETE")),
        trigger("truncate", "TRUNCATE ", format!("INSERT INTO {changes} ({action}) VALUES ('TRUNCATE');")),
    ]
}

fn table_definition(config: &Config) -> String {
    let key = &config.mapping.key;
    let column = |column: &MappedColumn| {
        let of = match (key.as_slice(), type_name(&column.of).as_str()) {
            ([only], "integer") if *only == column.name => "SERIAL".to_owned(),
            ([only], "bigint") if *only == column.name => "BIGSERIAL".to_owned(),
            _ => column.of.clone(),
        };
        let null = if column.required || key.contains(&column.name) { " NOT NULL" } else { "" };
        format!("{} {of}{null}", Dialect::Postgres.quoted(&column.name))
    };
    let columns: Vec<String> = config.mapping.columns.iter().map(column).collect();
    let key: Vec<String> = key.iter().map(|name| Dialect::Postgres.quoted(name)).collect();
    let name = table_name(&config.snapshot_table);
    format!("CREATE TABLE IF NOT EXISTS {name} ({}, PRIMARY KEY ({}))", columns.join(", "), key.join(", "))
}

fn changes_definition(config: &Config) -> String {
    let mapping = &config.mapping;
    let quoted = |name: &str| Dialect::Postgres.quoted(name);
    let mut lines = vec![format!("{} SERIAL PRIMARY KEY", quoted(&mapping.id_column))];
    lines.extend(mapping.columns.iter().map(|column| format!("{} {}", quoted(&column.name), column.of)));
    lines.push(format!("{} VARCHAR(10)", quoted(&mapping.action_column)));
    if mapping.columns.iter().all(|column| column.name != "timestamp") {
        lines.push("\"timestamp\" TIMESTAMP DEFAULT CURRENT_TIMESTAMP".to_owned());
    }
    format!("CREATE TABLE IF NOT EXISTS {} ({})", table_name(&config.table), lines.join(", "))
}
