//! Rows of the four tables, in memory.

use std::borrow::Cow;

use super::columns::Table;
use super::plan::HIDDEN;

/// A value for a column.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Cell<'a> {
    #[default]
    Null,
    Int(i64),
    /// In hundredths.
    Amount(i64),
    Text(Cow<'a, str>),
    /// Seconds since 1970-01-01 00:00:00, both on the clock of the stated zone.
    Time(i64),
}

/// Cells in a row, hidden ones too.
fn width(table: Table) -> usize {
    match table {
        Table::Status => HIDDEN + 1,
        _ => table.columns().len(),
    }
}

#[derive(Debug)]
pub struct Rows<'a> {
    cells: Vec<Cell<'a>>,
    width: usize,
}

impl<'a> Rows<'a> {
    fn new(table: Table) -> Self {
        Self { cells: Vec::new(), width: width(table) }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len() / self.width
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The rows from `first` on, each with a cell for each column, and perhaps more.
    #[must_use]
    pub fn iter_from(&self, first: usize) -> impl ExactSizeIterator<Item = &[Cell<'a>]> {
        self.cells[first * self.width..].chunks_exact(self.width)
    }

    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Cell<'a>]> {
        self.iter_from(0)
    }

    /// A new row of nulls at the end.
    pub(super) fn add(&mut self) -> &mut [Cell<'a>] {
        let start = self.cells.len();
        self.cells.resize(start + self.width, Cell::Null);
        &mut self.cells[start..]
    }

    pub(super) fn row(&mut self, number: usize) -> &mut [Cell<'a>] {
        &mut self.cells[number * self.width..(number + 1) * self.width]
    }

    fn last(&mut self) -> &mut [Cell<'a>] {
        let start = self.cells.len() - self.width;
        &mut self.cells[start..]
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.cells.truncate(rows * self.width);
    }
}

/// What orders become.
#[derive(Debug)]
pub struct Tables<'a>([Rows<'a>; 6]);

/// A row for what all lines of an order share, beside the tables.
pub(super) const OF_ORDER: usize = 4;

/// A row for what all charges of a refund share, beside the tables.
pub(super) const OF_REFUND: usize = 5;

impl Default for Tables<'_> {
    fn default() -> Self {
        let [order, charge, status, refund] = Table::ALL.map(Rows::new);
        Self([order, charge, status, refund, Rows::new(Table::Order), Rows::new(Table::Refund)])
    }
}

/// How many rows each table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks([usize; 4]);

impl Marks {
    #[must_use]
    pub fn of(&self, table: Table) -> usize {
        self.0[table as usize]
    }
}

impl<'a> Tables<'a> {
    #[must_use]
    pub fn rows(&self, table: Table) -> &Rows<'a> {
        &self.0[table as usize]
    }

    pub(super) fn rows_mut(&mut self, table: Table) -> &mut Rows<'a> {
        &mut self.0[table as usize]
    }

    /// The last row of a table, or the one beside the tables.
    #[inline]
    pub(super) fn last(&mut self, table: usize) -> &mut [Cell<'a>] {
        self.0[table].last()
    }

    /// An empty row beside the tables.
    pub(super) fn begin(&mut self, beside: usize) {
        self.0[beside].truncate(0);
        self.0[beside].add();
    }

    /// Copies cells of a row beside the tables into the rows of a table from `first` on.
    pub(super) fn share(&mut self, beside: usize, table: Table, first: usize, cells: &[usize]) {
        let (tables, others) = self.0.split_at_mut(OF_ORDER);
        let (shared, rows) = (others[beside - OF_ORDER].last(), &mut tables[table as usize]);
        for number in first..rows.len() {
            let row = rows.row(number);
            for cell in cells {
                row[*cell] = shared[*cell].clone();
            }
        }
    }

    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks(std::array::from_fn(|table| self.0[table].len()))
    }

    /// Drops the rows that came after.
    pub(super) fn truncate(&mut self, to: Marks) {
        for (rows, length) in self.0.iter_mut().zip(to.0) {
            rows.truncate(length);
        }
    }
}
