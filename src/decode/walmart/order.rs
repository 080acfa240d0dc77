//! One order to rows, field by field as the plan says.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;

use super::columns::{CHILD_KEY, SOURCE_FILE, Table};
use super::plan::{self, Due, HIDDEN, List, Node, PLAN, Step, cell};
use super::tables::{Cell, OF_ORDER, OF_REFUND};
use super::values::{small, whole};
use super::{Head, Parser};
use crate::decode::pull::{Bad, Key, Outcome, Pull};

struct Cells {
    id: usize,
    line_number: usize,
    status_date: usize,
    request_time: usize,
    source_file: usize,
    raw: usize,
    carrier: usize,
}

static CELLS: LazyLock<Cells> = LazyLock::new(|| Cells {
    id: cell("purchaseOrderId"),
    line_number: cell("lineNumber"),
    status_date: cell("statusDate"),
    request_time: cell("request_time"),
    source_file: cell(SOURCE_FILE),
    raw: cell("raw"),
    carrier: Table::Status.columns().iter().position(|column| column.name == "carrierName").unwrap_or_default(),
});

const NO_NUMBER: &str = "It is missing or no whole number";

impl<'a> Parser<'a> {
    pub(super) fn order(&mut self, pull: &mut Pull<'a>) -> Outcome<Head<'a>> {
        let cells = &*CELLS;
        self.tables.begin(OF_ORDER);
        self.object(pull, &PLAN.order, OF_ORDER, "$")?;
        let shared = self.tables.last(OF_ORDER);
        let Cell::Int(id) = shared[cells.id] else {
            return Err(Bad::new(NO_NUMBER).within(".purchaseOrderId"));
        };
        shared[cells.source_file] = Cell::Text(Cow::Borrowed(&self.rules.source_file));
        let mut head = Head { text: "", id, status_date: None, request_time: None, lines: 0 };
        if let Cell::Time(seconds) = shared[cells.request_time] {
            head.request_time = Some(seconds);
        }
        let first = self.order.of(Table::Order);
        self.tables.share(OF_ORDER, Table::Order, first, &PLAN.shared);
        for number in first..self.tables.rows(Table::Order).len() {
            let row = self.tables.rows_mut(Table::Order).row(number);
            format_times(row, &PLAN.formatted, self.rules.zone);
            if let Cell::Int(date) = row[cells.status_date] {
                head.status_date = head.status_date.max(Some(date));
            }
            head.lines += 1;
            if self.rules.raw {
                let own = std::mem::take(&mut row[cells.raw]);
                row[cells.raw] = raw(&self.unknown, own);
            }
        }
        for table in [Table::Charge, Table::Status, Table::Refund] {
            let rows = self.tables.rows_mut(table);
            for number in self.order.of(table)..rows.len() {
                rows.row(number)[CHILD_KEY[0]] = Cell::Int(id);
            }
        }
        Ok(head)
    }

    /// Reads an object, or null, into the last row of a table.
    fn object(&mut self, pull: &mut Pull<'a>, node: &Node, table: usize, place: &str) -> Outcome<()> {
        if pull.take_null()? {
            return Ok(());
        }
        let (mut next, mut seen, mut is_first) = (0, 0_u32, true);
        pull.begin_object()?;
        loop {
            let likely = node.fields.get(next).map_or("", |(name, _)| *name);
            let at = match pull.next_key(&mut is_first, likely)? {
                None => return Ok(()),
                Some(Key::Likely) => next,
                Some(Key::Named(key)) => {
                    let Some(at) = node.find(&key) else {
                        self.pass(pull, place, &key).map_err(|bad| bad.within(&format!(".{key}")))?;
                        continue;
                    };
                    at
                }
            };
            next = at + 1;
            let is_again = seen & (1 << at) != 0;
            seen |= 1 << at;
            let (key, step) = &node.fields[at];
            self.step(pull, step, table, is_again, place, key).map_err(|bad| bad.within(&format!(".{key}")))?;
        }
    }

    #[inline]
    fn step(
        &mut self,
        pull: &mut Pull<'a>,
        step: &Step,
        table: usize,
        is_again: bool,
        place: &str,
        key: &str,
    ) -> Outcome<()> {
        match step {
            Step::Value(cell, due) => {
                let value = self.value(pull, *due)?;
                self.tables.last(table)[*cell] = value;
                Ok(())
            }
            Step::Object(inner) => {
                if is_again {
                    inner.cells(&mut |cell| self.tables.last(table)[cell] = Cell::Null);
                }
                self.object(pull, inner, table, &self.inner(place, key))
            }
            Step::List(name, list) => self.list(pull, name, *list, &self.inner(place, key)),
        }
    }

    /// The path to a field, where it is needed.
    fn inner(&self, place: &str, key: &str) -> String {
        if self.rules.raw { format!("{place}.{key}") } else { String::new() }
    }

    /// The path to an item of an array, where it is needed.
    fn item(&self, place: &str, name: &str, number: usize) -> String {
        if self.rules.raw { format!("{place}.{name}[{number}]") } else { String::new() }
    }

    /// A field that no column holds.
    fn pass(&mut self, pull: &mut Pull<'a>, place: &str, key: &str) -> Outcome<()> {
        let text = pull.skip()?;
        if self.rules.raw {
            self.unknown.push((format!("{place}.{key}"), text));
        }
        Ok(())
    }

    fn value(&mut self, pull: &mut Pull<'a>, due: Due) -> Outcome<Cell<'a>> {
        Ok(match due {
            Due::Whole => whole(pull)?.map_or(Cell::Null, Cell::Int),
            Due::Small => small(pull)?.map_or(Cell::Null, Cell::Int),
            Due::Amount => self.fit.amount(pull)?.map_or(Cell::Null, Cell::Amount),
            Due::Text(most) => self.fit.text(pull, most)?.map_or(Cell::Null, Cell::Text),
            Due::LongText => self.fit.long_text(pull)?.map_or(Cell::Null, Cell::Text),
            Due::Instant => {
                let text = self.fit.text(pull, usize::MAX)?;
                text.and_then(|text| instant(&text)).map_or(Cell::Null, Cell::Time)
            }
        })
    }

    fn list(&mut self, pull: &mut Pull<'a>, name: &str, list: List, place: &str) -> Outcome<()> {
        each_of(pull, name, |pull, number| {
            let Some(number) = number else {
                self.forget(list);
                return Ok(());
            };
            match list {
                List::Lines => self.line(pull, number),
                List::Charges => {
                    let place = self.item(place, name, number);
                    self.child(pull, Table::Charge, &PLAN.charge, &place)
                }
                List::Statuses => {
                    let place = self.item(place, name, number);
                    self.child(pull, Table::Status, &PLAN.status, &place)?;
                    let zone = self.rules.zone;
                    let row = self.tables.last(Table::Status as usize);
                    let carrier = CELLS.carrier;
                    if matches!(&row[carrier], Cell::Null)
                        || matches!(&row[carrier], Cell::Text(name) if name.is_empty())
                    {
                        row[carrier] = std::mem::take(&mut row[HIDDEN]);
                    }
                    format_times(row, &PLAN.formatted_status, zone);
                    Ok(())
                }
                List::Refunds => self.refund(pull, place),
                List::RefundCharges => {
                    let place = self.item(place, name, number);
                    self.child(pull, Table::Refund, &PLAN.refund_charge, &place)
                }
            }
        })
    }

    /// Drops what was read of an array: where one is there twice, the last counts.
    fn forget(&mut self, list: List) {
        let (table, from) = match list {
            List::Lines => return self.tables.truncate(self.order),
            List::Charges => (Table::Charge, self.line.of(Table::Charge)),
            List::Statuses => (Table::Status, self.line.of(Table::Status)),
            List::Refunds => (Table::Refund, self.line.of(Table::Refund)),
            List::RefundCharges => (Table::Refund, self.refund),
        };
        self.tables.rows_mut(table).truncate(from);
    }

    /// One row of a child table.
    fn child(&mut self, pull: &mut Pull<'a>, table: Table, node: &Node, place: &str) -> Outcome<()> {
        self.add_child(table);
        self.object(pull, node, table as usize, place)
    }

    fn add_child(&mut self, table: Table) {
        let rows = self.tables.rows_mut(table);
        let place_in_line = rows.len() - self.line.of(table) + 1;
        rows.add()[CHILD_KEY[2]] = Cell::Int(i64::try_from(place_in_line).unwrap_or(i64::MAX));
    }

    /// A row for each charge of a refund, or one without a charge.
    fn refund(&mut self, pull: &mut Pull<'a>, place: &str) -> Outcome<()> {
        let first = self.tables.rows(Table::Refund).len();
        self.refund = first;
        self.tables.begin(OF_REFUND);
        self.object(pull, &PLAN.refund, OF_REFUND, place)?;
        if self.tables.rows(Table::Refund).len() == first {
            self.add_child(Table::Refund);
        }
        self.tables.share(OF_REFUND, Table::Refund, first, &PLAN.of_refund);
        Ok(())
    }

    fn line(&mut self, pull: &mut Pull<'a>, number: usize) -> Outcome<()> {
        let cells = &*CELLS;
        self.line = self.tables.marks();
        let unknown = self.unknown.len();
        let place = self.item("$.orderLines", "orderLine", number);
        self.tables.rows_mut(Table::Order).add();
        self.object(pull, &PLAN.line, Table::Order as usize, &place)?;
        let row = self.tables.last(Table::Order as usize);
        let own = row[cells.line_number].clone();
        if own == Cell::Null {
            return Err(Bad::new(NO_NUMBER).within(".lineNumber"));
        }
        let rows = self.tables.rows(Table::Order);
        let others = rows.iter_from(self.order.of(Table::Order));
        if others.filter(|row| row[cells.line_number] == own).count() > 1 {
            return Err(Bad::new("Another line of the order has the same number").within(".lineNumber"));
        }
        for (table, copies) in [(Table::Charge, &PLAN.from_charge), (Table::Status, &PLAN.from_status)] {
            let first = self.line.of(table);
            if first < self.tables.rows(table).len() {
                for (to, from) in copies {
                    let value = self.tables.rows_mut(table).row(first)[*from].clone();
                    self.tables.last(Table::Order as usize)[*to] = value;
                }
            }
        }
        for table in [Table::Charge, Table::Status, Table::Refund] {
            let rows = self.tables.rows_mut(table);
            for number in self.line.of(table)..rows.len() {
                rows.row(number)[CHILD_KEY[1]] = own.clone();
            }
        }
        if self.rules.raw {
            self.tables.last(Table::Order as usize)[cells.raw] = raw(&self.unknown.split_off(unknown), Cell::Null);
        }
        Ok(())
    }
}

/// Calls `item` for each item of an array, first with `None` where an array begins. One item may stand for an array of
/// one, null for none, and an object that holds the array under `name` for the array.
pub(super) fn each_of<'a>(
    pull: &mut Pull<'a>,
    name: &str,
    mut item: impl FnMut(&mut Pull<'a>, Option<usize>) -> Outcome<()>,
) -> Outcome<()> {
    let mut array = |pull: &mut Pull<'a>| {
        item(pull, None)?;
        match pull.peek()? {
            b'[' => pull.array(|pull, number| item(pull, Some(number))),
            _ if pull.take_null()? => Ok(()),
            _ => item(pull, Some(0)),
        }
    };
    match pull.peek()? {
        b'{' if !name.is_empty() => {
            pull.object(|pull, key| if key == name { array(pull) } else { pull.skip().map(drop) })
        }
        _ if name.is_empty() => array(pull),
        b'[' => array(pull),
        _ if pull.take_null()? => Ok(()),
        _ => pull.object(|_, _| Ok(())),
    }
}

/// Instants that `MySQL`'s TIMESTAMP holds, in seconds.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = 1..=i32::MAX as i64;

fn format_times(row: &mut [Cell<'_>], copies: &plan::Copies, zone: Tz) {
    for (to, from) in copies {
        let Cell::Int(milliseconds) = row[*from] else { continue };
        let seconds = milliseconds.div_euclid(1000);
        if milliseconds == 0 || !TIMESTAMPS.contains(&seconds) {
            continue;
        }
        let shown = seconds + i64::from(offset(zone, seconds));
        if TIMESTAMPS.contains(&shown) {
            row[*to] = Cell::Time(shown);
        }
    }
}

fn offset(zone: Tz, seconds: i64) -> i32 {
    if zone == Tz::UTC {
        return 0;
    }
    let moment = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    zone.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc()
}

/// `2026-01-31 23:59:59`, and nothing else.
fn instant(text: &str) -> Option<i64> {
    let bytes: &[u8; 19] = text.as_bytes().try_into().ok()?;
    if (bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]) != (b'-', b'-', b' ', b':', b':') {
        return None;
    }
    let number = |at: usize, digits: usize| {
        bytes[at..at + digits]
            .iter()
            .try_fold(0, |number: u32, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
    };
    let day = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 2)?, number(8, 2)?)?;
    Some(day.and_hms_opt(number(11, 2)?, number(14, 2)?, number(17, 2)?)?.and_utc().timestamp())
}

/// Fields as one JSON object, after those that `before` holds already.
fn raw<'a>(fields: &[(String, &'a str)], before: Cell<'a>) -> Cell<'a> {
    let Cell::Text(own) = before else {
        if fields.is_empty() {
            return Cell::Null;
        }
        let pairs: Vec<String> =
            fields.iter().map(|(path, text)| format!("{}:{text}", serde_json::Value::from(path.as_str()))).collect();
        return Cell::Text(Cow::Owned(format!("{{{}}}", pairs.join(","))));
    };
    match raw(fields, Cell::Null) {
        Cell::Text(shared) => {
            let shared = shared.strip_suffix('}').unwrap_or_default();
            let own = own.strip_prefix('{').unwrap_or_default();
            Cell::Text(Cow::Owned(format!("{shared},{own}")))
        }
        _ => Cell::Text(own),
    }
}
