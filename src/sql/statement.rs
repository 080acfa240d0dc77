//! Statements of many rows.

use std::borrow::Cow;
use std::fmt::Write;

use super::client::Transaction;
use crate::error::Result;

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    MariaDb,
    /// Before 8.0.19, where `VALUES(column)` is the only way.
    OldMySql,
    MySql,
    Postgres,
}

impl Dialect {
    /// By the answer of `MySQL` or `MariaDB` to `SELECT VERSION()`.
    #[must_use]
    pub fn of(version: &str) -> Self {
        if version.to_ascii_lowercase().contains("mariadb") {
            return Self::MariaDb;
        }
        let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).take(3).collect();
        if numbers.as_slice() >= [8, 0, 19].as_slice() { Self::MySql } else { Self::OldMySql }
    }

    /// A name as an identifier.
    #[must_use]
    pub fn quoted(self, name: &str) -> String {
        match self {
            Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MariaDb | Self::OldMySql | Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }
}

/// A value for a placeholder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Hundredths of a DECIMAL.
    Hundredths(i64),
    /// Seconds since 1970-01-01 00:00:00, for a DATETIME or TIMESTAMP.
    Time(i64),
    /// An array, for `PostgreSQL`.
    Texts(&'a [Option<&'a str>]),
    /// The same.
    Ints(&'a [Option<i64>]),
}

/// Hundredths as an amount.
pub(super) fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let whole = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", whole / 100, whole % 100)
}

/// A name as an identifier of `MySQL`.
#[must_use]
pub fn quoted(name: &str) -> String {
    Dialect::MySql.quoted(name)
}

/// The placeholders `?` as `PostgreSQL` has them. Our statements have no other question mark.
pub(super) fn numbered(sql: &str) -> Cow<'_, str> {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default();
    if first.len() == sql.len() {
        return Cow::Borrowed(sql);
    }
    let mut text = String::with_capacity(sql.len() * 2);
    text.push_str(first);
    for (number, part) in parts.enumerate() {
        let _ = write!(text, "${}{part}", number + 1);
    }
    Cow::Owned(text)
}

/// Rows that are inserted, or with `MySQL` replace those of the same key.
#[derive(Debug, Clone)]
pub struct Upsert {
    head: String,
    row: String,
    tail: String,
    /// Rows of a statement.
    most_rows: usize,
}

impl Upsert {
    /// `columns` are bound in their order; `fixed` are columns with an expression of SQL. `key` are those of the primary key.
    #[must_use]
    pub fn new(
        dialect: Dialect,
        table: &str,
        columns: &[&str],
        fixed: &[(&str, &str)],
        key: &[&str],
        most_rows: usize,
    ) -> Self {
        let all: Vec<&str> = columns.iter().copied().chain(fixed.iter().map(|(name, _)| *name)).collect();
        let names: Vec<String> = all.iter().map(|name| quoted(name)).collect();
        let marks = columns.iter().map(|_| "?").chain(fixed.iter().map(|(_, sql)| *sql));
        let row = format!("({})", marks.collect::<Vec<_>>().join(","));
        let changes = all.iter().filter(|name| !key.contains(name)).map(|name| match dialect {
            Dialect::MySql => format!("{0}=incoming.{0}", quoted(name)),
            _ => format!("{0}=VALUES({0})", quoted(name)),
        });
        let changes = changes.collect::<Vec<_>>().join(",");
        let alias = if dialect == Dialect::MySql { " AS incoming" } else { "" };
        Self {
            head: format!("INSERT INTO {table} ({}) VALUES ", names.join(",")),
            row,
            tail: format!("{alias} ON DUPLICATE KEY UPDATE {changes}"),
            most_rows: most_rows.max(1),
        }
    }

    /// A plain INSERT, which fails on a key that is there.
    #[must_use]
    pub fn insert(dialect: Dialect, table: &str, columns: &[&str], most_rows: usize) -> Self {
        let names: Vec<String> = columns.iter().map(|name| dialect.quoted(name)).collect();
        let marks: Vec<&str> = columns.iter().map(|_| "?").collect();
        Self {
            head: format!("INSERT INTO {table} ({}) VALUES ", names.join(",")),
            row: format!("({})", marks.join(",")),
            tail: String::new(),
            most_rows,
        }
    }

    /// Sends rows; `values` gives those of one row, one for each column.
    ///
    /// # Errors
    /// When the server refuses a row.
    pub async fn run<'a, R: Sync>(
        &self,
        transaction: &mut Transaction,
        rows: &'a [R],
        values: impl Fn(&'a R, &mut Vec<Value<'a>>),
    ) -> Result<()> {
        let mut bound = Vec::new();
        for chunk in rows.chunks(self.most_rows) {
            let mut sql = String::with_capacity(self.head.len() + self.tail.len() + chunk.len() * (self.row.len() + 1));
            sql.push_str(&self.head);
            bound.clear();
            for (number, row) in chunk.iter().enumerate() {
                if number > 0 {
                    sql.push(',');
                }
                sql.push_str(&self.row);
                values(row, &mut bound);
            }
            sql.push_str(&self.tail);
            transaction.send(&sql, &bound, chunk.len() == self.most_rows).await?;
        }
        Ok(())
    }
}
