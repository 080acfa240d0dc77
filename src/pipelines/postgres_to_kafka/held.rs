//! Who keeps a fence from being released.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::catalog::ChangeTable;
use super::fence::{Fence, Running};
use crate::error::Result;
use crate::sql::Database;

/// A transaction that is not over.
#[derive(Debug, Clone, Serialize)]
pub(super) struct HeldBack {
    /// None of a prepared transaction, which has no process.
    pub(super) pid: Option<i64>,
    pub(super) xid: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) state: Option<String>,
    pub(super) seconds: Option<i64>,
}

/// What the reader has seen, for the report and the live values.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) fences: u64,
    pub(super) longest: Duration,
    pub(super) held_back_by: Option<HeldBack>,
    pub(super) last_value: i64,
    /// What has been sent.
    pub(super) position: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Watched(Arc<Mutex<Seen>>);

impl Watched {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From this age on it is worth asking who holds a fence back.
const LONG: Duration = Duration::from_secs(1);

const ASK_AGAIN: Duration = Duration::from_secs(10);

/// From this age on it is worth a warning.
const VERY_LONG: Duration = Duration::from_secs(10);

const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Asks and warns now and then.
#[derive(Debug, Default)]
pub(super) struct Warden {
    asked: Option<Instant>,
    warned: Option<Instant>,
}

impl Warden {
    pub(super) async fn look_at(
        &mut self,
        database: &Database,
        table: &ChangeTable,
        oldest: &Fence,
        running: &Running,
        watched: &Watched,
    ) -> Result<()> {
        let age = oldest.since.elapsed();
        let is_due = |last: Option<Instant>, pause: Duration| last.is_none_or(|last| last.elapsed() >= pause);
        let warns = age >= VERY_LONG && is_due(self.warned, WARN_AGAIN);
        if age < LONG || !(warns || is_due(self.asked, ASK_AGAIN)) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        let Some(held) = find(database, table, oldest, running).await? else { return Ok(()) };
        if warns {
            self.warned = Some(Instant::now());
            tracing::warn!(
                pid = held.pid,
                xid = held.xid,
                application_name = held.application_name,
                state = held.state,
                transaction_seconds = held.seconds,
                waiting_seconds = age.as_secs(),
                "changes wait for a transaction that is not over"
            );
        }
        watched.seen().held_back_by = Some(held);
        Ok(())
    }
}

async fn find(database: &Database, table: &ChangeTable, oldest: &Fence, running: &Running) -> Result<Option<HeldBack>> {
    let seconds = |since: &str| format!("extract(epoch FROM now() - {since})::bigint");
    let sql = if running.xmin < oldest.xid {
        // The oldest transaction id there is, in whichever database.
        format!(
            "SELECT pid, backend_xid::text, application_name, state, {}, age(backend_xid) AS age \
             FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
             UNION ALL SELECT NULL, transaction::text, 'prepared transaction ' || gid, 'prepared', {}, age(transaction) \
             FROM pg_prepared_xacts ORDER BY age DESC LIMIT 1",
            seconds("xact_start"),
            seconds("prepared")
        )
    } else {
        let holders: Vec<String> = oldest.holders.iter().map(|holder| format!("'{holder}'")).collect();
        format!(
            "SELECT pid, backend_xid::text, application_name, state, {} FROM pg_stat_activity WHERE pid IN (\
             SELECT pid FROM pg_locks WHERE {} AND virtualtransaction IN ({})) ORDER BY xact_start LIMIT 1",
            seconds("xact_start"),
            table.writers,
            holders.join(", ")
        )
    };
    let rows = database.query(&sql, &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(HeldBack {
        pid: row.int(0)?,
        xid: row.text(1)?,
        application_name: row.text(2)?,
        state: row.text(3)?,
        seconds: row.int(4)?,
    }))
}
