//! What is old in the tables beside the replica is taken away.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::schema::Names;
use crate::error::Result;
use crate::sql::Database;

const EVERY: Duration = Duration::from_secs(600);

/// Rows in one statement.
const STEP: u64 = 10_000;

/// Removes old rows at the beginning and every ten minutes. What fails now is done the next time.
pub(super) async fn prune(config: Config, names: Names, database: Database, over: CancellationToken) {
    let statements = statements(&config, &names);
    loop {
        for sql in &statements {
            match over.run_until_cancelled(remove(&database, sql)).await {
                None => return,
                Some(Ok(0)) => {}
                Some(Ok(rows)) => tracing::info!(rows, statement = sql, "removed what is old"),
                Some(Err(error)) => tracing::warn!(%error, "what is old cannot be removed now"),
            }
        }
        if over.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn remove(database: &Database, sql: &str) -> Result<u64> {
    let mut all = 0;
    loop {
        let removed = database.execute(sql).await?;
        all += removed;
        if removed < STEP {
            return Ok(all);
        }
    }
}

fn statements(config: &Config, names: &Names) -> Vec<String> {
    let old = |table: &str, key: &str, time: &str, days: f64| {
        format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} \
             WHERE {time} < CURRENT_TIMESTAMP - {days} * INTERVAL '1 day' LIMIT {STEP} FOR UPDATE SKIP LOCKED)"
        )
    };
    // The row without a key is the table's last TRUNCATE: it stays.
    let tombstones = old(&names.tombstone, "(table_name, key)", "key <> '' AND deleted_at", config.tombstone_days)
        .replace("SELECT (table_name, key)", "SELECT table_name, key");
    let ledger = old(&names.ledger, "action_id", "processed_at", config.processed_events_days);
    if config.enable_idempotency { vec![ledger, tombstones] } else { vec![tombstones] }
}
