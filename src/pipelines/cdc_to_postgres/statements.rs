//! The SQL of a replica, made once for a run.

use super::schema::{Names, VERSION};
use crate::decode::change::{Column, Plan};
use crate::sql::Dialect;

#[derive(Debug)]
pub(super) struct Statements {
    /// How a transaction begins: nobody truncates the table while rows are applied, and the other way round.
    pub(super) share: String,
    pub(super) exclude: String,
    /// How it ends: deletes one by one, and none beside the rows that others have written.
    pub(super) share_end: String,
    pub(super) exclude_end: String,
    /// The version of the last TRUNCATE, and how often rows were deleted.
    pub(super) floor: String,
    pub(super) raise_floor: String,
    pub(super) deletions: String,
    pub(super) count_deletion: String,
    pub(super) truncate: String,
    pub(super) truncate_all: String,
    /// Tombstones that the floor makes vain.
    pub(super) clear_tombstones: String,
    pub(super) has_staging: String,
    pub(super) make_staging: String,
    pub(super) stage: String,
    pub(super) merge: String,
    pub(super) upsert: String,
    /// Gives how many were deleted, and how many rows are newer than that.
    pub(super) delete: String,
    /// Rows that were written beside their own deletion.
    pub(super) delete_overtaken: String,
    /// The two for changes that the ledger holds already: what was laid over them since is older, and has a version.
    pub(super) refresh: String,
    pub(super) delete_again: String,
    pub(super) bury: String,
    pub(super) note: String,
    pub(super) note_again: String,
    pub(super) noted: String,
    pub(super) unnote: String,
}

/// The temporary table that rows are copied to.
const STAGING: &str = "pg_temp.pipeline_core_incoming";

impl Statements {
    pub(super) fn of(names: &Names, plan: &Plan) -> Self {
        let words = Words::of(names, plan);
        let Words { table, tombstones, literal, .. } = &words;
        // A constraint that is checked at COMMIT would refuse everything at once.
        let begin = |lock: &str| format!("SET CONSTRAINTS ALL IMMEDIATE; SELECT {lock}(hashtext({literal}), 0)");
        let end = |lock: &str| format!("SELECT {lock}(hashtext({literal}), 1)");
        let deletions =
            format!("SELECT version FROM {tombstones} WHERE table_name = {DELETIONS} || {literal} AND key = ''");
        let plain = words.cells("new");
        let cast: Vec<String> = plain.iter().zip(&plan.columns).map(|(cell, column)| cast(cell, column)).collect();
        let given = words.given("new");
        Self {
            share: begin("pg_advisory_xact_lock_shared"),
            exclude: begin("pg_advisory_xact_lock"),
            share_end: end("pg_advisory_xact_lock_shared"),
            exclude_end: end("pg_advisory_xact_lock"),
            floor: format!(
                "SELECT (SELECT version FROM {tombstones} WHERE table_name = {literal} AND key = ''), ({deletions})"
            ),
            raise_floor: format!(
                "INSERT INTO {tombstones} AS own (table_name, version, key, deleted_at) \
                 VALUES ({literal}, ?::bigint, '', CURRENT_TIMESTAMP) {BURIED}"
            ),
            deletions,
            count_deletion: format!(
                "INSERT INTO {tombstones} AS own (table_name, version, key) VALUES ({DELETIONS} || {literal}, 1, '') \
                 ON CONFLICT (table_name, key) DO UPDATE SET version = own.version + 1"
            ),
            truncate: format!("DELETE FROM {table} WHERE {VERSION} IS NULL OR {VERSION} < ?::bigint"),
            truncate_all: format!("DELETE FROM {table}"),
            clear_tombstones: format!(
                "DELETE FROM {tombstones} WHERE table_name = {literal} AND key <> '' AND version <= ?::bigint"
            ),
            has_staging: format!("SELECT to_regclass('{STAGING}') IS NOT NULL"),
            make_staging: words.staging(),
            stage: format!("COPY {STAGING} FROM STDIN"),
            merge: words.upsert(&plain, &format!("{STAGING} AS new")),
            upsert: words.upsert(&cast, &given),
            delete: words.delete(&format!("(own.{VERSION} IS NULL OR gone.v IS NULL OR own.{VERSION} <= gone.v)")),
            delete_overtaken: words.delete_overtaken(),
            refresh: words.refresh(&cast, &given),
            delete_again: words.delete(&format!("own.{VERSION} < gone.v")),
            bury: format!(
                "INSERT INTO {tombstones} AS own (table_name, version, key, deleted_at) \
                 SELECT {literal}, v, k, CURRENT_TIMESTAMP FROM UNNEST(?::bigint[], ?::text[]) AS gone(v, k) \
                 WHERE v IS NOT NULL {BURIED}"
            ),
            note: words.note("DO NOTHING"),
            note_again: words.note(
                "DO UPDATE SET processed_at = CURRENT_TIMESTAMP, action = EXCLUDED.action, \
                 kafka_offset = EXCLUDED.kafka_offset, kafka_partition = EXCLUDED.kafka_partition",
            ),
            noted: format!("SELECT action_id FROM {} WHERE action_id = ANY(?::bigint[])", words.ledger),
            unnote: format!("DELETE FROM {} WHERE action_id = ANY(?::bigint[])", words.ledger),
        }
    }
}

/// A tombstone keeps the newest version.
const BURIED: &str = "ON CONFLICT (table_name, key) DO UPDATE \
                      SET version = GREATEST(own.version, EXCLUDED.version), deleted_at = EXCLUDED.deleted_at";

/// Before a table's name: the row that counts its deletions stands among the tombstones.
const DELETIONS: &str = "'deletions of '";

/// What the statements are made of.
struct Words<'a> {
    table: &'a str,
    tombstones: &'a str,
    ledger: &'a str,
    /// The table's name among the tombstones.
    literal: String,
    plan: &'a Plan,
    columns: Vec<String>,
}

impl<'a> Words<'a> {
    fn of(names: &'a Names, plan: &'a Plan) -> Self {
        Self {
            table: &names.table,
            tombstones: &names.tombstone,
            ledger: &names.ledger,
            literal: format!("'{}'", names.plain.replace('\'', "''")),
            plan,
            columns: plan.columns.iter().map(|column| Dialect::Postgres.quoted(&column.name)).collect(),
        }
    }

    fn cells(&self, of: &str) -> Vec<String> {
        (0..self.columns.len()).map(|at| format!("{of}.c{at}")).collect()
    }

    /// Version, key and cells of each row as arrays.
    fn given(&self, name: &str) -> String {
        let (marks, cells) = arrays(self.columns.len());
        format!("UNNEST(?::bigint[], ?::text[], {marks}) WITH ORDINALITY AS {name}(v, k, {cells}, n)")
    }

    fn staging(&self) -> String {
        let columns = self.plan.columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.cast));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let name = STAGING.trim_start_matches("pg_temp.");
        format!("CREATE TEMPORARY TABLE {name} (n integer, v bigint, k text, {columns}) ON COMMIT DELETE ROWS")
    }

    fn upsert(&self, values: &[String], from: &str) -> String {
        let Self { table, tombstones, literal, .. } = self;
        let key = self.plan.key.iter().map(|at| self.columns[*at].as_str()).collect::<Vec<_>>().join(", ");
        let changes = self.changes(|at| format!("EXCLUDED.{}", self.columns[at]));
        format!(
            "INSERT INTO {table} AS own ({}, {VERSION}) SELECT {}, new.v FROM {from} \
             WHERE NOT EXISTS (SELECT 1 FROM {tombstones} AS dead WHERE dead.table_name = {literal} \
             AND dead.key = new.k AND dead.version > new.v) ORDER BY new.n \
             ON CONFLICT ({key}) DO UPDATE SET {changes}{VERSION} = COALESCE(EXCLUDED.{VERSION}, own.{VERSION}) \
             WHERE own.{VERSION} IS NULL OR EXCLUDED.{VERSION} IS NULL OR own.{VERSION} <= EXCLUDED.{VERSION}",
            self.columns.join(", "),
            values.join(", ")
        )
    }

    fn refresh(&self, values: &[String], from: &str) -> String {
        let (table, changes) = (self.table, self.changes(|at| values[at].clone()));
        let matches = self.matches("new", &self.plan.key);
        format!(
            "UPDATE {table} AS own SET {changes}{VERSION} = new.v FROM {from} \
             WHERE {matches} AND own.{VERSION} < new.v"
        )
    }

    fn delete(&self, is_older: &str) -> String {
        let (table, count) = (self.table, self.plan.key.len());
        let (marks, cells) = arrays(count);
        let matches = self.matches("gone", &(0..count).collect::<Vec<_>>());
        format!(
            "WITH gone AS MATERIALIZED (SELECT * FROM UNNEST(?::bigint[], {marks}) AS gone(v, {cells})), \
             deleted AS (DELETE FROM {table} AS own USING gone WHERE {matches} AND {is_older} RETURNING 1) \
             SELECT (SELECT count(*) FROM deleted), \
             (SELECT count(*) FROM {table} AS own, gone WHERE {matches} AND own.{VERSION} > gone.v)"
        )
    }

    fn delete_overtaken(&self) -> String {
        let Self { table, tombstones, literal, .. } = self;
        let count = self.plan.key.len();
        let (marks, cells) = arrays(count);
        let matches = self.matches("new", &(0..count).collect::<Vec<_>>());
        format!(
            "DELETE FROM {table} AS own USING UNNEST(?::text[], {marks}) AS new(k, {cells}), {tombstones} AS dead \
             WHERE {matches} AND dead.table_name = {literal} AND dead.key = new.k AND dead.version > own.{VERSION}"
        )
    }

    fn note(&self, conflict: &str) -> String {
        let Self { ledger, plan, .. } = self;
        let first = plan.key.first().copied().unwrap_or_default();
        let (name, key) = (&self.columns[first], cast("new.k", &plan.columns[first]));
        format!(
            "INSERT INTO {ledger} (action_id, {name}, action, kafka_offset, kafka_partition) \
             SELECT new.a, {key}, new.x, new.o, ?::integer \
             FROM UNNEST(?::bigint[], ?::text[], ?::text[], ?::bigint[]) AS new(a, k, x, o) \
             ON CONFLICT (action_id) {conflict}"
        )
    }

    /// `column = value, ` for each column outside the key.
    fn changes(&self, value: impl Fn(usize) -> String) -> String {
        let others = (0..self.columns.len()).filter(|at| !self.plan.key.contains(at));
        others.map(|at| [self.columns[at].as_str(), " = ", &value(at), ", "].concat()).collect()
    }

    /// The table's row has the same key; its cells stand at these places.
    fn matches(&self, other: &str, places: &[usize]) -> String {
        let same = self.plan.key.iter().zip(places).map(|(at, place)| {
            let cell = cast(&format!("{other}.c{place}"), &self.plan.columns[*at]);
            format!("own.{} = {cell}", self.columns[*at])
        });
        same.collect::<Vec<_>>().join(" AND ")
    }
}

fn cast(cell: &str, column: &Column) -> String {
    format!("{cell}::{}", column.cast)
}

/// Placeholders for so many arrays of cells, and what their columns are called.
fn arrays(count: usize) -> (String, String) {
    let cells: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
    (vec!["?::text[]"; count].join(", "), cells.join(", "))
}
