//! Dead letters that are committed with the positions, and sent to their topic afterwards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Mutex;

use super::client::Transaction;
use super::positions::{PositionTable, again};
use super::statement::{Dialect, Upsert, Value};
use crate::error::Result;
use crate::fault::fault;
use crate::flow::{DeadLetters, Headers, Lane, Origin, Refused};
use crate::retry::patiently;

/// The dead letters of one pipeline in one topic.
#[derive(Debug, Clone)]
pub struct Outbox {
    dialect: Dialect,
    table: String,
    pipeline: String,
    topic: String,
}

const COLUMNS: [&str; 10] = [
    "pipeline",
    "topic",
    "topic_partition",
    "topic_offset",
    "place",
    "message_key",
    "message_value",
    "message_headers",
    "message_time",
    "reason",
];

impl Outbox {
    /// `table` is quoted.
    #[must_use]
    pub fn new(dialect: Dialect, table: String, pipeline: String, topic: String) -> Self {
        Self { dialect, table, pipeline, topic }
    }

    /// The statement that makes the table.
    #[must_use]
    pub fn definition(dialect: Dialect, table: &str) -> String {
        let (bytes, tail) = match dialect {
            Dialect::Postgres => ("BYTEA", ""),
            _ => ("LONGBLOB", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (\
             pipeline VARCHAR(191) NOT NULL, topic VARCHAR(249) NOT NULL, topic_partition INT NOT NULL, \
             topic_offset BIGINT NOT NULL, place INT NOT NULL, \
             message_key {bytes} NULL, message_value {bytes} NULL, message_headers {bytes} NULL, \
             message_time BIGINT NULL, reason TEXT NOT NULL, \
             PRIMARY KEY (pipeline, topic, topic_partition, topic_offset, place)){tail}"
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
        let upsert = Upsert::insert(self.dialect, &self.table, &COLUMNS, 25);
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
                    Value::Bytes(letter.headers.bytes()),
                    letter.time.map_or(Value::Null, Value::Int),
                    Value::Text(&letter.reason),
                ]);
            })
            .await
    }

    /// Sends the dead letters of a lane that were committed and not sent, while nobody else may have the lane. Returns
    /// how many.
    ///
    /// # Errors
    /// `Fenced` when another process has taken the lane over: it sends them.
    pub async fn ship(&self, positions: &PositionTable, lane: Lane, to: &Mutex<impl DeadLetters>) -> Result<u64> {
        let sent = AtomicU64::new(0);
        patiently("Sending dead letters", &positions.stop, || async {
            let mut transaction = positions.database.begin().await?;
            positions.lock(&mut transaction, lane).await.map_err(again)?;
            // Sent, and the connection was lost before they were forgotten: nobody has added to them since.
            if sent.load(Relaxed) == 0 {
                let letters = self.waiting(&mut transaction, lane).await?;
                if letters.is_empty() {
                    return Ok(());
                }
                let count = letters.len() as u64;
                to.lock().await.send(letters).await?;
                sent.store(count, Relaxed);
            }
            fault("before_outbox");
            self.forget(&mut transaction, lane).await.map_err(again)?;
            transaction.commit().await
        })
        .await?;
        Ok(sent.into_inner())
    }

    /// What of a lane has not been sent yet.
    async fn waiting(&self, transaction: &mut Transaction, lane: Lane) -> Result<Vec<Refused>> {
        let sql = format!(
            "SELECT topic_offset, message_key, message_value, message_headers, message_time, reason FROM {} \
             WHERE pipeline = ? AND topic = ? AND topic_partition = ? ORDER BY topic_offset, place",
            self.table
        );
        let rows = transaction.query(&sql, &self.place(lane)).await?;
        let letters = rows.iter().map(|row| {
            let offset = row.int(0)?.unwrap_or_default();
            Ok(Refused {
                key: row.bytes(1)?,
                value: row.bytes(2)?,
                headers: Headers::packed(row.bytes(3)?.unwrap_or_default()),
                time: row.int(4)?,
                reason: row.text(5)?.unwrap_or_default(),
                origin: Origin::Topic { topic: self.topic.clone(), partition: lane, offset },
            })
        });
        letters.collect()
    }

    /// Forgets a lane's, once they have been sent.
    async fn forget(&self, transaction: &mut Transaction, lane: Lane) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE pipeline = ? AND topic = ? AND topic_partition = ?", self.table);
        transaction.execute(&sql, &self.place(lane)).await.map(drop)
    }

    fn place(&self, lane: Lane) -> [Value<'_>; 3] {
        [Value::Text(&self.pipeline), Value::Text(&self.topic), Value::Int(i64::from(lane))]
    }
}
