//! The positions of a topic, kept beside the rows and fenced by the owner's epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::client::{Database, Transaction};
use super::statement::{Dialect, Value};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{Lane, Positions};
use crate::retry::patiently;

/// What this process owns of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    pub epoch: i64,
    /// Where the lane goes on; `None` where nothing was ever settled.
    pub next: Option<i64>,
}

/// The positions of one pipeline in one topic.
#[derive(Debug, Clone)]
pub struct PositionTable {
    pub(super) database: Database,
    table: String,
    pipeline: String,
    topic: String,
    owned: Arc<Mutex<BTreeMap<Lane, Owned>>>,
    pub(super) stop: CancellationToken,
}

impl PositionTable {
    /// `table` is quoted.
    #[must_use]
    pub fn new(database: Database, table: String, pipeline: String, topic: String, stop: CancellationToken) -> Self {
        Self { database, table, pipeline, topic, owned: Arc::default(), stop }
    }

    /// The statement that makes the table.
    #[must_use]
    pub fn definition(dialect: Dialect, table: &str) -> String {
        let (changes, tail) = match dialect {
            Dialect::Postgres => ("", ""),
            _ => (" ON UPDATE CURRENT_TIMESTAMP", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (\
             pipeline VARCHAR(191) NOT NULL, topic VARCHAR(249) NOT NULL, topic_partition INT NOT NULL, \
             next_offset BIGINT NULL, epoch BIGINT NOT NULL, \
             updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP{changes}, \
             PRIMARY KEY (pipeline, topic, topic_partition)){tail}"
        )
    }

    #[must_use]
    pub fn owned(&self, lane: Lane) -> Option<Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).get(&lane).copied()
    }

    /// All that were ever claimed.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn own(&self, lane: Lane, owned: Owned) {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).insert(lane, owned);
    }

    fn place(&self, lane: Lane) -> [Value<'_>; 3] {
        [Value::Text(&self.pipeline), Value::Text(&self.topic), Value::Int(i64::from(lane))]
    }

    async fn claim_one(&self, lane: Lane) -> Result<Owned> {
        let mut transaction = self.database.begin().await?;
        let raise = match self.database.dialect() {
            Dialect::Postgres => "ON CONFLICT (pipeline, topic, topic_partition) DO UPDATE SET epoch = own.epoch + 1",
            _ => "ON DUPLICATE KEY UPDATE epoch = epoch + 1",
        };
        let own = if self.database.dialect() == Dialect::Postgres { " AS own" } else { "" };
        let sql = format!(
            "INSERT INTO {}{own} (pipeline, topic, topic_partition, epoch) VALUES (?, ?, ?, 1) {raise}",
            self.table
        );
        transaction.execute(&sql, &self.place(lane)).await?;
        let found = self.read(&mut transaction, lane).await?;
        let owned = found.ok_or_else(|| Error::internal("A position that was just written is gone"))?;
        transaction.commit().await?;
        Ok(owned)
    }

    /// What the table says, locked until the transaction ends.
    async fn read(&self, transaction: &mut Transaction, lane: Lane) -> Result<Option<Owned>> {
        let sql = format!(
            "SELECT epoch, next_offset FROM {} WHERE pipeline = ? AND topic = ? AND topic_partition = ? FOR UPDATE",
            self.table
        );
        let rows = transaction.query(&sql, &self.place(lane)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Owned { epoch: row.int(0)?.unwrap_or_default(), next: row.int(1)? }))
    }

    /// Locks the lane's position for this transaction, and says where it stands.
    ///
    /// # Errors
    /// `Fenced` when another process has claimed the lane since.
    pub async fn lock(&self, transaction: &mut Transaction, lane: Lane) -> Result<Option<i64>> {
        let owned = self.owned(lane).ok_or_else(|| Error::internal("A lane is loaded that was never claimed"))?;
        let found = self.read(transaction, lane).await?;
        match found {
            Some(found) if found.epoch == owned.epoch => Ok(found.next),
            _ => Err(Error::new(Kind::Fenced, format!("Another process has taken partition {lane} over"))),
        }
    }

    /// Moves the lane's position, in the transaction of its rows.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn advance(&self, transaction: &mut Transaction, lane: Lane, next: i64) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET next_offset = ?, updated_at = CURRENT_TIMESTAMP WHERE pipeline = ? AND topic = ? AND topic_partition = ?",
            self.table
        );
        let [pipeline, topic, partition] = self.place(lane);
        transaction.execute(&sql, &[Value::Int(next), pipeline, topic, partition]).await.map(drop)
    }
}

#[async_trait]
impl Positions for PositionTable {
    async fn claim(&self, lanes: &[Lane]) -> Result<BTreeMap<Lane, i64>> {
        let mut known = BTreeMap::new();
        for lane in lanes {
            let owned =
                patiently("Claiming a partition", &self.stop, || async { self.claim_one(*lane).await.map_err(again) })
                    .await?;
            self.own(*lane, owned);
            if let Some(next) = owned.next {
                known.insert(*lane, next);
            }
        }
        fault("after_claim");
        Ok(known)
    }

    async fn begin(&self, starts: &[(Lane, i64)]) -> Result<()> {
        for (lane, start) in starts {
            patiently("Noting where a partition begins", &self.stop, || async {
                let mut transaction = self.database.begin().await.map_err(again)?;
                self.lock(&mut transaction, *lane).await.map_err(again)?;
                self.advance(&mut transaction, *lane, *start).await.map_err(again)?;
                transaction.commit().await.map_err(again)
            })
            .await?;
        }
        Ok(())
    }
}

/// A transaction that the server broke off is worth another try, where it is not counted.
pub(super) fn again(error: Error) -> Error {
    if error.kind() == Kind::Aborted { Error::new(Kind::Unavailable, error.to_string()) } else { error }
}
