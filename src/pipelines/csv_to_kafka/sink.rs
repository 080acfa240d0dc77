//! Rows out to a topic, as JSON.

use std::sync::Arc;
use std::time::Instant;

use super::source::{Batch, Position};
use super::transform::Encoder;
use crate::decode::csv::{Problem, Row};
use crate::error::{Kind, Result};
use crate::flow::{DeadLetters, Guard, Lane, Origin, Refused, Sink, Written};
use crate::kafka::{Outgoing, Producer, TopicDeadLetters};
use crate::stats::{Stats, Timed};

#[derive(Debug)]
pub(super) struct RowsToTopic<'a> {
    pub(super) file: &'a str,
    pub(super) topic: &'a str,
    pub(super) encoder: Encoder,
    pub(super) producer: Arc<Producer>,
    pub(super) dead_letters: &'a mut TopicDeadLetters,
    pub(super) guard: &'a mut Guard,
    pub(super) refused: Vec<Refused>,
    /// Rows handed to the producer and not flushed yet.
    pub(super) sent: u64,
    pub(super) stats: Arc<Stats>,
    pub(super) payload: Vec<u8>,
}

impl RowsToTopic<'_> {
    fn send(&mut self, batch: &Batch, row: &Row) -> Result<()> {
        let raw = batch.rows.raw(row);
        let reason = match row.problem {
            Some(Problem::OpenQuote) => {
                Err("A quote is opened and the row that it makes does not fit the header".to_owned())
            }
            Some(Problem::TooLong) => Err("The line is longer than the memory limit allows".to_owned()),
            None => {
                self.payload.clear();
                self.encoder.encode(batch.rows.fields(row), raw, batch.charset, &mut self.payload)
            }
        };
        if let Err(reason) = reason {
            self.refuse(raw.to_vec(), reason, row);
            return Ok(());
        }
        let key = self.encoder.key().and_then(|at| batch.rows.fields(row).nth(at)).filter(|key| !key.is_empty());
        let key = key.and_then(|key| batch.charset.decode(key));
        let outgoing = Outgoing {
            key: key.as_ref().map(|key| key.as_bytes()),
            value: Some(&self.payload),
            ticket: usize::try_from(row.line).unwrap_or(usize::MAX),
            ..Outgoing::default()
        };
        match self.producer.send(self.topic, outgoing) {
            Err(error) if error.kind() == Kind::Rejected => {
                self.refuse(
                    raw.to_vec(),
                    format!("The row is larger than the topic takes: {} bytes", self.payload.len()),
                    row,
                );
            }
            other => {
                other?;
                self.sent += 1;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, value: Vec<u8>, reason: String, row: &Row) {
        let origin = Origin::File { name: self.file.to_owned(), line: row.line, byte: row.start };
        self.add_refused(Refused::new(None, Some(value), reason, origin));
    }

    fn add_refused(&mut self, refused: Refused) {
        self.guard.refuse(&refused);
        self.stats.rows_rejected.add(1);
        self.refused.push(refused);
    }
}

impl Sink for RowsToTopic<'_> {
    type Batch = Batch;
    type Progress = Position;

    async fn write(&mut self, _lane: Lane, batch: Batch) -> Result<Written<Batch, Position>> {
        let rows = batch.range.len() as u64;
        let refused = self.refused.len();
        let (mut bytes, mut written) = (0, 0);
        for (at, row) in batch.rows.iter().enumerate().skip(batch.range.start).take(batch.range.len()) {
            self.send(&batch, row)?;
            written += self.payload.len() as u64;
            bytes += row.end - row.start;
            if at % 256 == 0 {
                self.producer.poll()?;
            }
        }
        self.producer.poll()?;
        self.stats.rows_read.add(rows);
        self.stats.bytes_written.add(written);
        self.guard.accept(rows - (self.refused.len() - refused) as u64);
        if let Err(error) = self.guard.check() {
            self.dead_letters.send(std::mem::take(&mut self.refused)).await?;
            return Err(error);
        }
        Ok(Written { reach: Some(batch.end), rows, bytes, rest: None })
    }

    async fn flush(&mut self, _lanes: &[Lane]) -> Result<()> {
        let began = Instant::now();
        self.producer.flush()?;
        let too_large = self.producer.take_too_large();
        self.stats.rows_written.add(std::mem::take(&mut self.sent) - too_large.len() as u64);
        for large in too_large {
            let origin = Origin::File { name: self.file.to_owned(), line: large.ticket as u64, byte: 0 };
            self.add_refused(Refused::new(large.key, large.value, "The row is larger than the topic takes", origin));
        }
        self.dead_letters.send(std::mem::take(&mut self.refused)).await?;
        self.stats.took(Timed::Flush, began.elapsed());
        self.guard.check()
    }

    fn held(&self, _lane: Lane) -> usize {
        self.refused.iter().map(Refused::held).sum()
    }
}
