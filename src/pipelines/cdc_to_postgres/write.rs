//! Sets of rows to statements.

use std::collections::HashSet;

use super::apply::{Applied, Applier};
use super::transform::Truncated;
use crate::decode::change::{Action, Event, Rows};
use crate::error::{Error, Kind, Result};
use crate::flow::Lane;
use crate::sql::{Transaction, Value};

impl Applier {
    /// Deletes and upserts; each key stands there once. Rows are copied once in a transaction: the staging table is
    /// empty at its beginning only.
    pub(super) async fn change(
        &self,
        transaction: &mut Transaction,
        rows: &Rows,
        changes: &[usize],
        known: &HashSet<usize>,
        may_copy: bool,
        applied: &mut Applied,
    ) -> Result<()> {
        let is_delete = |at: &usize| rows.events()[*at].action == Action::Delete;
        let (known, new): (Vec<usize>, Vec<usize>) = changes.iter().copied().partition(|at| known.contains(at));
        let (gone_before, known): (Vec<usize>, Vec<usize>) = known.into_iter().partition(is_delete);
        let (gone, new): (Vec<usize>, Vec<usize>) = new.into_iter().partition(is_delete);
        let events = |places: &[usize]| places.iter().map(|at| &rows.events()[*at]).collect::<Vec<&Event>>();
        let sql = &self.statements;
        if !gone.is_empty() {
            let gone = events(&gone);
            let (deleted, stale) = self.delete(transaction, &sql.delete, rows, &gone).await?;
            self.bury(transaction, rows, &gone).await?;
            applied.deleted += deleted;
            applied.stale += stale;
        }
        if !gone_before.is_empty() {
            let gone = events(&gone_before);
            self.delete(transaction, &sql.delete_again, rows, &gone).await?;
            self.bury(transaction, rows, &gone).await?;
        }
        if !known.is_empty() {
            self.upsert(transaction, &sql.refresh, rows, &events(&known)).await?;
        }
        let new = events(&new);
        if !new.is_empty() {
            let written = if may_copy && new.len() >= self.copy_rows.max(1) {
                self.copy(transaction, rows, &new).await?
            } else {
                self.upsert(transaction, &sql.upsert, rows, &new).await?
            };
            applied.upserted += written;
            applied.stale += new.len() as u64 - written;
        }
        Ok(())
    }

    /// Returns how many rows were deleted, and how many are newer than that.
    async fn delete(
        &self,
        transaction: &mut Transaction,
        sql: &str,
        rows: &Rows,
        gone: &[&Event],
    ) -> Result<(u64, u64)> {
        let versions: Vec<Option<i64>> = gone.iter().map(|event| event.version).collect();
        let cells: Vec<Vec<Option<&str>>> =
            (0..self.plan.key.len()).map(|at| gone.iter().map(|event| rows.cell(event, at)).collect()).collect();
        let mut values = vec![Value::Ints(&versions)];
        values.extend(cells.iter().map(|cells| Value::Texts(cells)));
        let found = transaction.query(sql, &values).await?;
        let count = |at: usize| found.first().map_or(Ok(None), |row| row.int(at)).map(Option::unwrap_or_default);
        Ok((count(0)?.unsigned_abs(), count(1)?.unsigned_abs()))
    }

    async fn bury(&self, transaction: &mut Transaction, rows: &Rows, gone: &[&Event]) -> Result<()> {
        let versions: Vec<Option<i64>> = gone.iter().map(|event| event.version).collect();
        let keys: Vec<Option<&str>> = gone.iter().map(|event| Some(rows.key(event))).collect();
        transaction.execute(&self.statements.bury, &[Value::Ints(&versions), Value::Texts(&keys)]).await.map(drop)
    }

    /// Two transactions side by side do not see each other's rows: where one deletes a row and the other writes an older
    /// version of it, the row would stay. So one that deletes ends alone, and each looks again for what others have
    /// committed meanwhile. `deletions` is how many there were at the beginning. Returns how many rows it deleted.
    pub(super) async fn settle(
        &self,
        transaction: &mut Transaction,
        rows: &Rows,
        applied: &[usize],
        deletions: i64,
    ) -> Result<u64> {
        let sql = &self.statements;
        let events = applied.iter().map(|at| &rows.events()[*at]).filter(|event| event.version.is_some());
        let (gone, new): (Vec<&Event>, Vec<&Event>) = events.partition(|event| event.action == Action::Delete);
        let is_alone = !gone.is_empty();
        transaction.say(if is_alone { &sql.exclude_end } else { &sql.share_end }).await?;
        let mut deleted = 0;
        if is_alone {
            deleted += self.delete(transaction, &sql.delete, rows, &gone).await?.0;
            transaction.execute(&sql.count_deletion, &[]).await?;
        }
        let found = transaction.query(&sql.deletions, &[]).await?;
        let now = found.first().map(|row| row.int(0)).transpose()?.flatten().unwrap_or_default();
        if !new.is_empty() && now != deletions + i64::from(is_alone) {
            let keys: Vec<Option<&str>> = new.iter().map(|event| Some(rows.key(event))).collect();
            let cells: Vec<Vec<Option<&str>>> =
                self.plan.key.iter().map(|at| new.iter().map(|event| rows.cell(event, *at)).collect()).collect();
            let mut values = vec![Value::Texts(&keys)];
            values.extend(cells.iter().map(|cells| Value::Texts(cells)));
            deleted += transaction.execute(&sql.delete_overtaken, &values).await?;
        }
        Ok(deleted)
    }

    async fn upsert(&self, transaction: &mut Transaction, sql: &str, rows: &Rows, new: &[&Event]) -> Result<u64> {
        let versions: Vec<Option<i64>> = new.iter().map(|event| event.version).collect();
        let keys: Vec<Option<&str>> = new.iter().map(|event| Some(rows.key(event))).collect();
        let cells: Vec<Vec<Option<&str>>> =
            (0..self.plan.columns.len()).map(|at| new.iter().map(|event| rows.cell(event, at)).collect()).collect();
        let mut values = vec![Value::Ints(&versions), Value::Texts(&keys)];
        values.extend(cells.iter().map(|cells| Value::Texts(cells)));
        transaction.execute(sql, &values).await
    }

    async fn copy(&self, transaction: &mut Transaction, rows: &Rows, new: &[&Event]) -> Result<u64> {
        let sql = &self.statements;
        let found = transaction.query(&sql.has_staging, &[]).await?;
        if found.first().map(|row| row.bool(0)).transpose()?.flatten() != Some(true) {
            transaction.say(&sql.make_staging).await?;
        }
        let mut text = Vec::with_capacity(new.len() * 64);
        let mut number = itoa::Buffer::new();
        for (place, event) in new.iter().enumerate() {
            text.extend_from_slice(number.format(place).as_bytes());
            text.push(b'\t');
            match event.version {
                Some(version) => text.extend_from_slice(number.format(version).as_bytes()),
                None => text.extend_from_slice(b"\\N"),
            }
            text.push(b'\t');
            escape(rows.key(event), &mut text);
            for column in 0..self.plan.columns.len() {
                text.push(b'\t');
                match rows.cell(event, column) {
                    Some(cell) => escape(cell, &mut text),
                    None => text.extend_from_slice(b"\\N"),
                }
            }
            text.push(b'\n');
        }
        transaction.copy(&sql.stage, &text).await?;
        transaction.execute(&sql.merge, &[]).await
    }

    /// Notes the changes in the ledger. Returns those that stand there already. They make no row again, but where
    /// a change that the ledger does not hold was laid over them, as the original may have lost it, they win again.
    pub(super) async fn note(
        &self,
        transaction: &mut Transaction,
        lane: Lane,
        rows: &Rows,
        live: &[usize],
        largest: i64,
    ) -> Result<HashSet<usize>> {
        let events = rows.events();
        let is_first = |at: &usize| events[*at].version.is_some_and(|version| version <= largest);
        let is_noted = |at: &usize| events[*at].id.is_some_and(|id| id <= largest);
        let (first, again): (Vec<usize>, Vec<usize>) =
            live.iter().copied().filter(is_noted).partition(|at| is_first(at));
        let sql = &self.statements;
        // A source that was made again counts anew: what stands in the ledger is of the one before.
        self.note_all(transaction, &sql.note_again, lane, rows, &again).await?;
        transaction.say("SAVEPOINT ledger").await?;
        if self.note_all(transaction, &sql.note, lane, rows, &first).await? == first.len() as u64 {
            return Ok(HashSet::new());
        }
        transaction.say("ROLLBACK TO SAVEPOINT ledger").await?;
        let ids: Vec<Option<i64>> = first.iter().map(|at| events[*at].id).collect();
        let known = transaction.query(&sql.noted, &[Value::Ints(&ids)]).await?;
        let known = known.iter().map(|row| row.int(0)).collect::<Result<HashSet<_>>>()?;
        let (known, fresh): (Vec<usize>, Vec<usize>) =
            first.into_iter().partition(|at| known.contains(&events[*at].id));
        if self.note_all(transaction, &sql.note, lane, rows, &fresh).await? != fresh.len() as u64 {
            return Err(Error::new(Kind::Aborted, "Another process notes the same changes"));
        }
        Ok(known.into_iter().collect())
    }

    async fn note_all(
        &self,
        transaction: &mut Transaction,
        sql: &str,
        lane: Lane,
        rows: &Rows,
        which: &[usize],
    ) -> Result<u64> {
        if which.is_empty() {
            return Ok(0);
        }
        let events: Vec<&Event> = which.iter().map(|at| &rows.events()[*at]).collect();
        let ids: Vec<Option<i64>> = events.iter().map(|event| event.id).collect();
        let keys: Vec<Option<&str>> = events.iter().map(|event| self.first_of_key(rows, event)).collect();
        let actions: Vec<Option<&str>> = events.iter().map(|event| Some(event.action.name())).collect();
        let offsets: Vec<Option<i64>> = events.iter().map(|event| Some(event.offset)).collect();
        let values = [
            Value::Int(i64::from(lane)),
            Value::Ints(&ids),
            Value::Texts(&keys),
            Value::Texts(&actions),
            Value::Ints(&offsets),
        ];
        transaction.execute(sql, &values).await
    }

    fn first_of_key<'r>(&self, rows: &'r Rows, event: &Event) -> Option<&'r str> {
        match event.action {
            Action::Truncate => None,
            Action::Delete => rows.cell(event, 0),
            Action::Insert | Action::Update => rows.cell(event, *self.plan.key.first()?),
        }
    }

    pub(super) async fn unnote(&self, transaction: &mut Transaction, ids: &[i64]) -> Result<()> {
        if self.ledger.is_none() || ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<Option<i64>> = ids.iter().copied().map(Some).collect();
        transaction.execute(&self.statements.unnote, &[Value::Ints(&ids)]).await.map(drop)
    }

    /// The version of the table's last TRUNCATE, and how often rows were deleted.
    pub(super) async fn floor(&self, transaction: &mut Transaction) -> Result<(i64, i64)> {
        let rows = transaction.query(&self.statements.floor, &[]).await?;
        let value = |at: usize| rows.first().map(|row| row.int(at)).transpose().map(Option::flatten);
        Ok((value(0)?.unwrap_or(-1), value(1)?.unwrap_or_default()))
    }

    pub(super) async fn truncate(&self, transaction: &mut Transaction, truncated: Truncated) -> Result<()> {
        let sql = &self.statements;
        let Truncated::Before(version) = truncated else {
            return transaction.execute(&sql.truncate_all, &[]).await.map(drop);
        };
        transaction.execute(&sql.truncate, &[Value::Int(version)]).await?;
        transaction.execute(&sql.raise_floor, &[Value::Int(version)]).await?;
        transaction.execute(&sql.clear_tombstones, &[Value::Int(version)]).await.map(drop)
    }
}

/// As the text format of COPY has it.
fn escape(text: &str, into: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')) {
        into.extend_from_slice(&rest[..at]);
        into.extend_from_slice(match rest[at] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    into.extend_from_slice(rest);
}
