//! Documents put together to portions, each of which is settled at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::Config;
use super::delivery::Portion;
use super::transform::{Encoder, Made, Message};
use crate::error::{Error, Result};
use crate::fault::fault;
use crate::flow::Headers;
use crate::stats::Counter;

/// What the reader has to say.
pub(super) enum Next<P> {
    Portion(Portion<P>),
    End(&'static str),
}

/// What was seen on the way, for the report.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Read again, and not sent again.
    pub(super) duplicates: Counter,
    pub(super) without_field: Counter,
    pub(super) waiting: Counter,
    pub(super) vanished: Counter,
    pub(super) left_out: Counter,
    pub(super) documents: Counter,
    /// Of a snapshot or of a gap.
    pub(super) read_over: Counter,
}

pub(super) struct Assembly<P> {
    encoder: Encoder,
    give: mpsc::Sender<Result<Next<P>>>,
    counts: Arc<Counts>,
    rows: usize,
    bytes: usize,
    age: Duration,
    messages: Vec<Message>,
    refused: Vec<crate::flow::Refused>,
    read: u64,
    bytes_read: u64,
    held: usize,
    since: Option<Instant>,
}

impl<P> Assembly<P> {
    pub(super) fn new(
        config: &Config,
        encoder: Encoder,
        give: mpsc::Sender<Result<Next<P>>>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            encoder,
            give,
            counts,
            rows: usize::try_from(config.transaction_rows).unwrap_or(usize::MAX),
            // One is put together, one waits, and one is on its way.
            bytes: config.memory_limit / 16,
            age: Duration::from_secs_f64(config.transaction_seconds),
            messages: Vec::new(),
            refused: Vec::new(),
            read: 0,
            bytes_read: 0,
            held: 0,
            since: None,
        }
    }

    /// How many more documents it takes.
    pub(super) fn room(&self) -> usize {
        self.rows.saturating_sub(self.messages.len() + self.refused.len()).max(1)
    }

    /// Something was read, whatever comes of it.
    pub(super) fn count(&mut self, read: u64, bytes: u64) {
        self.read += read;
        self.bytes_read += bytes;
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn add(&mut self, documents: &[(&[u8], Headers)]) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        for made in tokio::task::block_in_place(|| self.encoder.encode(documents))? {
            match made {
                Made::Message(message) => self.push(message),
                Made::LeftOut => self.counts.left_out.add(1),
                Made::Refused(refused) => {
                    self.held += refused.held();
                    self.refused.push(refused);
                }
            }
        }
        self.counts.documents.add(documents.len() as u64);
        Ok(())
    }

    /// A message that needs no encoder.
    pub(super) fn push(&mut self, message: Message) {
        self.held += message.key.len() + message.value.as_ref().map_or(0, Vec::len) + message.headers.held();
        self.messages.push(message);
    }

    /// When what is here has to go, though it is little.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + self.age)
    }

    pub(super) fn is_due(&self) -> bool {
        self.messages.len() + self.refused.len() >= self.rows
            || self.held >= self.bytes
            || self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whoever takes it has nothing else to do.
    pub(super) fn is_wanted(&self) -> bool {
        self.give.capacity() > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// Hands on what is here. False when nobody takes it any more.
    pub(super) async fn hand_on(&mut self, progress: P) -> bool {
        fault("after_read");
        let portion = Portion {
            messages: std::mem::take(&mut self.messages),
            refused: std::mem::take(&mut self.refused),
            progress,
            read: std::mem::take(&mut self.read),
            bytes_read: std::mem::take(&mut self.bytes_read),
        };
        (self.held, self.since) = (0, None);
        self.give.send(Ok(Next::Portion(portion))).await.is_ok()
    }

    pub(super) async fn finish(&self, outcome: Result<&'static str>) {
        let _ = self.give.send(outcome.map(Next::End)).await;
    }

    pub(super) fn gone() -> Error {
        Error::internal("Nobody takes what is read")
    }
}
