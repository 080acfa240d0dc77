//! Orders out to the tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::load::{Loaded, Loader};
use super::transform::Batch;
use crate::decode::walmart::{Parser, Rules, Table};
use crate::error::{Error, Result};
use crate::fault::fault;
use crate::flow::{DeadLetters, Guard, Lane, Opening, Refused, Sink, Written};
use crate::kafka::{Records, TopicDeadLetters};
use crate::pipelines::loading::beside;
use crate::stats::{Stats, Timed};

pub(super) struct OrdersToTables {
    pub(super) loader: Arc<Loader>,
    pub(super) rules: Rules,
    pub(super) lanes: BTreeMap<Lane, Batch>,
    /// Partitions that are loaded at once.
    pub(super) connections: usize,
    pub(super) dead_letters: Mutex<TopicDeadLetters>,
    pub(super) guard: Guard,
    pub(super) stats: Arc<Stats>,
    pub(super) total: Total,
}

/// What a run has done, for its report.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) loaded: Loaded,
    pub(super) dead_letters: u64,
    pub(super) values_cut: u64,
}

impl OrdersToTables {
    /// Sends what stands in the outbox to the dead-letter topic.
    async fn ship(&mut self, lane: Lane) -> Result<()> {
        self.total.dead_letters += self.loader.outbox.ship(&self.loader.positions, lane, &self.dead_letters).await?;
        fault("after_outbox");
        Ok(())
    }
}

impl Sink for OrdersToTables {
    type Batch = Records;
    type Progress = i64;

    /// Letters of a former owner that were committed and not sent go out first.
    async fn open(&mut self, opening: Opening<i64>) -> Result<()> {
        let Loader { outbox, positions, .. } = &*self.loader;
        self.total.dead_letters += outbox.ship(positions, opening.lane, &self.dead_letters).await?;
        self.lanes.insert(opening.lane, Batch::at(opening.start));
        Ok(())
    }

    async fn write(&mut self, lane: Lane, records: Records) -> Result<Written<Records, i64>> {
        let Some(batch) = self.lanes.get_mut(&lane) else { return Err(Error::internal("A lane was never opened")) };
        let mut parser = Parser::new(&self.rules);
        let (mut rows, mut bytes) = (0, 0);
        for record in records.iter() {
            rows += 1;
            bytes += record.value.map_or(0, <[u8]>::len) as u64;
            let (accepted, refused) = batch.take(&mut parser, record, &self.loader.topic, lane);
            self.guard.accept(accepted);
            for letter in &refused {
                self.guard.refuse(letter);
            }
            batch.refuse(refused);
        }
        let next = batch.next;
        self.total.values_cut += parser.values_cut();
        self.stats.rows_read.add(rows);
        self.stats.bytes_read.add(bytes);
        if let Err(error) = self.guard.check() {
            let letters = self.lanes.values_mut().flat_map(|batch| std::mem::take(&mut batch.refused)).collect();
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
        let loader = &self.loader;
        let loads = work.into_iter().map(|(lane, batch)| beside(load(loader.clone(), lane, batch)));
        let done: Vec<Done> = futures::stream::iter(loads).buffer_unordered(self.connections).try_collect().await?;
        for done in done {
            self.stats.took(Timed::Transaction, done.time);
            self.total.loaded.add(&done.loaded);
            self.stats.rows_written.add(done.loaded.rows[Table::Order as usize]);
            self.stats.bytes_written.add(done.bytes);
            self.stats.rows_rejected.add(done.letters);
            if done.letters > 0 {
                self.ship(done.lane).await?;
            }
            for letter in &done.by_database {
                self.guard.refuse(letter);
            }
        }
        self.stats.took(Timed::Flush, began.elapsed());
        self.guard.check()
    }

    fn forget(&mut self, lanes: &[Lane]) {
        self.lanes.retain(|lane, _| !lanes.contains(lane));
    }

    fn held(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, |batch| batch.held)
    }
}

struct Done {
    lane: Lane,
    loaded: Loaded,
    letters: u64,
    /// Those of the letters that the parser had accepted.
    by_database: Vec<Refused>,
    bytes: u64,
    time: Duration,
}

async fn load(loader: Arc<Loader>, lane: Lane, mut batch: Batch) -> Result<Done> {
    let begun = Instant::now();
    let orders = batch.sorted();
    let mut letters = std::mem::take(&mut batch.refused);
    let by_parser = letters.len();
    let mut loaded = loader.load(lane, batch.next, &orders, &mut letters).await?;
    loaded.older += batch.older;
    let time = begun.elapsed();
    tracing::debug!(
        partition = lane,
        next = batch.next,
        orders = orders.len(),
        dead_letters = letters.len(),
        seconds = time.as_secs_f64(),
        "loaded a batch"
    );
    let bytes = orders.iter().map(|order| order.json.len() as u64).sum();
    let count = letters.len() as u64;
    Ok(Done { lane, loaded, letters: count, by_database: letters.split_off(by_parser), bytes, time })
}
