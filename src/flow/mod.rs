//! The spine: a source, a sink, and the one loop that joins them.
//!
//! Everything is counted by [`Lane`], a strand of a source that is read in order, flushed and committed
//! on its own: a Kafka partition, or a file. The loop promises that nothing is committed at the source before
//! it is durable in the sink, and that nothing becomes visible before the place where it ends has been logged.

mod checkpoints;
mod dead_letters;
mod drive;
mod headers;
mod ledger;
pub mod memory;
mod positions;
mod until;

use std::future::Future;

pub use checkpoints::{Checkpoints, FileCheckpoints};
pub use dead_letters::{DeadLetters, Guard, Origin, Refused};
pub use drive::{Ended, Policy, drive, drive_for};
pub use headers::{Headers, pack};
pub use ledger::{Admitted, Ledger, MOST_FAILURES};
pub use positions::Positions;
pub use until::Until;

use crate::error::Result;

/// A strand of a source: a partition, or 0 where there is only one.
pub type Lane = i32;

/// Where items come from.
pub trait Source: Send {
    type Batch: Send;
    /// How far a lane has been read; everything before it is done once it is committed.
    type Progress: Clone + Send + Sync + PartialEq;

    /// The next thing that happened. Cancel-safe: it is raced against time and stop.
    fn next(&mut self) -> impl Future<Output = Result<Event<Self::Batch, Self::Progress>>> + Send;

    /// Logs, fenced, where lanes will end, before anything of them becomes visible. Returns the lanes that
    /// are no longer ours. A source whose sink needs no cut has nothing to do.
    fn cut(&mut self, _cuts: &[Cut<Self::Progress>]) -> impl Future<Output = Result<Vec<Lane>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Forgets everything before the end of each cut. Returns the lanes that are no longer ours.
    fn commit(&mut self, cuts: &[Cut<Self::Progress>]) -> impl Future<Output = Result<Vec<Lane>>> + Send;

    /// These lanes have been settled or forgotten and may go to somebody else.
    fn release(&mut self, _lanes: &[Lane]) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// Where items go. Nothing written is durable, or visible, until `flush` returns.
pub trait Sink: Send {
    type Batch: Send;
    type Progress: Clone + Send + Sync;

    /// A lane begins. With `end`, an earlier owner has logged a cut there: the same must be written again.
    fn open(&mut self, _opening: Opening<Self::Progress>) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Takes a batch, or the first part of it up to a place where the lane must be settled first.
    fn write(
        &mut self,
        lane: Lane,
        batch: Self::Batch,
    ) -> impl Future<Output = Result<Written<Self::Batch, Self::Progress>>> + Send;

    /// Ends what was written of the lane at `end`; returns what a successor needs to write the same again.
    fn seal(&mut self, _lane: Lane, _end: &Self::Progress) -> impl Future<Output = Result<String>> + Send {
        async { Ok(String::new()) }
    }

    /// Makes everything written of these lanes durable, the refused records first.
    fn flush(&mut self, lanes: &[Lane]) -> impl Future<Output = Result<()>> + Send;

    /// Drops everything not yet flushed of these lanes: they belong to somebody else.
    fn forget(&mut self, _lanes: &[Lane]) {}

    /// True when the lane should be settled for reasons of the sink's own, e.g. its file has reached its size.
    fn is_full(&self, _lane: Lane) -> bool {
        false
    }

    /// Bytes of memory held for the lane.
    fn held(&self, _lane: Lane) -> usize {
        0
    }
}

/// What a source has to say.
#[derive(Debug)]
pub enum Event<B, P> {
    Opened(Opening<P>),
    Batch(Lane, B),
    /// The end of a cut that is being written again has been reached.
    Boundary(Lane, P),
    /// These lanes will move to somebody else: settle them, then `release`. Lost ones are gone already.
    Closing {
        lanes: Vec<Lane>,
        lost: bool,
    },
    /// Nothing to read just now.
    Idle,
    /// Nothing more to read, and why.
    End(String),
}

/// How a lane begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening<P> {
    pub lane: Lane,
    pub start: P,
    /// The end of a cut that was logged but not committed.
    pub end: Option<P>,
    /// The sink's note of the last cut, empty at the very first.
    pub note: String,
}

/// Where a lane is settled, with the sink's note for its successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut<P> {
    pub lane: Lane,
    pub end: P,
    pub note: String,
}

/// What a sink took of a batch.
#[derive(Debug)]
pub struct Written<B, P> {
    /// How far the lane has come; `None` when nothing was taken.
    pub reach: Option<P>,
    pub rows: u64,
    pub bytes: u64,
    /// What must be written after the lane has been settled.
    pub rest: Option<B>,
}
