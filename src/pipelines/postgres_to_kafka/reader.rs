//! Reads the source ahead of what is sent: first the snapshot, where one is asked for, then the changes up to each
//! fence that is over.
//!
//! The position is the last change that was read, and not the fence: after a crash the server gives numbers again that
//! nobody has committed. A connection that is lost takes all fences with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::catalog::{ChangeTable, is_standby, table_name};
use super::config::Config;
use super::fence::{Fences, look, take};
use super::held::{Warden, Watched};
use super::progress::{State, made_again};
use super::snapshot::{self, Rows, Snapshot, wait_until_safe};
use super::transform::Writer;
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::Until;
use crate::retry::{PATIENCE, patiently};
use crate::sql::{Database, Dialect, Fetched, Value};
use crate::stats::{Live, Stats};

pub(super) struct Message {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// What is sent in one transaction, and how far it reaches.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) is_snapshot: bool,
    pub(super) position: i64,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) bytes_read: u64,
    /// How many of each of `ACTIONS`.
    pub(super) actions: [u64; 4],
}

pub(super) const ACTIONS: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"];

pub(super) enum Next {
    Batch(Batch),
    End(&'static str),
}

pub(super) struct Reader {
    pub(super) database: Database,
    pub(super) config: Arc<Config>,
    pub(super) table: ChangeTable,
    pub(super) writer: Writer,
    /// Where a snapshot is asked for, or was begun.
    pub(super) rows: Option<Rows>,
    pub(super) snapshot: Option<Snapshot>,
    /// The last change that was read.
    pub(super) position: i64,
    pub(super) rows_left: Option<u64>,
    pub(super) stats: Arc<Stats>,
    pub(super) watched: Watched,
    pub(super) stop: CancellationToken,
    pub(super) sight: Looking,
}

/// What is known of the source on this connection.
#[derive(Default)]
pub(super) struct Looking {
    fences: Fences,
    session: Option<i64>,
    /// All changes up to it are complete.
    settled: Option<i64>,
    /// All up to it were read.
    read_up_to: i64,
    warden: Warden,
    /// Since when nothing works.
    trouble: Option<(Instant, u32)>,
}

impl Reader {
    /// Whether rows are to be sent beside the changes.
    pub(super) fn wants_rows(config: &Config, state: &State) -> bool {
        match &state.snapshot {
            Some(snapshot) => !snapshot.is_finished,
            None => config.snapshot,
        }
    }

    /// Gives batches until the end, or until nobody takes them.
    pub(super) async fn run(mut self, give: mpsc::Sender<Result<Next>>) {
        self.sight.read_up_to = self.position;
        loop {
            let next = self.next().await;
            let is_last = !matches!(next, Ok(Next::Batch(_)));
            if give.send(next).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn next(&mut self) -> Result<Next> {
        loop {
            if self.rows_left == Some(0) {
                return Ok(Next::End("the number of rows was reached"));
            }
            match self.step().await.map_err(again) {
                Ok(Some(next)) => {
                    self.sight.trouble = None;
                    self.stats.answers();
                    return Ok(next);
                }
                Ok(None) => {
                    self.sight.trouble = None;
                    let poll = Duration::from_millis(self.config.poll_interval_ms);
                    let pause = self.sight.fences.pause(Instant::now(), poll);
                    self.stats.answers();
                    self.stats.rests(pause);
                    tokio::time::sleep(pause).await;
                }
                Err(error) if error.is_transient() => self.recover(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// One thing that there is to do; `None` when there is nothing just now.
    async fn step(&mut self) -> Result<Option<Next>> {
        if let Some(rows) = self.rows.clone() {
            return self.step_of_snapshot(&rows).await;
        }
        if self.sight.settled.is_none_or(|settled| settled <= self.sight.read_up_to) {
            self.look().await?;
        }
        let Some(settled) = self.sight.settled else { return Ok(None) };
        if settled > self.sight.read_up_to {
            let batch = self.read(settled).await?;
            if !batch.messages.is_empty() {
                fault("after_read");
                return Ok(Some(Next::Batch(batch)));
            }
        }
        // The first fence was for what had been committed before the run began.
        let is_end = self.config.until == Until::End && self.sight.read_up_to >= settled;
        Ok(is_end.then_some(Next::End("end of changes")))
    }

    /// Looks what is complete by now, and takes a fence where there is something new.
    async fn look(&mut self) -> Result<()> {
        let has_fence = !self.sight.fences.is_empty();
        let seen = look(&self.database, &self.table, has_fence).await?;
        if self.sight.session.is_some_and(|session| session != seen.session) {
            tracing::debug!("the connection is a new one");
            return self.begin_again().await;
        }
        self.sight.session = Some(seen.session);
        if seen.last_value < self.position {
            let why = format!("its numbers are at {}, and {} was sent", seen.last_value, self.position);
            return Err(made_again(&self.config.table, &why));
        }
        let now = Instant::now();
        if let Some(running) = &seen.running {
            if let Some((last_value, waited)) = self.sight.fences.release(running, now) {
                self.sight.settled = self.sight.settled.max(Some(last_value));
                let mut watched = self.watched.seen();
                watched.longest = watched.longest.max(waited);
            } else if let Some(oldest) = self.sight.fences.oldest() {
                let warden = &mut self.sight.warden;
                warden.look_at(&self.database, &self.table, oldest, running, &self.watched).await?;
            }
        }
        let known = self.sight.read_up_to.max(self.sight.settled.unwrap_or(0));
        let is_new = seen.last_value > known.max(self.sight.fences.newest().unwrap_or(0));
        if !is_new && self.sight.fences.is_empty() {
            self.sight.settled = self.sight.settled.max(Some(seen.last_value));
        }
        let is_wanted = self.config.until != Until::End || (self.sight.settled.is_none() && !has_fence);
        if is_new && is_wanted && self.sight.fences.may_take(now) {
            fault("before_fence");
            match take(&self.database, &self.table, &seen).await? {
                Some(fence) => self.sight.fences.push(fence),
                None => return self.begin_again().await,
            }
            fault("after_fence");
            self.watched.seen().fences += 1;
        }
        self.tell(seen.last_value);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn tell(&self, last_value: i64) {
        let age = self.sight.fences.oldest().map_or(Duration::ZERO, |fence| fence.since.elapsed());
        let mut watched = self.watched.seen();
        watched.longest = watched.longest.max(age);
        watched.last_value = last_value;
        // Numbers that were never committed are no lag.
        let is_level = self.sight.read_up_to >= last_value && watched.position >= self.position;
        let lag = if is_level { 0 } else { last_value - watched.position };
        self.stats.note(Live::Lag, lag as f64);
        self.stats.note(Live::FenceAgeSeconds, age.as_secs_f64());
    }

    async fn read(&mut self, settled: i64) -> Result<Batch> {
        let mapping = &self.config.mapping;
        let id = format!("source.{}", Dialect::Postgres.quoted(&mapping.id_column));
        let range = format!("{} AS source WHERE {id} > ? AND {id} <= ?", table_name(&self.config.table));
        let values = [Value::Int(self.position), Value::Int(settled)];
        let most = self.config.batch_size.min(self.rows_left.unwrap_or(u64::MAX));
        let limit = self.table.width.fitting(&self.database, &range, &id, &values, most).await?;
        let sql = format!(
            "SELECT {id}::bigint, pg_backend_pid(), {}::text, {} FROM {range} ORDER BY {id} LIMIT ?",
            Dialect::Postgres.quoted(&mapping.action_column),
            self.table.columns
        );
        let [position, up_to] = values;
        let rows = self.database.query(&sql, &[position, up_to, Value::Int(limit)]).await?;
        let Some(first) = rows.first() else {
            self.sight.read_up_to = settled;
            return Ok(Batch::default());
        };
        if first.int(1)? != self.sight.session {
            self.begin_again().await?;
            return Ok(Batch::default());
        }
        let mut batch = Batch { snapshot: self.snapshot.clone(), ..Batch::default() };
        for row in &rows {
            let action = row.str(2)?;
            if let Some(known) = ACTIONS.iter().position(|known| action == Some(*known)) {
                batch.actions[known] += 1;
            }
            let id = row.int(0)?.unwrap_or_default();
            self.put(&mut batch, row, 3, id, action)?;
            batch.position = id;
        }
        self.position = batch.position;
        self.sight.read_up_to = self.position;
        self.count(&batch);
        Ok(batch)
    }

    /// Returns the cells of the key.
    fn put<'r>(
        &self,
        batch: &mut Batch,
        row: &'r Fetched,
        first: usize,
        id: i64,
        action: Option<&str>,
    ) -> Result<Vec<Option<&'r str>>> {
        let columns = self.config.mapping.columns.len();
        let cells = (first..first + columns).map(|at| row.str(at)).collect::<Result<Vec<_>>>()?;
        batch.bytes_read += cells.iter().map(|cell| cell.map_or(0, str::len) as u64).sum::<u64>();
        let value = self.writer.value(id, &cells, action);
        batch.messages.push(Message { key: self.writer.key(&cells), value });
        Ok(cells)
    }

    fn count(&mut self, batch: &Batch) {
        if let Some(left) = &mut self.rows_left {
            *left = left.saturating_sub(batch.messages.len() as u64);
        }
    }

    async fn step_of_snapshot(&mut self, rows: &Rows) -> Result<Option<Next>> {
        let Some(snapshot) = self.snapshot.clone() else { return self.begin_snapshot().await };
        let most = self.rows_left.unwrap_or(u64::MAX);
        let found = rows.read(&self.database, snapshot.last_key.as_deref(), most).await?;
        let mut batch = Batch { is_snapshot: true, position: self.position, ..Batch::default() };
        let mut last_key = snapshot.last_key;
        for (number, row) in found.iter().enumerate() {
            let cells = self.put(&mut batch, row, 0, snapshot.fence, Some("INSERT"))?;
            if number + 1 == found.len() {
                last_key = Some(snapshot::whole(self.writer.key_cells(&cells))?);
            }
        }
        let is_finished = found.is_empty();
        let sent = snapshot.rows + found.len() as u64;
        batch.snapshot = Some(Snapshot { last_key, rows: sent, is_finished, ..snapshot });
        self.snapshot.clone_from(&batch.snapshot);
        if is_finished {
            tracing::info!(rows = sent, "the snapshot is complete");
            self.rows = None;
        }
        self.count(&batch);
        Ok(Some(Next::Batch(batch)))
    }

    /// Once all changes up to a fence are complete, rows that are read show them.
    async fn begin_snapshot(&mut self) -> Result<Option<Next>> {
        self.look().await?;
        let Some(settled) = self.sight.settled else { return Ok(None) };
        wait_until_safe(&self.database).await?;
        tracing::info!(fence = settled, "the snapshot begins");
        self.snapshot = Some(Snapshot::new(settled));
        // Where changes were sent before, those up to the fence are needed too: rows that were deleted are in no snapshot.
        if self.position == 0 {
            self.position = settled;
            self.sight.read_up_to = settled;
        }
        let batch = Batch { position: self.position, snapshot: self.snapshot.clone(), ..Batch::default() };
        Ok(Some(Next::Batch(batch)))
    }

    /// Forgets what was seen on another connection.
    async fn begin_again(&mut self) -> Result<()> {
        let sight = &mut self.sight;
        sight.fences.clear();
        (sight.session, sight.settled, sight.read_up_to) = (None, None, self.position);
        let (database, config) = (&self.database, &self.config);
        let table = patiently("Reaching the source", &self.stop, || async {
            if is_standby(database).await.map_err(again)? {
                return Err(Error::new(Kind::Unavailable, "The source has become a standby"));
            }
            ChangeTable::find(database, config).await.map_err(again)
        })
        .await?;
        if !table.identity.is_same(&self.table.identity) {
            return Err(made_again(&self.config.table, "it is another one than before"));
        }
        self.table = table;
        Ok(())
    }

    async fn recover(&mut self, error: Error) -> Result<()> {
        let (since, failures) = self.sight.trouble.unwrap_or_else(|| (Instant::now(), 0));
        if since.elapsed() > PATIENCE {
            return Err(error);
        }
        self.sight.trouble = Some((since, failures + 1));
        self.stats.connect(false);
        tracing::warn!(%error, "the source does not answer; trying again");
        tokio::time::sleep(Duration::from_millis(100 << failures.min(5))).await;
        self.begin_again().await
    }
}

/// A statement that the server broke off is asked again.
fn again(error: Error) -> Error {
    if error.kind() == Kind::Aborted { Error::new(Kind::Unavailable, error.to_string()) } else { error }
}
