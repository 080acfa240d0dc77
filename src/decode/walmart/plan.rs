//! Where each field of an order's JSON goes, worked out once from the tables' columns.

use std::sync::LazyLock;

use super::columns::{CARRIER, Column, OTHER_CARRIER, SOURCE_FILE, Table, Type};

/// What a column wants of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// A BIGINT.
    Whole,
    /// An INT.
    Small,
    Amount,
    /// So many characters.
    Text(usize),
    /// As many bytes as a TEXT column has.
    LongText,
    /// `2026-01-31 23:59:59`
    Instant,
}

/// Arrays of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Lines,
    Charges,
    Statuses,
    Refunds,
    RefundCharges,
}

#[derive(Debug)]
pub(super) enum Step {
    /// A value for the cell of this number.
    Value(usize, Due),
    Object(Node),
    /// An object that holds an array under this name; an empty name: the array itself.
    List(&'static str, List),
}

/// The fields of an object that are read.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) fields: Vec<(&'static str, Step)>,
}

impl Node {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|(known, _)| *known == name)
    }

    fn add(&mut self, path: &'static str, cell: usize, of: Type) {
        let Some((name, rest)) = path.split_once('.') else {
            self.fields.push((path, Step::Value(cell, due(of))));
            return;
        };
        let at = self.find(name).unwrap_or_else(|| {
            self.fields.push((name, Step::Object(Self::default())));
            self.fields.len() - 1
        });
        if let Step::Object(inner) = &mut self.fields[at].1 {
            inner.add(rest, cell, of);
        }
    }

    /// Calls `cell` with each cell that a value below goes to.
    pub(super) fn cells(&self, cell: &mut impl FnMut(usize)) {
        for (_, step) in &self.fields {
            match step {
                Step::Value(at, _) => cell(*at),
                Step::Object(inner) => inner.cells(cell),
                Step::List(..) => {}
            }
        }
    }
}

fn due(of: Type) -> Due {
    match of {
        Type::BigInt => Due::Whole,
        Type::Int => Due::Small,
        Type::Decimal => Due::Amount,
        Type::Varchar(most) => Due::Text(most),
        Type::Text | Type::Json => Due::LongText,
        Type::Timestamp | Type::DateTime => Due::Instant,
    }
}

/// A cell that is filled from another: to, from.
pub(super) type Copies = Vec<(usize, usize)>;

pub(super) struct Plan {
    pub(super) order: Node,
    pub(super) line: Node,
    pub(super) charge: Node,
    pub(super) status: Node,
    /// What the charges of a refund share.
    pub(super) refund: Node,
    pub(super) refund_charge: Node,
    /// Cells of the order table that the whole order shares.
    pub(super) shared: Vec<usize>,
    pub(super) from_charge: Copies,
    pub(super) from_status: Copies,
    /// `*_formatted` of the order table, and the instant it is made of.
    pub(super) formatted: Copies,
    pub(super) formatted_status: Copies,
    /// Cells of a refund that its charges share.
    pub(super) of_refund: Vec<usize>,
}

/// The cell of a status that has no column: the other carrier.
pub(super) const HIDDEN: usize = 15;

pub(super) static PLAN: LazyLock<Plan> = LazyLock::new(plan);

fn plan() -> Plan {
    let mut order = Node::default();
    let mut line = Node::default();
    let (mut from_charge, mut from_status, mut shared) = (Copies::new(), Copies::new(), Vec::new());
    let columns = Table::Order.columns();
    for (cell, column) in columns.iter().enumerate().filter(|(_, column)| !column.path.is_empty()) {
        if let Some(path) = column.path.strip_prefix("charge.") {
            from_charge.push((cell, place(Table::Charge.columns(), path, column.of)));
        } else if let Some(path) = column.path.strip_prefix("status.") {
            from_status.push((cell, place(Table::Status.columns(), path, column.of)));
        } else if column.of == Type::Timestamp {
        } else if let Some(path) = column.path.strip_prefix("line.") {
            line.add(path, cell, column.of);
        } else {
            order.add(column.path, cell, column.of);
            shared.push(cell);
        }
    }
    shared.push(cell(SOURCE_FILE));
    order.fields.push(("orderLines", Step::List("orderLine", List::Lines)));
    line.fields.push(("charges", Step::List("charge", List::Charges)));
    line.fields.push(("orderLineStatuses", Step::List("orderLineStatus", List::Statuses)));
    line.fields.push(("refund", Step::List("", List::Refunds)));
    let (mut refund, mut refund_charge, mut of_refund) = (Node::default(), Node::default(), Vec::new());
    for (cell, column) in Table::Refund.columns().iter().enumerate().filter(|(_, column)| !column.path.is_empty()) {
        if let Some(path) = column.path.strip_prefix("refund.") {
            refund.add(path, cell, column.of);
            of_refund.push(cell);
        } else {
            refund_charge.add(column.path, cell, column.of);
        }
    }
    refund.fields.push(("refundCharges", Step::List("refundCharge", List::RefundCharges)));
    let mut status = child(Table::Status.columns());
    let carrier = place(Table::Status.columns(), CARRIER, Type::Varchar(100));
    status.add(OTHER_CARRIER, HIDDEN, Table::Status.columns()[carrier].of);
    Plan {
        order,
        line,
        charge: child(Table::Charge.columns()),
        status,
        refund,
        refund_charge,
        shared,
        from_charge,
        from_status,
        formatted: formatted(columns),
        formatted_status: formatted(Table::Status.columns()),
        of_refund,
    }
}

fn child(columns: &'static [Column]) -> Node {
    let mut node = Node::default();
    for (cell, column) in columns.iter().enumerate() {
        if !column.path.is_empty() && column.of != Type::Timestamp {
            node.add(column.path, cell, column.of);
        }
    }
    node
}

fn formatted(columns: &'static [Column]) -> Copies {
    let wanted = columns.iter().enumerate().filter(|(_, column)| column.of == Type::Timestamp);
    let own = wanted.filter(|(_, column)| !column.path.starts_with("status."));
    own.map(|(cell, column)| (cell, place(columns, column.path, Type::BigInt))).collect()
}

/// The column with that path and type; the tables are written so that there is one.
fn place(columns: &[Column], path: &str, of: Type) -> usize {
    let found = columns.iter().position(|column| column.path == path && column.of == of);
    found.unwrap_or_else(|| unreachable!("no column for {path}"))
}

/// The cell of a column of the order table.
pub(super) fn cell(name: &str) -> usize {
    let found = Table::Order.columns().iter().position(|column| column.name == name);
    found.unwrap_or_else(|| unreachable!("no column {name}"))
}
