//! What has become of rows, table by table, for the report.

use std::collections::BTreeMap;

use serde::Serialize;

/// So many refused rows are named.
const NAMED: usize = 20;

/// The rows of one table of the target.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) unchanged: u64,
    /// Deleted in the source, or left out with the item they belong to.
    pub(super) skipped: u64,
    /// Gone from the source since, and from the target now.
    pub(super) removed: u64,
    pub(super) rejected: u64,
}

/// A row that the target does not take.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Turned {
    pub(super) table: String,
    pub(super) key: Option<String>,
    pub(super) reason: String,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) tables: BTreeMap<String, Counts>,
    /// The first of them.
    pub(super) rejected: Vec<Turned>,
    pub(super) bytes_written: u64,
}

impl Tally {
    pub(super) fn table(&mut self, name: &str) -> &mut Counts {
        if !self.tables.contains_key(name) {
            self.tables.insert(name.to_owned(), Counts::default());
        }
        self.tables.entry(name.to_owned()).or_default()
    }

    pub(super) fn reject(&mut self, table: &str, key: Option<String>, reason: impl Into<String>) {
        self.table(table).rejected += 1;
        if self.rejected.len() < NAMED {
            self.rejected.push(Turned { table: table.to_owned(), key, reason: reason.into() });
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        for (name, counts) in more.tables {
            let sum = self.table(&name);
            sum.read += counts.read;
            sum.written += counts.written;
            sum.unchanged += counts.unchanged;
            sum.skipped += counts.skipped;
            sum.removed += counts.removed;
            sum.rejected += counts.rejected;
        }
        let room = NAMED.saturating_sub(self.rejected.len());
        self.rejected.extend(more.rejected.into_iter().take(room));
        self.bytes_written += more.bytes_written;
    }

    pub(super) fn rejected(&self) -> u64 {
        self.tables.values().map(|counts| counts.rejected).sum()
    }

    /// Whether anything would be different without it.
    pub(super) fn is_change(&self) -> bool {
        self.tables.values().any(|counts| counts.written + counts.removed > 0)
    }
}
