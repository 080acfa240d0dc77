//! Items of the source, a chunk of keys at a time, with all that belongs to them: a few queries, none for a row.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use super::tables::{Cell, Copied, Plan, Sheet, Type};
use super::tally::Tally;
use super::transform::{Item, Row, check_row, is_deleted, item};
use crate::error::{Error, Result};
use crate::sql::{Database, Transaction, Value, quoted};

/// Keys in one statement.
const KEYS: usize = 5000;

pub(super) struct Reader {
    pub(super) database: Database,
    pub(super) plan: Arc<Plan>,
    /// Items of a chunk.
    pub(super) rows: u64,
}

/// Items with neighbouring keys, and what belongs to them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The highest key.
    pub(super) last: String,
    pub(super) items: Vec<Item>,
    /// By their key, for each reference.
    pub(super) references: Vec<HashMap<String, Referred>>,
    /// In the order of the items, for each table of children.
    pub(super) children: Vec<Vec<Row>>,
    /// Keys of children that are there and cannot go over, which the target keeps.
    pub(super) kept: Vec<HashSet<String>>,
    pub(super) tally: Tally,
    pub(super) bytes: u64,
}

/// A row that items refer to.
#[derive(Debug)]
pub(super) enum Referred {
    Deleted,
    There(Row),
}

impl Reader {
    /// How many items there are, and how many have no key.
    ///
    /// # Errors
    /// When the server refuses it.
    pub(super) async fn count(&self) -> Result<(u64, u64)> {
        let key = quoted(&self.plan.task.key);
        let (filter, values) = self.filter();
        let sql = format!("SELECT COUNT(*), COUNT({key}) FROM {}{filter}", self.plan.items.table.full);
        let rows = self.database.query(&sql, &values).await?;
        let row = rows.first().ok_or_else(|| Error::internal("COUNT gave no row"))?;
        let number = |at| row.int(at).map(|count| u64::try_from(count.unwrap_or_default()).unwrap_or_default());
        Ok((number(0)?, number(0)?.saturating_sub(number(1)?)))
    }

    /// ` WHERE …`, and its values.
    fn filter(&self) -> (String, Vec<Value<'_>>) {
        let (mut sql, mut values) = (" WHERE TRUE".to_owned(), Vec::new());
        for (filter, table) in self.plan.task.filters.iter().zip(&self.plan.through) {
            let column = quoted(&filter.column);
            match (&filter.through, table) {
                (Some(through), Some(table)) => {
                    let (key, wanted) = (quoted(&through.key), quoted(&through.column));
                    let _ = write!(sql, " AND {column} IN (SELECT {key} FROM {} WHERE {wanted} = ?)", table.full);
                }
                _ => drop(write!(sql, " AND {column} = ?")),
            }
            values.push(Value::Text(&filter.equals));
        }
        (sql, values)
    }

    /// The items after a key, as they are at one instant; none at the end.
    ///
    /// # Errors
    /// When the server refuses it.
    pub(super) async fn next(&self, after: Option<&str>) -> Result<Option<Chunk>> {
        let mut transaction = self.instant().await?;
        let key = quoted(&self.plan.task.key);
        let column = self.plan.items.column(self.plan.key);
        let (mut filter, mut values) = self.filter();
        if let Some(after) = after {
            let _ = write!(filter, " AND {key} > ?");
            values.push(column.of_text(after));
        } else {
            let _ = write!(filter, " AND {key} IS NOT NULL");
        }
        let table = &self.plan.items.table.full;
        let sql = format!(
            "SELECT CAST(MAX(found) AS CHAR) FROM \
             (SELECT {key} AS found FROM {table}{filter} ORDER BY {key} LIMIT {}) AS keys_found",
            self.rows
        );
        let found = transaction.query(&sql, &values).await?;
        let Some(last) = found.first().map(|row| row.text(0)).transpose()?.flatten() else { return Ok(None) };
        values.push(column.of_text(&last));
        let sql = format!("{}{filter} AND {key} <= ? ORDER BY {key}", self.plan.items.select());
        let rows = rows(&mut transaction, &self.plan.items, &sql, &values).await?;
        let mut chunk = Chunk { last: last.clone(), ..Chunk::default() };
        self.fill(&mut transaction, &mut chunk, rows).await?;
        transaction.roll_back().await?;
        Ok(Some(chunk))
    }

    /// The tables of one instant, however many queries ask.
    async fn instant(&self) -> Result<Transaction> {
        let mut transaction = self.database.begin().await?;
        // A level is set for the next transaction, and outside of one.
        transaction.say("COMMIT").await?;
        transaction.say("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        transaction.say("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
        Ok(transaction)
    }

    async fn fill(&self, transaction: &mut Transaction, chunk: &mut Chunk, mut found: Vec<Row>) -> Result<()> {
        let plan = &*self.plan;
        // Of several with one key, it is always the same that counts.
        found.sort_unstable();
        let name = &plan.target.table.name;
        chunk.bytes += size(&found);
        let mut there: Vec<Row> = Vec::new();
        let mut known = HashSet::new();
        for row in found {
            chunk.tally.table(name).read += 1;
            let Some(key) = row[plan.key].text().map(str::to_owned) else { continue };
            if is_deleted(plan.deleted.map(|place| &row[place])) {
                chunk.tally.table(name).skipped += 1;
            } else if known.insert(key.clone()) {
                there.push(row);
            } else {
                chunk.tally.reject(name, Some(key), "the source has this key twice");
            }
        }
        let keys: Vec<&str> = there.iter().filter_map(|row| row[plan.key].text()).collect();
        let mut beside = Vec::new();
        for side in &plan.beside {
            let order = side.order.as_ref().map(|name| format!(" ORDER BY {}", quoted(name))).unwrap_or_default();
            let rows = by_keys(transaction, &side.sheet, 0, &keys, &order).await?;
            chunk.bytes += size(&rows);
            let mut last = HashMap::new();
            for row in rows.into_iter().filter(|row| !is_deleted(side.deleted.map(|place| &row[place]))) {
                if let Some(key) = row[0].text().map(str::to_owned) {
                    last.insert(key, row);
                }
            }
            beside.push(last);
        }
        let mut going = HashSet::new();
        for row in &there {
            let key = row[plan.key].text().unwrap_or_default();
            let sides: Vec<Option<&Row>> = beside.iter().map(|side| side.get(key)).collect();
            match item(plan, row, &sides) {
                Ok(item) => {
                    going.insert(key);
                    chunk.items.push(item);
                }
                Err(reason) => chunk.tally.reject(name, Some(key.to_owned()), reason),
            }
        }
        for (number, copied) in plan.references.iter().enumerate() {
            let referred: BTreeSet<&str> =
                chunk.items.iter().filter_map(|item| item.refers[number].as_deref()).collect();
            let referred: Vec<&str> = referred.into_iter().collect();
            let rows = by_keys(transaction, &copied.source, copied.key, &referred, "").await?;
            chunk.bytes += size(&rows);
            let known = rows.into_iter().filter_map(|row| {
                let key = row[copied.key].text()?.to_owned();
                let is_gone = is_deleted(copied.deleted.map(|place| &row[place]));
                Some((key, if is_gone { Referred::Deleted } else { Referred::There(copied.cut(row)) }))
            });
            chunk.references.push(known.collect());
        }
        for copied in &plan.children {
            let mut rows = by_keys(transaction, &copied.source, copied.parent.unwrap_or_default(), &keys, "").await?;
            rows.sort_unstable();
            chunk.bytes += size(&rows);
            let (mut children, mut kept) = (Vec::new(), HashSet::new());
            let mut seen = HashSet::new();
            let name = &copied.target.table.name;
            for row in rows {
                chunk.tally.table(name).read += 1;
                let parent = row[copied.parent.unwrap_or_default()].text();
                if is_deleted(copied.deleted.map(|place| &row[place])) || !parent.is_some_and(|key| going.contains(key))
                {
                    chunk.tally.table(name).skipped += 1;
                    continue;
                }
                let key = row[copied.key].text().map(str::to_owned);
                let row = copied.cut(row);
                let fits = match &key {
                    None => Err("the key is no text".to_owned()),
                    Some(key) if !seen.insert(key.clone()) => Err("the source has this key twice".to_owned()),
                    Some(_) => check_row(&copied.target, &row),
                };
                match fits {
                    Ok(()) => children.push(row),
                    Err(reason) => {
                        kept.extend(key.clone());
                        chunk.tally.reject(name, key, reason);
                    }
                }
            }
            chunk.children.push(children);
            chunk.kept.push(kept);
        }
        Ok(())
    }
}

impl Copied {
    /// The row as it goes over.
    fn cut(&self, mut row: Row) -> Row {
        row.truncate(self.target.columns.len());
        row
    }
}

fn size(rows: &[Row]) -> u64 {
    rows.iter().flatten().map(|cell| cell.bytes() as u64).sum()
}

/// The rows of a sheet whose column is one of the keys.
///
/// # Errors
/// When the server refuses it.
pub(super) async fn by_keys(
    transaction: &mut Transaction,
    sheet: &Sheet,
    place: usize,
    keys: &[&str],
    tail: &str,
) -> Result<Vec<Row>> {
    let column = sheet.column(place);
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS) {
        let marks = vec!["?"; keys.len()].join(",");
        let sql = format!("{} WHERE {} IN ({marks}){tail}", sheet.select(), quoted(&column.name));
        let values: Vec<Value<'_>> = keys.iter().map(|key| column.of_text(key)).collect();
        found.extend(rows(transaction, sheet, &sql, &values).await?);
    }
    Ok(found)
}

async fn rows(transaction: &mut Transaction, sheet: &Sheet, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for fetched in transaction.query(sql, values).await? {
        let mut row = Vec::with_capacity(sheet.columns.len());
        for place in 0..sheet.columns.len() {
            row.push(match sheet.column(place).of {
                Type::Bytes => fetched.bytes(place)?.map_or(Cell::Null, Cell::Bytes),
                _ => fetched.text(place)?.map_or(Cell::Null, Cell::Text),
            });
        }
        rows.push(row);
    }
    Ok(rows)
}
