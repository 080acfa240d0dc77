//! Dead letters that are committed with the positions, and sent to their topic afterwards.

use std::collections::HashMap;

use super::client::Transaction;
use super::statement::{Upsert, Value};
use crate::error::Result;
use crate::flow::{Lane, Origin, Refused};

/// The dead letters of one pipeline in one topic.
#[derive(Debug, Clone)]
pub struct Outbox {
    table: String,
    pipeline: String,
    topic: String,
}

const COLUMNS: [&str; 8] =
    ["pipeline", "topic", "topic_partition", "topic_offset", "place", "message_key", "message_value", "reason"];

impl Outbox {
    /// `table` is quoted.
    #[must_use]
    pub fn new(table: String, pipeline: String, topic: String) -> Self {
        Self { table, pipeline, topic }
    }

    /// The statement that makes the table.
    #[must_use]
    pub fn definition(table: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (\
             pipeline VARCHAR(191) NOT NULL, topic VARCHAR(249) NOT NULL, topic_partition INT NOT NULL, \
             topic_offset BIGINT NOT NULL, place INT NOT NULL, \
             message_key LONGBLOB NULL, message_value LONGBLOB NULL, reason TEXT NOT NULL, \
             PRIMARY KEY (pipeline, topic, topic_partition, topic_offset, place)\
             ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        )
    }

    /// Puts dead letters of a lane into the transaction.
    ///
    /// # Errors
    /// When the server refuses them.
    pub async fn put(&self, transaction: &mut Transaction, refused: &[Refused]) -> Result<()> {
        let mut rows = Vec::with_capacity(refused.len());
        // Orders of one message need not stand together: the parser's come first, then the database's.
        let mut places = HashMap::new();
        for letter in refused {
            let Origin::Topic { partition, offset, .. } = &letter.origin else { continue };
            let place = places.entry((*partition, *offset)).and_modify(|place| *place += 1).or_insert(0);
            rows.push((*partition, *offset, *place, letter));
        }
        let upsert = Upsert::insert(&self.table, &COLUMNS, 25);
        upsert
            .run(transaction, &rows, |(partition, offset, place, letter), values| {
                values.extend([
                    Value::Text(&self.pipeline),
                    Value::Text(&self.topic),
                    Value::Int(i64::from(*partition)),
                    Value::Int(*offset),
                    Value::Int(*place),
                    letter.key.as_deref().map_or(Value::Null, Value::Bytes),
                    letter.value.as_deref().map_or(Value::Null, Value::Bytes),
                    Value::Text(&letter.reason),
                ]);
            })
            .await
    }

    /// What of a lane has not been sent yet.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn waiting(&self, transaction: &mut Transaction, lane: Lane) -> Result<Vec<Refused>> {
        let sql = format!(
            "SELECT topic_offset, message_key, message_value, reason FROM {} \
             WHERE pipeline = ? AND topic = ? AND topic_partition = ? ORDER BY topic_offset, place",
            self.table
        );
        let rows = transaction.query(&sql, &self.place(lane)).await?;
        let letters = rows.iter().map(|row| {
            Ok(Refused {
                key: row.bytes(1)?,
                value: row.bytes(2)?,
                reason: row.text(3)?.unwrap_or_default(),
                origin: Origin::Topic {
                    topic: self.topic.clone(),
                    partition: lane,
                    offset: row.int(0)?.unwrap_or_default(),
                },
            })
        });
        letters.collect()
    }

    /// Forgets a lane's, once they have been sent.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn forget(&self, transaction: &mut Transaction, lane: Lane) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE pipeline = ? AND topic = ? AND topic_partition = ?", self.table);
        transaction.execute(&sql, &self.place(lane)).await.map(drop)
    }

    fn place(&self, lane: Lane) -> [Value<'_>; 3] {
        [Value::Text(&self.pipeline), Value::Text(&self.topic), Value::Int(i64::from(lane))]
    }
}
