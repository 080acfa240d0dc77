//! What the user says of `mysql_to_mysql`, and what a task is.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::{Metrics, MysqlDatabase, from_json};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub source: MysqlDatabase,
    pub target: MysqlDatabase,
    pub metrics: Metrics,
    pub task: String,
    /// Tasks of the user's own.
    pub tasks: BTreeMap<String, Task>,
    /// Items of one transaction.
    pub chunk_rows: u64,
    pub on_rejected: OnRejected,
    /// Write again what has changed in the source.
    pub update: bool,
    pub dry_run: bool,
    /// After a deadlock or a lock timeout.
    pub max_retries: u32,
    pub statement_timeout_seconds: f64,
    pub stats_interval_seconds: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: MysqlDatabase { database: "info".to_owned(), ..MysqlDatabase::default() },
            target: MysqlDatabase { database: "nfsc".to_owned(), ..MysqlDatabase::default() },
            metrics: Metrics::default(),
            task: "nfsc_task".to_owned(),
            tasks: BTreeMap::new(),
            chunk_rows: 500,
            on_rejected: OnRejected::LeaveOut,
            update: true,
            dry_run: false,
            max_retries: 10,
            statement_timeout_seconds: 60.0,
            stats_interval_seconds: 10.0,
        }
    }
}

/// What becomes of a row that the target does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRejected {
    LeaveOut,
    Stop,
}

/// The task that is built in.
pub(super) const NFSC_TASK: &str = "nfsc_task";

const NFSC_DEFINITION: &str = include_str!("nfsc_task.json");

impl Config {
    /// The definition of the task that was asked for.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn definition(&self) -> Result<Task> {
        if let Some(task) = self.tasks.get(&self.task) {
            return Ok(task.clone());
        }
        if self.task == NFSC_TASK {
            return from_json(NFSC_DEFINITION);
        }
        let known = self.tasks.keys().map(String::as_str).filter(|name| *name != NFSC_TASK);
        let known: Vec<&str> = std::iter::once(NFSC_TASK).chain(known).collect();
        Err(Error::settings(format!("There is no task {:?}; there are: {}", self.task, known.join(", ")))
            .hint("Name one of them with task, or define it in the table tasks of the settings."))
    }
}

/// Items of a table of the source that become rows of a table of the target, with what belongs to them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    pub source: String,
    pub key: String,
    pub target: String,
    pub target_key: String,
    /// A column of the source that is not 0 in rows that do not count.
    #[serde(default)]
    pub deleted: Option<String>,
    #[serde(default)]
    pub filters: Vec<Filter>,
    #[serde(default)]
    pub beside: Vec<Beside>,
    pub columns: Vec<Mapped>,
    #[serde(default)]
    pub references: Vec<Reference>,
    #[serde(default)]
    pub children: Vec<Child>,
}

/// Which items are meant: those whose column has the value, or refers to a row of another table that has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    pub column: String,
    pub equals: String,
    #[serde(default)]
    pub through: Option<Through>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    pub table: String,
    pub key: String,
    pub column: String,
}

/// A table of the source that says more of an item; of several rows the last counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    pub name: String,
    pub table: String,
    /// Its column with the item's key.
    pub parent: String,
    #[serde(default)]
    pub order: Option<String>,
    #[serde(default)]
    pub deleted: Option<String>,
}

/// A column of the target and where its value comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapped {
    pub name: String,
    #[serde(default)]
    pub constant: Option<String>,
    #[serde(default)]
    pub column: Option<String>,
    /// The table beside that has the column.
    #[serde(default)]
    pub of: Option<String>,
    /// Names and numbers with dots between, into the column's JSON.
    #[serde(default)]
    pub path: Option<String>,
    /// Number of an element of the list that the column holds, as JSON or as Python writes it.
    #[serde(default)]
    pub element: Option<usize>,
    /// What a text becomes.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// What every other text becomes.
    #[serde(default)]
    pub otherwise: Option<String>,
    #[serde(default)]
    pub look_up: Option<LookUp>,
    #[serde(default)]
    pub required: bool,
}

/// A table of the target that knows the id of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookUp {
    pub table: String,
    pub name: String,
    pub id: String,
}

/// A table whose rows are copied where the target does not have them and an item refers to them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub source: String,
    pub target: String,
    pub key: String,
    /// The column of the item that refers.
    pub column: String,
    #[serde(default)]
    pub deleted: Option<String>,
    /// Columns that are not copied.
    #[serde(default)]
    pub without: Vec<String>,
}

/// A table whose rows are copied with their item.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    pub source: String,
    pub target: String,
    pub key: String,
    /// The column with the item's key, in both tables.
    pub parent: String,
    #[serde(default)]
    pub deleted: Option<String>,
    /// Columns that are not copied.
    #[serde(default)]
    pub without: Vec<String>,
}
