//! One batch of a lane into the tables, in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::schema::Names;
use super::transform::{Snapshot, Version};
use crate::decode::walmart::{CONTRACT, Cell, Parser, Rules, Table};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{Lane, Origin, Refused};
use crate::sql::{Database, Outbox, PositionTable, Transaction, Upsert, Value, until_committed};

/// How orders get into the tables; the same for all lanes.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) database: Database,
    pub(super) names: Names,
    pub(super) positions: PositionTable,
    pub(super) outbox: Outbox,
    pub(super) rules: Rules,
    pub(super) topic: String,
    pub(super) rows_per_statement: usize,
    pub(super) max_retries: u32,
    pub(super) stop: CancellationToken,
}

/// What a batch has changed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Loaded {
    /// Rows of each table.
    pub(super) rows: [u64; 4],
    pub(super) orders: u64,
    pub(super) older: u64,
    pub(super) unchanged: u64,
    pub(super) retries: u64,
}

/// What the tables hold of an order.
#[derive(Debug, Clone, Copy)]
struct Known {
    version: Version,
    fingerprint: [u8; 16],
}

/// Ids in one statement.
const IDS: usize = 500;

impl Loader {
    /// Loads the orders and moves the lane on to `next`. What the database refuses is added to `refused`.
    ///
    /// # Errors
    /// `Fenced` when another process has taken the lane over.
    pub(super) async fn load(
        &self,
        lane: Lane,
        next: i64,
        orders: &[Snapshot],
        refused: &mut Vec<Refused>,
    ) -> Result<Loaded> {
        // Of the last attempt: where the reply to its commit is lost, this is what it has done.
        let written = Mutex::new(Loaded::default());
        let before = &*refused;
        let attempt = || async {
            let mut letters = before.clone();
            self.attempt(lane, next, orders, &mut letters, &written).await?;
            Ok(letters)
        };
        let (letters, retries) = until_committed("Loading orders", self.max_retries, &self.stop, attempt).await?;
        *refused = letters;
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Loaded { retries: u64::from(retries), ..written })
    }

    async fn attempt(
        &self,
        lane: Lane,
        next: i64,
        orders: &[Snapshot],
        refused: &mut Vec<Refused>,
        written: &Mutex<Loaded>,
    ) -> Result<()> {
        fault("before_transaction");
        let mut transaction = self.database.begin().await?;
        // A commit whose reply was lost: all of it is there.
        if self.positions.lock(&mut transaction, lane).await? == Some(next) {
            return Ok(());
        }
        let loaded = match self.write(&mut transaction, lane, orders).await {
            Err(error) if error.kind() == Kind::Rejected => {
                transaction.roll_back().await?;
                transaction = self.database.begin().await?;
                self.positions.lock(&mut transaction, lane).await?;
                self.write_singly(&mut transaction, lane, orders, refused).await?
            }
            other => other?,
        };
        *written.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
        fault("after_rows");
        self.outbox.put(&mut transaction, refused).await?;
        self.positions.advance(&mut transaction, lane, next).await?;
        fault("after_positions");
        fault("before_commit_sql");
        transaction.commit().await?;
        fault("after_commit_sql");
        Ok(())
    }

    /// Halves what the database refuses until only the guilty orders are left; they are refused.
    async fn write_singly(
        &self,
        transaction: &mut Transaction,
        lane: Lane,
        orders: &[Snapshot],
        refused: &mut Vec<Refused>,
    ) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut parts = vec![orders];
        while let Some(part) = parts.pop() {
            transaction.say("SAVEPOINT part").await?;
            match self.write(transaction, lane, part).await {
                Ok(more) => loaded.add(&more),
                Err(error) if error.kind() == Kind::Rejected => {
                    transaction.say("ROLLBACK TO SAVEPOINT part").await?;
                    if let [order] = part {
                        refused.push(self.refuse(order, lane, &error));
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }

    fn refuse(&self, order: &Snapshot, lane: Lane, error: &Error) -> Refused {
        let origin = Origin::Topic { topic: self.topic.clone(), partition: lane, offset: order.version.offset };
        let key = order.key.as_ref().map(|key| key.to_vec());
        let letter = Refused::new(key, Some(order.json.to_vec()), format!("$: {error}"), origin);
        Refused { headers: order.headers.clone(), time: order.time, ..letter }
    }

    /// The rows of these orders.
    pub(super) async fn write(&self, transaction: &mut Transaction, lane: Lane, orders: &[Snapshot]) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let known = self.known(transaction, orders).await?;
        let (mut new, mut newer) = (Vec::new(), Vec::new());
        for order in orders {
            match known.get(&order.id) {
                None => new.push(order),
                Some(known) if known.fingerprint == order.fingerprint => loaded.unchanged += 1,
                Some(known) if known.version >= order.version => loaded.older += 1,
                Some(_) => newer.push(order),
            }
        }
        loaded.orders = (new.len() + newer.len()) as u64;
        let mut parser = Parser::new(&self.rules);
        for order in new.iter().chain(&newer) {
            parser.read(&order.json, |_| {});
        }
        let tables = parser.tables();
        // Lines of a newer snapshot lose the children that it no longer has.
        let is_newer: HashSet<i64> = newer.iter().map(|order| order.id).collect();
        let lines: Vec<[i64; 2]> = tables
            .rows(Table::Order)
            .iter()
            .filter_map(|row| match (&row[0], &row[self.names.line_number]) {
                (Cell::Int(id), Cell::Int(line)) if is_newer.contains(id) => Some([*id, *line]),
                _ => None,
            })
            .collect();
        for table in Table::ALL {
            if table != Table::Order {
                self.drop_children(transaction, table, &lines).await?;
            }
            let rows: Vec<&[Cell<'_>]> = tables.rows(table).iter().collect();
            loaded.rows[table as usize] = rows.len() as u64;
            let columns = self.columns(table);
            let upsert = self.upsert(table, &columns);
            upsert
                .run(transaction, &rows, |row, values| values.extend(columns.iter().map(|(at, _)| value(&row[*at]))))
                .await?;
        }
        self.note_versions(transaction, lane, &new, &newer).await?;
        Ok(loaded)
    }

    /// The versions of orders that the tables hold, locked until the transaction ends.
    async fn known(&self, transaction: &mut Transaction, orders: &[Snapshot]) -> Result<HashMap<i64, Known>> {
        let mut known = HashMap::new();
        for chunk in orders.chunks(IDS) {
            let marks = vec!["?"; chunk.len()].join(",");
            let sql = format!(
                "SELECT purchaseOrderId, statusDate, request_time, topic_offset, fingerprint FROM {} \
                 WHERE purchaseOrderId IN ({marks}) FOR UPDATE",
                self.names.version
            );
            let ids: Vec<Value<'_>> = chunk.iter().map(|order| Value::Int(order.id)).collect();
            for row in transaction.query(&sql, &ids).await? {
                let version =
                    Version { status_date: row.int(1)?, request_time: row.time(2)?, offset: row.int(3)?.unwrap_or(-1) };
                let fingerprint = row.bytes(4)?.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
                known.insert(row.int(0)?.unwrap_or_default(), Known { version, fingerprint });
            }
        }
        Ok(known)
    }

    async fn note_versions<'a>(
        &self,
        transaction: &mut Transaction,
        lane: Lane,
        new: &'a [&'a Snapshot],
        newer: &'a [&'a Snapshot],
    ) -> Result<()> {
        const COLUMNS: [&str; 6] =
            ["purchaseOrderId", "statusDate", "request_time", "topic_partition", "topic_offset", "fingerprint"];
        let table = &self.names.version;
        let values = |order: &&'a Snapshot, values: &mut Vec<Value<'a>>| {
            let version = order.version;
            values.extend([
                Value::Int(order.id),
                version.status_date.map_or(Value::Null, Value::Int),
                version.request_time.map_or(Value::Null, Value::Time),
                Value::Int(i64::from(lane)),
                Value::Int(version.offset),
                Value::Bytes(&order.fingerprint),
            ]);
        };
        // A plain INSERT: an order that another transaction has noted meanwhile is looked at again.
        Upsert::insert(self.database.dialect(), table, &COLUMNS, IDS).run(transaction, new, values).await?;
        let upsert = Upsert::new(self.database.dialect(), table, &COLUMNS, &[], &COLUMNS[..1], IDS);
        upsert.run(transaction, newer, values).await
    }

    async fn drop_children(&self, transaction: &mut Transaction, table: Table, lines: &[[i64; 2]]) -> Result<()> {
        for chunk in lines.chunks(IDS) {
            let marks = vec!["(?,?)"; chunk.len()].join(",");
            let name = &self.names.tables[table as usize];
            let sql = format!("DELETE FROM {name} WHERE (purchaseOrderId, lineNumber) IN ({marks})");
            let values: Vec<Value<'_>> = chunk.iter().flatten().map(|number| Value::Int(*number)).collect();
            transaction.execute(&sql, &values).await?;
        }
        Ok(())
    }

    /// The columns that are bound: number of the cell, and name. `load_time` is the server's.
    fn columns(&self, table: Table) -> Vec<(usize, &'static str)> {
        let columns = table.columns().iter().map(|column| column.name).enumerate();
        columns.filter(|(at, name)| *name != LOAD_TIME && (*at < CONTRACT || self.rules.raw)).collect()
    }

    fn upsert(&self, table: Table, columns: &[(usize, &'static str)]) -> Upsert {
        let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
        let fixed: &[(&str, &str)] = if table == Table::Order { &[(LOAD_TIME, "UTC_TIMESTAMP()")] } else { &[] };
        let name = &self.names.tables[table as usize];
        // As many values as in a statement of the order table: the server takes 65,535.
        let most = self.rows_per_statement * CONTRACT / columns.len();
        let most = if table == Table::Order { self.rows_per_statement } else { most };
        Upsert::new(self.database.dialect(), name, &names, fixed, table.key(), most)
    }
}

const LOAD_TIME: &str = "load_time";

impl Loaded {
    pub(super) fn add(&mut self, more: &Self) {
        for (rows, more) in self.rows.iter_mut().zip(more.rows) {
            *rows += more;
        }
        self.orders += more.orders;
        self.older += more.older;
        self.unchanged += more.unchanged;
        self.retries += more.retries;
    }
}

fn value<'a>(cell: &'a Cell<'_>) -> Value<'a> {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) => Value::Int(*number),
        Cell::Amount(hundredths) => Value::Hundredths(*hundredths),
        Cell::Text(text) => Value::Text(text),
        Cell::Time(seconds) => Value::Time(*seconds),
    }
}
