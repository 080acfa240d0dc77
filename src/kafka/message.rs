//! Messages of one partition, packed: one allocation for many, out of librdkafka's hands.

use rdkafka::message::{BorrowedMessage, Message};

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
    /// Where the message ends in `bytes`; the key comes first, then the value.
    end: usize,
    key: Option<usize>,
    has_value: bool,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970.
    pub time: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

impl Records {
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let key = message.key();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(message.payload().unwrap_or_default());
        self.entries.push(Entry {
            offset: message.offset(),
            time: message.timestamp().to_millis(),
            end: self.bytes.len(),
            key: key.map(<[u8]>::len),
            has_value: message.payload().is_some(),
        });
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.taken
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and values.
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
        let mut start = if self.taken == 0 { 0 } else { self.entries[self.taken - 1].end };
        self.entries[self.taken..].iter().map(move |entry| {
            let message = &self.bytes[start..entry.end];
            start = entry.end;
            let (key, value) = message.split_at(entry.key.unwrap_or(0));
            Record {
                offset: entry.offset,
                time: entry.time,
                key: entry.key.map(|_| key),
                value: entry.has_value.then_some(value),
            }
        })
    }
}
