//! Changes out to the replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::apply::{Applied, Applier, Poison};
use super::transform::Batch;
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{DeadLetters, Guard, Lane, Opening, Refused, Sink, Written};
use crate::kafka::{Records, TopicDeadLetters};
use crate::pipelines::loading::beside;
use crate::stats::{Live, Stats, Timed};

pub(super) struct ChangesToTable {
    pub(super) applier: Arc<Applier>,
    pub(super) lanes: BTreeMap<Lane, Batch>,
    /// Partitions that are applied at once.
    pub(super) connections: usize,
    pub(super) dead_letters: Mutex<TopicDeadLetters>,
    pub(super) guard: Guard,
    pub(super) stats: Arc<Stats>,
    pub(super) total: Total,
    /// A refused message that ends the run, once all before it is applied.
    pub(super) poison: Option<(Lane, Poison)>,
}

/// What a run has done, for its report.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) applied: Applied,
    pub(super) dead_letters: u64,
    pub(super) transactions: u64,
    pub(super) longest: Duration,
}

impl ChangesToTable {
    /// Sends what stands in the outbox to the dead-letter topic.
    async fn ship(&mut self, lane: Lane) -> Result<()> {
        let Applier { outbox, positions, .. } = &*self.applier;
        self.total.dead_letters += outbox.ship(positions, lane, &self.dead_letters).await?;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a count to look at")]
    fn add(&mut self, done: &Done) {
        let (total, applied) = (&mut self.total, &done.applied);
        total.transactions += 1;
        total.longest = total.longest.max(applied.time);
        total.applied.add(applied);
        let letters = done.by_decoder + applied.refused.len() as u64;
        self.stats.rows_rejected.add(letters);
        self.stats.rows_written.add((done.events - applied.refused.len() as u64).saturating_sub(applied.duplicates));
        self.stats.bytes_written.add(done.bytes);
        self.stats.note(Live::Duplicates, self.total.applied.duplicates as f64);
        self.stats.took(Timed::Transaction, applied.time);
    }

    fn end_by(&self, lane: Lane, poison: &Poison) -> Error {
        let Poison { offset, reason } = poison;
        let topic = &self.applier.topic;
        Error::new(Kind::Rejected, format!("{reason} ({topic}, partition {lane}, offset {offset})"))
            .hint("All before it is applied. Mend the cause, or let such messages go to the dead letters (enable_dlq).")
    }
}

impl Sink for ChangesToTable {
    type Batch = Records;
    type Progress = i64;

    /// Letters of a former owner that were committed and not sent go out first.
    async fn open(&mut self, opening: Opening<i64>) -> Result<()> {
        self.ship(opening.lane).await?;
        self.lanes.insert(opening.lane, Batch::at(opening.start));
        Ok(())
    }

    async fn write(&mut self, lane: Lane, records: Records) -> Result<Written<Records, i64>> {
        let Some(batch) = self.lanes.get_mut(&lane) else { return Err(Error::internal("A lane was never opened")) };
        let (mut rows, mut bytes) = (0, 0);
        for record in records.iter() {
            if self.poison.is_some() {
                break;
            }
            rows += 1;
            bytes += record.value.map_or(0, <[u8]>::len) as u64;
            match batch.take(&self.applier.plan, record, &self.applier.topic, lane) {
                None => self.guard.accept(1),
                Some(letter) if self.applier.has_dead_letters => {
                    self.guard.refuse(&letter);
                    batch.refuse(letter);
                }
                Some(letter) => {
                    batch.next = record.offset;
                    self.poison = Some((lane, Poison { offset: record.offset, reason: letter.reason }));
                }
            }
        }
        let next = batch.next;
        batch.keep(records);
        self.stats.rows_read.add(rows);
        self.stats.bytes_read.add(bytes);
        if let Err(error) = self.guard.check() {
            let letters: Vec<Refused> =
                self.lanes.values_mut().flat_map(|batch| std::mem::take(&mut batch.refused)).collect();
            self.dead_letters.get_mut().send(letters).await?;
            return Err(error);
        }
        Ok(Written { reach: Some(next), rows, bytes, rest: None })
    }

    async fn flush(&mut self, lanes: &[Lane]) -> Result<()> {
        let began = Instant::now();
        let mut work = Vec::new();
        for lane in lanes {
            let Some(batch) = self.lanes.get_mut(lane) else { continue };
            let fresh = Batch::at(batch.next);
            work.push((*lane, std::mem::replace(batch, fresh)));
        }
        let applier = &self.applier;
        let applied = work.into_iter().map(|(lane, batch)| beside(apply(applier.clone(), lane, batch)));
        let done: Vec<Done> = futures::stream::iter(applied).buffer_unordered(self.connections).try_collect().await?;
        for done in done {
            self.add(&done);
            if done.by_decoder + done.applied.refused.len() as u64 > 0 {
                self.ship(done.lane).await?;
                fault("after_outbox");
            }
            for letter in &done.applied.refused {
                self.guard.refuse(letter);
            }
            if let Some(poison) = done.applied.poison {
                return Err(self.end_by(done.lane, &poison));
            }
        }
        if let Some((lane, poison)) = self.poison.take_if(|(lane, _)| lanes.contains(lane)) {
            return Err(self.end_by(lane, &poison));
        }
        self.stats.took(Timed::Flush, began.elapsed());
        self.guard.check()
    }

    fn forget(&mut self, lanes: &[Lane]) {
        self.lanes.retain(|lane, _| !lanes.contains(lane));
        self.poison.take_if(|(lane, _)| lanes.contains(lane));
    }

    /// What ends the run is settled at once.
    fn is_full(&self, _lane: Lane) -> bool {
        self.poison.is_some()
    }

    fn held(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, Batch::held)
    }
}

struct Done {
    lane: Lane,
    events: u64,
    by_decoder: u64,
    bytes: u64,
    applied: Applied,
}

async fn apply(applier: Arc<Applier>, lane: Lane, batch: Batch) -> Result<Done> {
    let applied = applier.apply(lane, &batch).await?;
    let next = applied.poison.as_ref().map_or(batch.next, |poison| poison.offset);
    let events = batch.rows.events().partition_point(|event| event.offset < next);
    tracing::debug!(
        partition = lane,
        next,
        events,
        dead_letters = batch.refused.len() + applied.refused.len(),
        seconds = applied.time.as_secs_f64(),
        "applied a batch"
    );
    let (events, by_decoder) = (events as u64, batch.refused.len() as u64);
    Ok(Done { lane, events, by_decoder, bytes: batch.rows.bytes(), applied })
}
