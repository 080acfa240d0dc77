//! The loop: read, write, log the cut, flush, then commit. The only place where that order is written.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Cut, Event, Lane, Opening, Sink, Source};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;

/// When a lane is settled, whichever comes first; also at the end, on a stop, and before it is handed over.
#[derive(Debug, Clone)]
pub struct Policy {
    pub rows: Option<u64>,
    /// Bytes as read.
    pub bytes: Option<u64>,
    pub age: Duration,
    /// Settle when nothing more has come for so long.
    pub idle: Option<Duration>,
    /// What the sink may hold over all lanes; past it the largest lane is settled.
    pub memory: usize,
    /// A lane that is due takes the others along: for a sink that makes them durable side by side.
    pub together: bool,
}

/// How a drive ended; everything read has been settled.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source had no more, and says why.
    Source(String),
    Stopped,
}

struct Open<P> {
    /// How far the lane has been written since it was last settled.
    reach: Option<P>,
    rows: u64,
    bytes: u64,
    first: Instant,
    last: Instant,
    /// An earlier owner's cut is being written again: it must not end anywhere else.
    is_replay: bool,
}

impl<P> Open<P> {
    fn new(is_replay: bool) -> Self {
        let now = Instant::now();
        Self { reach: None, rows: 0, bytes: 0, first: now, last: now, is_replay }
    }

    fn deadline(&self, policy: &Policy) -> Option<Instant> {
        if self.reach.is_none() || self.is_replay {
            return None;
        }
        let by_age = self.first + policy.age;
        Some(policy.idle.map_or(by_age, |idle| by_age.min(self.last + idle)))
    }

    fn is_due(&self, policy: &Policy, now: Instant) -> bool {
        self.deadline(policy).is_some_and(|deadline| deadline <= now)
            || (!self.is_replay
                && (policy.rows.is_some_and(|rows| self.rows >= rows)
                    || policy.bytes.is_some_and(|bytes| self.bytes >= bytes)))
    }
}

/// Drives until the source ends or `stop` is cancelled; then settles everything it has read.
///
/// # Errors
/// Whatever the source or sink cannot get over. What was not committed is read again by the next drive.
pub async fn drive<S, K>(source: &mut S, sink: &mut K, policy: &Policy, stop: &CancellationToken) -> Result<Ended>
where
    S: Source,
    K: Sink<Batch = S::Batch, Progress = S::Progress>,
{
    let mut drive = Drive { source, sink, policy, lanes: BTreeMap::new() };
    loop {
        let deadline = drive.lanes.values().filter_map(|lane| lane.deadline(policy)).min();
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = until(deadline) => Some(Event::Idle),
            event = drive.source.next() => Some(event?),
        };
        match event {
            Some(Event::Opened(opening)) => drive.open(opening).await?,
            Some(Event::Batch(lane, batch)) => drive.write(lane, batch).await?,
            Some(Event::Boundary(lane, end)) => drive.finish_replay(lane, end).await?,
            Some(Event::Closing { lanes, lost }) => drive.close(lanes, lost).await?,
            Some(Event::Idle) => drive.settle_due().await?,
            Some(Event::End(reason)) => {
                drive.settle_all().await?;
                return Ok(Ended::Source(reason));
            }
            None => {
                drive.settle_all().await?;
                return Ok(Ended::Stopped);
            }
        }
    }
}

/// The same, for so long at most.
///
/// # Errors
/// As `drive`.
pub async fn drive_for<S, K>(
    source: &mut S,
    sink: &mut K,
    policy: &Policy,
    stop: &CancellationToken,
    time: Option<Duration>,
) -> Result<Ended>
where
    S: Source,
    K: Sink<Batch = S::Batch, Progress = S::Progress>,
{
    let over = stop.child_token();
    let driven = drive(source, sink, policy, &over);
    let Some(time) = time else { return driven.await };
    tokio::pin!(driven);
    tokio::select! {
        ended = &mut driven => ended,
        () = tokio::time::sleep(time) => {
            over.cancel();
            driven.await
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Drive<'a, S: Source, K> {
    source: &'a mut S,
    sink: &'a mut K,
    policy: &'a Policy,
    lanes: BTreeMap<Lane, Open<S::Progress>>,
}

impl<S, K> Drive<'_, S, K>
where
    S: Source,
    K: Sink<Batch = S::Batch, Progress = S::Progress>,
{
    async fn open(&mut self, opening: Opening<S::Progress>) -> Result<()> {
        self.lanes.insert(opening.lane, Open::new(opening.end.is_some()));
        self.sink.open(opening).await
    }

    async fn write(&mut self, lane: Lane, batch: S::Batch) -> Result<()> {
        let mut rest = Some(batch);
        while let Some(batch) = rest {
            // A batch of a lane that was lost meanwhile belongs to its new owner.
            let Some(open) = self.lanes.get_mut(&lane) else { return Ok(()) };
            let written = self.sink.write(lane, batch).await?;
            let now = Instant::now();
            if open.reach.is_none() {
                open.first = now;
            }
            open.last = now;
            open.rows += written.rows;
            open.bytes += written.bytes;
            open.reach = written.reach.or_else(|| open.reach.take());
            rest = written.rest;
            if rest.is_some() && open.is_replay {
                return Err(Error::new(
                    Kind::Conflict,
                    "The records of a logged cut do not fit the schema logged with it",
                )
                .hint("Were records of this topic deleted, or the topic made again? Start with a new group id."));
            }
            let must_settle = rest.is_some() || open.is_due(self.policy, now);
            if must_settle || (!open.is_replay && self.sink.is_full(lane)) {
                self.settle_with(&[lane]).await?;
            }
        }
        self.spare_memory().await
    }

    async fn spare_memory(&mut self) -> Result<()> {
        loop {
            let held: Vec<(usize, Lane)> = self.lanes.keys().map(|lane| (self.sink.held(*lane), *lane)).collect();
            if held.iter().map(|(bytes, _)| bytes).sum::<usize>() <= self.policy.memory {
                return Ok(());
            }
            let largest = held.iter().filter(|(bytes, lane)| *bytes > 0 && !self.lanes[lane].is_replay).max();
            let Some((_, lane)) = largest else { return Ok(()) };
            self.settle(&[*lane]).await?;
        }
    }

    async fn finish_replay(&mut self, lane: Lane, end: S::Progress) -> Result<()> {
        let Some(open) = self.lanes.get_mut(&lane) else { return Ok(()) };
        open.reach = Some(end);
        open.is_replay = false;
        self.settle(&[lane]).await
    }

    /// A half-read replay is dropped: its cut stands, and the next owner writes it.
    async fn close(&mut self, lanes: Vec<Lane>, lost: bool) -> Result<()> {
        if !lost {
            self.settle(&lanes).await?;
        }
        self.forget(&lanes);
        self.source.release(&lanes).await
    }

    async fn settle_due(&mut self) -> Result<()> {
        let now = Instant::now();
        let due = self.lanes.iter().filter(|(_, open)| open.is_due(self.policy, now));
        let due: Vec<Lane> = due.map(|(lane, _)| *lane).collect();
        self.settle_with(&due).await
    }

    async fn settle_with(&mut self, due: &[Lane]) -> Result<()> {
        if self.policy.together && !due.is_empty() { self.settle_all().await } else { self.settle(due).await }
    }

    async fn settle_all(&mut self) -> Result<()> {
        let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        self.settle(&lanes).await
    }

    async fn settle(&mut self, lanes: &[Lane]) -> Result<()> {
        let mut cuts = Vec::new();
        for lane in lanes {
            let Some(open) = self.lanes.get(lane).filter(|open| !open.is_replay) else { continue };
            if let Some(end) = open.reach.clone() {
                let note = self.sink.seal(*lane, &end).await?;
                cuts.push(Cut { lane: *lane, end, note });
            }
        }
        if cuts.is_empty() {
            return Ok(());
        }
        fault("before_cut");
        let lost = self.source.cut(&cuts).await?;
        fault("after_cut");
        self.forget(&lost);
        cuts.retain(|cut| !lost.contains(&cut.lane));
        if cuts.is_empty() {
            return Ok(());
        }
        let kept: Vec<Lane> = cuts.iter().map(|cut| cut.lane).collect();
        self.sink.flush(&kept).await?;
        fault("before_commit");
        let lost = self.source.commit(&cuts).await?;
        fault("after_commit");
        for cut in cuts {
            self.lanes.insert(cut.lane, Open::new(false));
        }
        self.forget(&lost);
        Ok(())
    }

    fn forget(&mut self, lanes: &[Lane]) {
        self.lanes.retain(|lane, _| !lanes.contains(lane));
        self.sink.forget(lanes);
    }
}
