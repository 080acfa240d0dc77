//! Messages of one partition, packed: one allocation for many, out of librdkafka's hands.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedMessage, Headers as _, Message};

use crate::flow::{Headers, Lane, Origin, Refused, pack};

/// Messages of one partition in order of offset.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// How many at the front have been taken.
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    time: Option<i64>,
    /// Where the message ends in `bytes`; the key comes first, then the value, then the headers.
    end: usize,
    key: Option<usize>,
    has_value: bool,
    headers: u32,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970.
    pub time: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<&'a [u8]>,
}

impl Record<'_> {
    /// All of it, for the dead letters.
    #[must_use]
    pub fn refuse(&self, topic: &str, partition: Lane, reason: impl Into<String>) -> Refused {
        let origin = Origin::Topic { topic: topic.to_owned(), partition, offset: self.offset };
        let (key, value) = (self.key.map(<[u8]>::to_vec), self.value.map(<[u8]>::to_vec));
        Refused { headers: self.headers.to_owned(), time: self.time, ..Refused::new(key, value, reason, origin) }
    }
}

impl Records {
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let key = message.key();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(message.payload().unwrap_or_default());
        let headers = self.push_headers(message);
        self.entries.push(Entry {
            offset: message.offset(),
            time: message.timestamp().to_millis(),
            end: self.bytes.len(),
            key: key.map(<[u8]>::len),
            has_value: message.payload().is_some(),
            headers,
        });
    }

    /// Returns how many bytes they take.
    fn push_headers(&mut self, message: &BorrowedMessage<'_>) -> u32 {
        let Some(headers) = message.headers() else { return 0 };
        let start = self.bytes.len();
        for at in 0..headers.count() {
            // A name that is not UTF-8 makes rdkafka panic.
            match catch_unwind(AssertUnwindSafe(|| headers.try_get(at))) {
                Ok(Some(header)) => pack(&mut self.bytes, header.key, header.value),
                Ok(None) => {}
                Err(_) => tracing::warn!(offset = message.offset(), "a header whose name is not UTF-8 is left out"),
            }
        }
        u32::try_from(self.bytes.len() - start).unwrap_or_default()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.taken
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys, values and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub fn last_offset(&self) -> Option<i64> {
        self.entries[self.taken..].last().map(|entry| entry.offset)
    }

    /// Takes those with offsets of `end` and after out into a pack of their own.
    pub(super) fn split_off(&mut self, end: i64) -> Self {
        let at = self.entries.partition_point(|entry| entry.offset < end);
        let start = if at == 0 { 0 } else { self.entries[at - 1].end };
        let bytes = self.bytes.split_off(start);
        let mut entries = self.entries.split_off(at);
        for entry in &mut entries {
            entry.end -= start;
        }
        self.taken = self.taken.min(at);
        Self { bytes, entries, taken: 0 }
    }

    /// Drops those with offsets before `start`.
    pub(super) fn skip_before(&mut self, start: i64) {
        self.taken += self.entries[self.taken..].iter().take_while(|entry| entry.offset < start).count();
    }

    /// Keeps so many of those not taken yet.
    pub(super) fn keep(&mut self, rows: usize) {
        self.entries.truncate(self.taken + rows);
    }

    /// Marks so many more at the front as taken.
    pub fn advance(&mut self, rows: usize) {
        self.taken += rows;
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (self.taken..self.entries.len()).map(|at| self.record(at))
    }

    /// The message of that offset, also where it has been taken.
    #[must_use]
    pub fn find(&self, offset: i64) -> Option<Record<'_>> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        Some(self.record(at))
    }

    fn record(&self, at: usize) -> Record<'_> {
        let entry = &self.entries[at];
        let start = if at == 0 { 0 } else { self.entries[at - 1].end };
        let message = &self.bytes[start..entry.end];
        let (message, headers) = message.split_at(message.len() - entry.headers as usize);
        let (key, value) = message.split_at(entry.key.unwrap_or(0));
        Record {
            offset: entry.offset,
            time: entry.time,
            key: entry.key.map(|_| key),
            value: entry.has_value.then_some(value),
            headers: Headers::packed(headers),
        }
    }
}
