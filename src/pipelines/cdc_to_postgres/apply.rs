//! One batch of a lane into the replica, in one transaction.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::statements::Statements;
use super::transform::{Batch, Net, drop_repeated};
use crate::decode::change::{Action, Plan};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{Lane, Origin, Refused};
use crate::sql::{Database, Outbox, PositionTable, Transaction, until_committed};

/// How changes get into the replica; the same for all lanes.
#[derive(Debug)]
pub(super) struct Applier {
    pub(super) database: Database,
    pub(super) positions: PositionTable,
    pub(super) outbox: Outbox,
    pub(super) plan: Plan,
    pub(super) statements: Statements,
    pub(super) topic: String,
    /// The largest number that the ledger takes; `None` without a ledger.
    pub(super) ledger: Option<i64>,
    pub(super) copy_rows: usize,
    pub(super) max_retries: u32,
    /// Refused events go to the dead letters; else the first of them ends the run.
    pub(super) has_dead_letters: bool,
    pub(super) stop: CancellationToken,
}

/// What a batch has changed.
#[derive(Debug, Default, Clone)]
pub(super) struct Applied {
    pub(super) upserted: u64,
    pub(super) deleted: u64,
    pub(super) truncates: u64,
    pub(super) superseded: u64,
    pub(super) stale: u64,
    pub(super) duplicates: u64,
    pub(super) retries: u64,
    pub(super) time: Duration,
    /// What the database has refused.
    pub(super) refused: Vec<Refused>,
    /// The first refused event, where it ends the run: nothing from it on was applied.
    pub(super) poison: Option<Poison>,
}

#[derive(Debug, Clone)]
pub(super) struct Poison {
    pub(super) offset: i64,
    pub(super) reason: String,
}

impl Applier {
    /// Applies the batch and moves the lane on.
    ///
    /// # Errors
    /// `Fenced` when another process has taken the lane over.
    pub(super) async fn apply(&self, lane: Lane, batch: &Batch) -> Result<Applied> {
        let (mut next, mut poison) = (batch.next, None);
        loop {
            // Of the last attempt: where the reply to its commit is lost, this is what it has done.
            let done = Mutex::new(Applied::default());
            let begun = Instant::now();
            let attempt = || self.attempt(lane, next, batch, &done);
            let (guilty, retries) = until_committed("Applying changes", self.max_retries, &self.stop, attempt).await?;
            let Some(guilty) = guilty else {
                let applied = done.into_inner().unwrap_or_else(PoisonError::into_inner);
                return Ok(Applied { retries: u64::from(retries), time: begun.elapsed(), poison, ..applied });
            };
            next = guilty.offset;
            poison = Some(guilty);
        }
    }

    /// Commits what comes before `next`, or says which event keeps it from that.
    async fn attempt(&self, lane: Lane, next: i64, batch: &Batch, done: &Mutex<Applied>) -> Result<Option<Poison>> {
        fault("before_transaction");
        let mut transaction = self.database.begin().await?;
        // A commit whose reply was lost: all of it is there.
        if self.positions.lock(&mut transaction, lane).await? == Some(next) {
            return Ok(None);
        }
        fault("after_begin");
        let mut applied = Applied::default();
        match self.write(&mut transaction, lane, next, batch, &mut applied, false).await {
            Err(error) if error.kind() == Kind::Rejected => {
                transaction.roll_back().await?;
                transaction = self.database.begin().await?;
                self.positions.lock(&mut transaction, lane).await?;
                applied = Applied::default();
                self.write(&mut transaction, lane, next, batch, &mut applied, true).await?;
            }
            other => other?,
        }
        if !self.has_dead_letters
            && let Some(guilty) = applied.refused.iter().filter_map(poison).min_by_key(|guilty| guilty.offset)
        {
            transaction.roll_back().await?;
            return Ok(Some(guilty));
        }
        fault("after_rows");
        let letters: Vec<Refused> = batch.refused.iter().chain(&applied.refused).cloned().collect();
        self.outbox.put(&mut transaction, &letters).await?;
        self.positions.advance(&mut transaction, lane, next).await?;
        fault("after_positions");
        *done.lock().unwrap_or_else(PoisonError::into_inner) = applied;
        fault("before_commit_sql");
        transaction.commit().await?;
        fault("after_commit_sql");
        Ok(None)
    }

    /// With `is_careful` the database's refusals are traced to their events, which are left out.
    async fn write(
        &self,
        transaction: &mut Transaction,
        lane: Lane,
        next: i64,
        batch: &Batch,
        applied: &mut Applied,
        is_careful: bool,
    ) -> Result<()> {
        let (rows, sql) = (&batch.rows, &self.statements);
        let events = rows.events();
        let mut live: Vec<usize> = (0..events.partition_point(|event| event.offset < next)).collect();
        let is_truncating = live.iter().any(|at| events[*at].action == Action::Truncate);
        transaction.say(if is_truncating { &sql.exclude } else { &sql.share }).await?;
        let mut known = HashSet::new();
        if let Some(largest) = self.ledger {
            applied.duplicates += drop_repeated(events, &mut live);
            known = self.note(transaction, lane, rows, &live, largest).await?;
            applied.duplicates += known.len() as u64;
        }
        let (floor, deletions) = self.floor(transaction).await?;
        let net = Net::of(rows, &live, known, floor);
        applied.superseded += net.superseded;
        applied.stale += net.stale;
        fault("before_rows");
        if let Some(truncated) = net.truncated {
            applied.truncates += 1;
            self.truncate(transaction, truncated).await?;
        }
        if is_careful {
            self.change_with_care(transaction, lane, batch, &net, applied).await?;
        } else {
            self.change(transaction, rows, &net.changes, &net.known, true, applied).await?;
        }
        if is_truncating {
            return Ok(()); // Nobody is beside it.
        }
        // Of a refused key older events are applied, too.
        let applied_now = if is_careful { &net.standing } else { &net.changes };
        let refused: HashSet<i64> = applied.refused.iter().filter_map(poison).map(|guilty| guilty.offset).collect();
        let is_new = |at: &usize| !net.known.contains(at) && !refused.contains(&events[*at].offset);
        let changes: Vec<usize> = applied_now.iter().copied().filter(is_new).collect();
        let settled = self.settle(transaction, rows, &changes, deletions).await;
        applied.deleted += settled.map_err(|error| match error.kind() {
            // It meets a row that was not there at the beginning.
            Kind::Rejected => Error::new(Kind::Aborted, error.to_string()),
            _ => error,
        })?;
        Ok(())
    }

    /// Halves what the database refuses until only the guilty keys are left; of those each event is tried by itself.
    async fn change_with_care(
        &self,
        transaction: &mut Transaction,
        lane: Lane,
        batch: &Batch,
        net: &Net,
        applied: &mut Applied,
    ) -> Result<()> {
        let mut guilty = Vec::new();
        let mut parts = vec![net.changes.as_slice()];
        while let Some(part) = parts.pop() {
            if self.try_change(transaction, batch, net, part, applied).await?.is_none() {
                continue;
            }
            if let [at] = part {
                guilty.push(*at);
            } else {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
        // A row may stand in the way of another, say with a value that must be unique, until its own change is applied.
        loop {
            let mut left = Vec::new();
            for at in &guilty {
                if self.try_change(transaction, batch, net, &[*at], applied).await?.is_some() {
                    left.push(*at);
                }
            }
            let is_over = left.is_empty() || left.len() == guilty.len();
            guilty = left;
            if is_over {
                break;
            }
        }
        for at in guilty {
            self.change_singly(transaction, lane, batch, net, at, applied).await?;
        }
        let guilty: HashSet<i64> = applied.refused.iter().filter_map(poison).map(|guilty| guilty.offset).collect();
        let ids =
            batch.rows.events().iter().filter(|event| guilty.contains(&event.offset)).filter_map(|event| event.id);
        self.unnote(transaction, &ids.collect::<Vec<_>>()).await
    }

    /// Why the database refuses this part, if it does; then nothing of it is done.
    async fn try_change(
        &self,
        transaction: &mut Transaction,
        batch: &Batch,
        net: &Net,
        part: &[usize],
        applied: &mut Applied,
    ) -> Result<Option<Error>> {
        transaction.say("SAVEPOINT part").await?;
        let mut more = Applied::default();
        match self.change(transaction, &batch.rows, part, &net.known, false, &mut more).await {
            Ok(()) => {
                transaction.say("RELEASE SAVEPOINT part").await?;
                applied.add(&more);
                Ok(None)
            }
            Err(error) if error.kind() == Kind::Rejected => {
                transaction.say("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await?;
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// The events of one key in their order, also those that the newest has superseded.
    async fn change_singly(
        &self,
        transaction: &mut Transaction,
        lane: Lane,
        batch: &Batch,
        net: &Net,
        newest: usize,
        applied: &mut Applied,
    ) -> Result<()> {
        let (rows, events) = (&batch.rows, batch.rows.events());
        let key = rows.key(&events[newest]);
        for at in net.standing.iter().filter(|at| rows.key(&events[**at]) == key) {
            if let Some(error) = self.try_change(transaction, batch, net, &[*at], applied).await? {
                let message = batch.message(events[*at].offset);
                let message = message.ok_or_else(|| Error::internal("A message is gone before it was applied"))?;
                applied.refused.push(message.refuse(&self.topic, lane, error.to_string()));
            }
        }
        Ok(())
    }
}

fn poison(refused: &Refused) -> Option<Poison> {
    let Origin::Topic { offset, .. } = &refused.origin else { return None };
    Some(Poison { offset: *offset, reason: refused.reason.clone() })
}

impl Applied {
    pub(super) fn add(&mut self, more: &Self) {
        self.upserted += more.upserted;
        self.deleted += more.deleted;
        self.truncates += more.truncates;
        self.superseded += more.superseded;
        self.stale += more.stale;
        self.duplicates += more.duplicates;
        self.retries += more.retries;
        self.time += more.time;
    }
}
