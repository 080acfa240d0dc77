//! Records that were refused: kept whole, with the reason and where they came from.

use std::fmt;
use std::future::Future;

use super::headers::Headers;
use crate::error::{Error, Kind, Result};

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File {
        name: String,
        line: u64,
        byte: u64,
    },
    Topic {
        topic: String,
        partition: i32,
        offset: i64,
    },
    /// Of a database: its key tells which document it is.
    Collection {
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, .. } => write!(f, "{name}, line {line}"),
            Self::Topic { topic, partition, offset } => write!(f, "{topic}, partition {partition}, offset {offset}"),
            Self::Collection { name } => f.write_str(name),
        }
    }
}

/// A record that cannot go on: its bytes unchanged, why, and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Its own, before it was refused.
    pub headers: Headers,
    /// Its own, in milliseconds since 1970.
    pub time: Option<i64>,
    pub reason: String,
    pub origin: Origin,
}

impl Refused {
    /// One that has no headers and no time of its own.
    #[must_use]
    pub fn new(key: Option<Vec<u8>>, value: Option<Vec<u8>>, reason: impl Into<String>, origin: Origin) -> Self {
        Self { key, value, headers: Headers::default(), time: None, reason: reason.into(), origin }
    }

    /// Bytes it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        size_of::<Self>()
            + self.reason.len()
            + self.headers.held()
            + self.key.as_ref().map_or(0, Vec::capacity)
            + self.value.as_ref().map_or(0, Vec::capacity)
    }
}

/// Where refused records go.
pub trait DeadLetters: Send {
    /// Durable once it returns.
    fn send(&mut self, refused: Vec<Refused>) -> impl Future<Output = Result<()>> + Send;
}

/// Stops a run in which more is refused than anybody can have meant.
#[derive(Debug)]
pub struct Guard {
    max_share: f64,
    rows: u64,
    refused: u64,
    last: Option<String>,
}

/// Below so many refused rows no share is telling: the first row of a topic may be the bad one.
const TELLING: u64 = 100;

impl Guard {
    #[must_use]
    pub fn new(max_share: f64) -> Self {
        Self { max_share, rows: 0, refused: 0, last: None }
    }

    pub fn accept(&mut self, rows: u64) {
        self.rows += rows;
    }

    pub fn refuse(&mut self, refused: &Refused) {
        self.rows += 1;
        self.refused += 1;
        self.last = Some(format!("{} ({})", refused.reason, refused.origin));
    }

    /// # Errors
    /// When the share is over the limit, with the last reason.
    #[allow(clippy::cast_precision_loss, reason = "a share of counts")]
    pub fn check(&self) -> Result<()> {
        if self.refused < TELLING || self.refused as f64 <= self.rows as f64 * self.max_share {
            return Ok(());
        }
        let last = self.last.as_deref().unwrap_or_default();
        Err(Error::new(
            Kind::Rejected,
            format!(
                "{} of {} rows were refused, more than max_rejected_share allows; the last: {last}",
                self.refused, self.rows
            ),
        ))
    }
}
