//! How many rows may be read at once, so that they fit into the memory however wide they are.

use super::catalog::Columns;
use super::config::Config;
use super::transform::{expression, type_name};
use crate::error::Result;
use crate::sql::{Database, Value};

#[derive(Debug, Clone)]
pub(super) struct Width {
    /// Bytes of a batch.
    budget: u64,
    /// Bytes of a row, without the columns that may be of any size.
    bounded: u64,
    /// The size of those, in SQL.
    unbounded: String,
}

impl Width {
    pub(super) fn of(config: &Config, found: &Columns) -> Self {
        let (mut bounded, mut unbounded) = (64, Vec::new());
        for column in &config.mapping.columns {
            let of = found.get(&column.name).map_or("text", String::as_str);
            match most(of) {
                Some(bytes) => bounded += bytes,
                None => unbounded.push(format!("coalesce(octet_length({}), 0)", expression(column, &type_name(of)))),
            }
        }
        // A batch is there as rows and as messages, up to three at a time.
        let budget = (config.memory_limit as u64 / 16).max(64 * 1024);
        Self { budget, bounded, unbounded: unbounded.join(" + ") }
    }

    /// How many of the first rows of `from`, a table called `source`, fit in this order; at least one.
    pub(super) async fn fitting(
        &self,
        database: &Database,
        from: &str,
        order: &str,
        values: &[Value<'_>],
        most: u64,
    ) -> Result<i64> {
        let most = i64::try_from(most.min(self.budget / self.bounded).max(1)).unwrap_or(i64::MAX);
        if self.unbounded.is_empty() {
            return Ok(most);
        }
        let (budget, bounded, unbounded) = (self.budget, self.bounded, &self.unbounded);
        let sql = format!(
            "SELECT count(*) FROM (SELECT sum(size) OVER (ORDER BY {order}) - size AS before FROM (\
             SELECT {order}, {bounded} + {unbounded} AS size FROM {from} ORDER BY {order} LIMIT ?) AS source) AS run \
             WHERE before < {budget}"
        );
        let mut values = values.to_vec();
        values.push(Value::Int(most));
        let count = super::catalog::one(database, &sql, &values).await?.int(0)?;
        Ok(count.unwrap_or(1).max(1))
    }
}

/// The most that a value of the type takes, where it is not much. A character may have four bytes, but seldom has.
fn most(of: &str) -> Option<u64> {
    let length = || of.split(['(', ')']).nth(1)?.split(',').next()?.trim().parse::<u64>().ok();
    match type_name(of).as_str() {
        "smallint"
        | "integer"
        | "bigint"
        | "real"
        | "double precision"
        | "boolean"
        | "date"
        | "uuid"
        | "timestamp"
        | "timestamp without time zone"
        | "timestamp with time zone"
        | "time"
        | "numeric"
        | "oid" => Some(40),
        "character varying" | "character" => length().filter(|length| *length <= 10_000).map(|length| 2 * length),
        other if other.starts_with("timestamp") || other.starts_with("time") => Some(40),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_of_any_size_is_measured() {
        let found = [
            ("emp_id", "integer"),
            ("first_name", "character varying(100)"),
            ("last_name", "character varying"),
            ("dob", "timestamp(3) with time zone"),
            ("city", "bytea"),
            ("salary", "numeric(9,2)"),
        ];
        let found = found.into_iter().map(|(name, of)| (name.to_owned(), of.to_owned())).collect();
        let width = Width::of(&Config { memory_limit: 0, ..Config::default() }, &found);
        assert_eq!((width.bounded, width.budget), (64 + 40 + 200 + 40 + 40, 65_536));
        assert_eq!(
            width.unbounded,
            "coalesce(octet_length(\"last_name\"::text), 0) + \
             coalesce(octet_length(E'\\\\x' || encode(\"city\", 'hex')), 0)"
        );
    }
}
