//! What the user says of dead letters: which, and what to do with them.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::config::Kafka;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    /// The topic of dead letters.
    pub topic: String,
    /// Letters whose reason contains this, in any case.
    pub reason: Option<String>,
    pub key: Option<String>,
    /// Letters written since then.
    pub since: Option<DateTime<Utc>>,
    /// Letters that are sent, or tried, at most.
    pub limit: Option<u64>,
    /// Letters shown for each reason.
    pub examples: usize,
    /// A message that was sent again so often and refused each time stays where it is.
    pub max_replays: u32,
    /// Those too that were sent again before.
    pub again: bool,
    /// In place of where each was read.
    pub to: Option<String>,
    /// Tries them and sends nothing.
    pub dry_run: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            topic: String::new(),
            reason: None,
            key: None,
            since: None,
            limit: None,
            examples: 3,
            max_replays: 3,
            again: false,
            to: None,
            dry_run: false,
        }
    }
}
