//! Orders of the Walmart Marketplace API to rows of `walmart_order` and its children: one row a line, and one a charge,
//! a status and a refund of it. Nothing is guessed and nothing is dropped: what does not fit is refused with its path.

mod batch;
mod columns;
mod order;
mod plan;
mod tables;
mod values;

use chrono_tz::Tz;

pub use batch::BatchBuilder;
pub use columns::{CONTRACT, Column, Table, Type};
pub use tables::{Cell, Marks, Rows, Tables};

use crate::decode::pull::{Bad, Outcome, Pull};
use order::each_of;
use values::Fit;

/// How orders are read.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Cut text and round amounts that do not fit their column, instead of refusing the order.
    pub truncate: bool,
    /// Keep fields that no column holds in the column `raw`.
    pub raw: bool,
    /// The clock of the `*_formatted` columns.
    pub zone: Tz,
    pub source_file: String,
}

impl Default for Rules {
    fn default() -> Self {
        Self { truncate: false, raw: false, zone: Tz::UTC, source_file: "kafka_stream".to_owned() }
    }
}

/// An order that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub text: &'a str,
    pub id: i64,
    /// The newest of its lines, in milliseconds.
    pub status_date: Option<i64>,
    /// In seconds, as `Cell::Time`.
    pub request_time: Option<i64>,
    pub lines: usize,
}

/// An order, or a whole document, that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused<'a> {
    /// `JSONPath` in the order.
    pub path: String,
    pub reason: String,
    pub text: &'a [u8],
}

/// Reads documents into tables.
#[derive(Debug)]
pub struct Parser<'a> {
    rules: &'a Rules,
    fit: Fit,
    tables: Tables<'a>,
    unknown: Vec<(String, &'a str)>,
    /// Where the rows of the line that is being read begin.
    line: Marks,
    /// Where the rows of the order that is being read begin.
    order: Marks,
    /// Where the rows of the refund that is being read begin.
    refund: usize,
}

impl<'a> Parser<'a> {
    #[must_use]
    pub fn new(rules: &'a Rules) -> Self {
        let fit = Fit { truncate: rules.truncate, cut: 0 };
        let tables = Tables::default();
        let (line, order) = (Marks::default(), Marks::default());
        Self { rules, fit, tables, unknown: Vec::new(), line, order, refund: 0 }
    }

    /// What has been read so far.
    #[must_use]
    pub fn tables(&self) -> &Tables<'a> {
        &self.tables
    }

    /// Values that were cut or rounded so far.
    #[must_use]
    pub fn values_cut(&self) -> u64 {
        self.fit.cut
    }

    /// Drops all rows.
    pub fn clear(&mut self) {
        self.tables.truncate(Marks::default());
    }

    /// Reads one order, an array of them, or a page of the API; tells of each order. What is refused leaves no rows.
    pub fn read(&mut self, document: &'a [u8], mut each: impl FnMut(Result<Head<'a>, Refused<'a>>)) {
        let start = self.tables.marks();
        let mut told = Vec::new();
        if let Err(bad) = Pull::new(document).and_then(|mut pull| self.document(&mut pull, &mut told)) {
            self.tables.truncate(start);
            let refused = Refused { path: bad.path(), reason: bad.reason, text: document };
            return each(Err(refused));
        }
        for outcome in told {
            each(outcome);
        }
    }

    fn document(&mut self, pull: &mut Pull<'a>, told: &mut Vec<Result<Head<'a>, Refused<'a>>>) -> Outcome<()> {
        match pull.peek()? {
            b'[' => pull.array(|pull, _| self.tell(pull, told))?,
            _ if is_page(pull) => pull.object(|pull, key| match key {
                "list" => self.page(pull, told),
                _ => pull.skip().map(drop),
            })?,
            _ => self.tell(pull, told)?,
        }
        pull.end()
    }

    fn page(&mut self, pull: &mut Pull<'a>, told: &mut Vec<Result<Head<'a>, Refused<'a>>>) -> Outcome<()> {
        pull.object(|pull, key| match key {
            "elements" => each_of(pull, "order", |pull, number| match number {
                Some(_) => self.tell(pull, told),
                None => Ok(()),
            }),
            _ => pull.skip().map(drop),
        })
    }

    /// One order; an `Err` when the rest of the document cannot be read either.
    fn tell(&mut self, pull: &mut Pull<'a>, told: &mut Vec<Result<Head<'a>, Refused<'a>>>) -> Outcome<()> {
        pull.peek()?;
        let (start, cut) = (pull.position(), self.fit.cut);
        self.order = self.tables.marks();
        self.unknown.clear();
        match self.order(pull) {
            Ok(head) => told.push(Ok(Head { text: pull.since(start), ..head })),
            Err(bad) => {
                self.tables.truncate(self.order);
                self.fit.cut = cut;
                pull.rewind(start);
                let text = pull.skip()?.as_bytes();
                told.push(Err(Refused { path: bad.path(), reason: bad.reason, text }));
            }
        }
        Ok(())
    }
}

/// Whether an object is a page of the API and not an order.
fn is_page(pull: &Pull<'_>) -> bool {
    let (mut pull, mut is_page) = (pull.clone(), false);
    // The first field tells: an order never has a `list`, and a page never another field.
    let _ = pull.object(|_, key| {
        is_page = key == "list";
        Err(Bad::new(""))
    });
    is_page
}
