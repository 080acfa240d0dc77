//! Changes of many rows in a few statements, each below the server's limit of bytes.

use super::tables::{Cell, Sheet};
use super::transform::Row;
use crate::error::Result;
use crate::sql::{Dialect, Transaction, Upsert, Value, quoted};

/// What is to become of a row of the target.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Insert(&'a Row),
    Update(&'a Row),
    Remove(&'a Row),
}

impl<'a> Change<'a> {
    pub(super) fn row(self) -> &'a Row {
        match self {
            Self::Insert(row) | Self::Update(row) | Self::Remove(row) => row,
        }
    }
}

/// Rows of a sheet on their way into its table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statements<'a> {
    pub(super) sheet: &'a Sheet,
    /// Place of the column that tells rows from each other.
    pub(super) key: usize,
    /// Place of the column with the key of the item that they belong to.
    pub(super) parent: Option<usize>,
    pub(super) dialect: Dialect,
    /// Bytes that the server takes at once.
    pub(super) packet: usize,
}

const ROWS_OF_INSERT: usize = 200;
const ROWS_OF_UPDATE: usize = 50;
const ROWS_OF_DELETE: usize = 500;

/// Enough for a statement to be worth its while.
const BYTES: usize = 4 << 20;

/// Of a statement without its values, and of each value.
const TEXT_BYTES: usize = 64 << 10;
const VALUE_BYTES: usize = 16;

impl<'a> Statements<'a> {
    /// # Errors
    /// When the row would not fit even alone.
    pub(super) fn check_size(&self, row: &Row) -> Result<(), String> {
        let (size, most) = (self.size(row), self.packet.saturating_sub(TEXT_BYTES));
        if size <= most {
            Ok(())
        } else {
            Err(format!("the row has {size} bytes, and max_allowed_packet allows {most}"))
        }
    }

    fn size(&self, row: &Row) -> usize {
        // An UPDATE has the key beside each value.
        row.iter().map(|cell| cell.bytes() + row[self.key].bytes() + VALUE_BYTES).sum()
    }

    /// Removes, updates and inserts, in this order.
    pub(super) async fn apply(&self, transaction: &mut Transaction, changes: &[Change<'a>]) -> Result<()> {
        let rows = |wanted: fn(Change<'a>) -> bool| -> Vec<&'a Row> {
            changes.iter().filter(|change| wanted(**change)).map(|change| change.row()).collect()
        };
        for rows in rows(|change| matches!(change, Change::Remove(_))).chunks(ROWS_OF_DELETE) {
            self.remove(transaction, rows).await?;
        }
        for rows in self.portions(&rows(|change| matches!(change, Change::Update(_))), ROWS_OF_UPDATE) {
            self.update(transaction, &rows).await?;
        }
        let names = self.sheet.names();
        let most = ROWS_OF_INSERT.min(60_000 / names.len().max(1)).max(1);
        let insert = Upsert::insert(self.dialect, &self.sheet.table.full, &names, most);
        for rows in self.portions(&rows(|change| matches!(change, Change::Insert(_))), most) {
            insert.run(transaction, &rows, |row, values| self.values(row, values)).await?;
        }
        Ok(())
    }

    fn values<'b>(&self, row: &'b Row, values: &mut Vec<Value<'b>>) {
        values.extend(row.iter().enumerate().map(|(place, cell)| self.sheet.column(place).value(cell)));
    }

    /// Rows that fit into one statement each.
    fn portions(&self, rows: &[&'a Row], most_rows: usize) -> Vec<Vec<&'a Row>> {
        let most = BYTES.min(self.packet.saturating_sub(TEXT_BYTES));
        let (mut portions, mut portion, mut bytes) = (Vec::new(), Vec::new(), 0);
        for row in rows {
            let size = self.size(row);
            if !portion.is_empty() && (portion.len() == most_rows || bytes + size > most) {
                portions.push(std::mem::take(&mut portion));
                bytes = 0;
            }
            portion.push(*row);
            bytes += size;
        }
        if !portion.is_empty() {
            portions.push(portion);
        }
        portions
    }

    /// By CASE: the key need not be unique to the server.
    async fn update(&self, transaction: &mut Transaction, rows: &[&'a Row]) -> Result<()> {
        let key = self.sheet.column(self.key);
        let name = quoted(&key.name);
        let keys: Vec<Value<'a>> = rows.iter().map(|row| key.value(&row[self.key])).collect();
        let cases = " WHEN ? THEN ?".repeat(rows.len());
        let (mut sets, mut values) = (Vec::new(), Vec::new());
        for place in (0..self.sheet.columns.len()).filter(|place| *place != self.key) {
            let column = self.sheet.column(place);
            sets.push(format!("{} = CASE {name}{cases} END", quoted(&column.name)));
            for (row, key) in rows.iter().zip(&keys) {
                values.extend([*key, column.value(&row[place])]);
            }
        }
        if sets.is_empty() {
            return Ok(());
        }
        values.extend(&keys);
        let (table, marks) = (&self.sheet.table.full, vec!["?"; rows.len()].join(","));
        let sql = format!("UPDATE {table} SET {} WHERE {name} IN ({marks})", sets.join(", "));
        transaction.execute(&sql, &values).await.map(drop)
    }

    async fn remove(&self, transaction: &mut Transaction, rows: &[&'a Row]) -> Result<()> {
        let places: Vec<usize> = std::iter::once(self.key).chain(self.parent).collect();
        let names: Vec<String> = places.iter().map(|place| quoted(&self.sheet.column(*place).name)).collect();
        let row_marks = format!("({})", vec!["?"; places.len()].join(","));
        let marks = vec![row_marks.as_str(); rows.len()].join(",");
        let sql = format!("DELETE FROM {} WHERE ({}) IN ({marks})", self.sheet.table.full, names.join(","));
        let cells = rows.iter().flat_map(|row| places.iter().map(|place| (*place, &row[*place])));
        let values: Vec<Value<'a>> =
            cells.map(|(place, cell): (usize, &'a Cell)| self.sheet.column(place).value(cell)).collect();
        transaction.execute(&sql, &values).await.map(drop)
    }
}
