//! Messages to the newest snapshot of each order.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::decode::walmart::{Head, Parser};
use crate::flow::{Headers, Lane, Refused};
use crate::kafka::Record;

/// What makes one snapshot of an order newer than another, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Version {
    /// The newest of the lines, in milliseconds.
    pub(super) status_date: Option<i64>,
    /// In seconds.
    pub(super) request_time: Option<i64>,
    pub(super) offset: i64,
}

/// An order that waits for its transaction.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) id: i64,
    pub(super) version: Version,
    /// Of the JSON, so that the same content is known again.
    pub(super) fingerprint: [u8; 16],
    pub(super) json: Box<[u8]>,
    /// The message's, for the dead letters.
    pub(super) key: Option<Box<[u8]>>,
    pub(super) headers: Headers,
    pub(super) time: Option<i64>,
}

impl Snapshot {
    fn held(&self) -> usize {
        size_of::<Self>() + 32 + self.json.len() + self.headers.held()
    }
}

/// What has been read of a lane and not been loaded.
#[derive(Debug, Default)]
pub(super) struct Batch {
    orders: HashMap<i64, Snapshot>,
    pub(super) refused: Vec<Refused>,
    /// Where the lane goes on after it.
    pub(super) next: i64,
    /// Orders read, the older snapshots too.
    pub(super) read: u64,
    pub(super) older: u64,
    pub(super) held: usize,
}

impl Batch {
    pub(super) fn at(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Takes a message. Returns how many orders it held, and how many of them were refused.
    pub(super) fn take<'a>(
        &mut self,
        parser: &mut Parser<'a>,
        record: Record<'a>,
        topic: &str,
        lane: Lane,
    ) -> (u64, Vec<Refused>) {
        self.next = record.offset + 1;
        let Some(value) = record.value else {
            return (0, vec![record.refuse(topic, lane, "The message has no value")]);
        };
        let (mut accepted, mut refused) = (0, Vec::new());
        parser.read(value, |outcome| match outcome {
            Ok(head) => {
                accepted += 1;
                self.add(&head, record);
            }
            Err(order) => {
                let reason = format!("{}: {}", order.path, order.reason);
                refused.push(Record { value: Some(order.text), ..record }.refuse(topic, lane, reason));
            }
        });
        parser.clear();
        (accepted, refused)
    }

    fn add(&mut self, head: &Head<'_>, record: Record<'_>) {
        self.read += 1;
        let version = Version { status_date: head.status_date, request_time: head.request_time, offset: record.offset };
        if let Some(known) = self.orders.get(&head.id) {
            self.older += 1;
            if known.version > version {
                return;
            }
            self.held -= known.held();
        }
        let snapshot = Snapshot {
            id: head.id,
            version,
            fingerprint: xxh3_128(head.text.as_bytes()).to_be_bytes(),
            json: head.text.as_bytes().into(),
            key: record.key.map(Into::into),
            headers: record.headers.to_owned(),
            time: record.time,
        };
        self.held += snapshot.held();
        self.orders.insert(head.id, snapshot);
    }

    pub(super) fn refuse(&mut self, refused: Vec<Refused>) {
        self.held += refused.iter().map(Refused::held).sum::<usize>();
        self.refused.extend(refused);
    }

    /// The orders by their id, so that transactions side by side lock rows in one order.
    pub(super) fn sorted(&mut self) -> Vec<Snapshot> {
        let mut orders: Vec<Snapshot> = std::mem::take(&mut self.orders).into_values().collect();
        orders.sort_unstable_by_key(|order| order.id);
        orders
    }
}
