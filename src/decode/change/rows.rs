//! Events and their cells, packed: one text for many.

use std::ops::Range;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Action {
    pub(super) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "INSERT" | "insert" => Self::Insert,
            "UPDATE" | "update" => Self::Update,
            "DELETE" | "delete" => Self::Delete,
            "TRUNCATE" | "truncate" => Self::Truncate,
            _ => return None,
        })
    }

    /// As the contract writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
        }
    }
}

/// A change of one row.
#[derive(Debug, Clone)]
pub struct Event {
    pub offset: i64,
    pub action: Action,
    /// Larger is newer; `None` where only the topic's order says so.
    pub version: Option<i64>,
    /// The change's number, where it is noted in the ledger.
    pub id: Option<i64>,
    pub(super) key: Range<usize>,
    /// Its first cell.
    pub(super) first: usize,
}

/// Events in the order of their messages.
#[derive(Debug, Default)]
pub struct Rows {
    text: String,
    cells: Vec<Option<Range<usize>>>,
    events: Vec<Event>,
}

impl Rows {
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The text of the event's key; empty for a TRUNCATE.
    #[must_use]
    pub fn key(&self, event: &Event) -> &str {
        &self.text[event.key.clone()]
    }

    /// A cell: of an INSERT or UPDATE by its column, of a DELETE by its place in the key.
    #[must_use]
    pub fn cell(&self, event: &Event, column: usize) -> Option<&str> {
        self.cells[event.first + column].clone().map(|range| &self.text[range])
    }

    /// Bytes of keys and cells.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Bytes it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.text.capacity()
            + self.cells.capacity() * size_of::<Option<Range<usize>>>()
            + self.events.capacity() * size_of::<Event>()
    }

    pub(super) fn mark(&self) -> (usize, usize) {
        (self.text.len(), self.cells.len())
    }

    pub(super) fn reset(&mut self, (text, cells): (usize, usize)) {
        self.text.truncate(text);
        self.cells.truncate(cells);
    }

    pub(super) fn begin(&self) -> usize {
        self.text.len()
    }

    pub(super) fn key_since(&self, begun: usize) -> Range<usize> {
        begun..self.text.len()
    }

    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn add_text(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// Makes the text that a cell ends with a JSON string, with `before` in front of it.
    pub(super) fn quote_since(&mut self, cell: Option<Range<usize>>, before: &str) {
        let Some(cell) = cell else { return };
        let text = self.text.split_off(cell.start);
        self.text.push_str(before);
        self.text.push_str(&serde_json::Value::String(text).to_string());
    }

    pub(super) fn push_cell(&mut self, cell: Option<Range<usize>>) {
        self.cells.push(cell);
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push(event);
    }
}
