//! Whether a dead letter would become a row now; changes nothing.

use super::config::Config;
use super::sink::Note;
use crate::decode::rows::{self, Column, Push, Rows};
use crate::error::Result;
use crate::kafka::{Record, notes};

/// The columns as they are now.
#[derive(Debug)]
pub struct Trial {
    config: Config,
    columns: Vec<Column>,
}

impl Trial {
    /// # Errors
    /// When the broker cannot be reached, or what a former run noted cannot be read.
    pub fn open(config: Config) -> Result<Self> {
        let mut columns = Vec::new();
        for note in tokio::task::block_in_place(|| notes(&config.kafka, &config.topic, &config.group_id))? {
            let note = Note::read(&note)?;
            if note.is_typed == config.typed && note.columns.len() > columns.len() {
                columns = note.columns;
            }
        }
        Ok(Self { config, columns })
    }

    /// The inner error is why it would be refused again.
    ///
    /// # Errors
    /// When a field has the name of a metadata column.
    pub fn attempt(&self, message: Record<'_>) -> Result<Result<(), String>> {
        let topic = self.config.topic.as_str().into();
        let mut rows = Rows::new(super::options(&self.config, &topic), self.columns.clone());
        let Record { offset, time, key, value, .. } = message;
        match rows.push(rows::Record { partition: 0, offset, time, key, value }, true)? {
            Push::Refused(reason) => Ok(Err(reason)),
            Push::Added | Push::NewColumns => Ok(Ok(())),
        }
    }
}
