//! Messages to files: for each partition the rows since its last cut, encoded as they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::transform::{Level, by_folder};
use crate::decode::rows::{Column, Options, Push, Record, Rows};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{DeadLetters, Guard, Lane, Opening, Refused, Sink, Written};
use crate::kafka::{Records, TopicDeadLetters};
use crate::stats::{Stats, Timed};
use crate::store::{EncodedFile, Encoders, Footer, Guarantee, Layout, ObjectName, Place, publish};

/// A batch is encoded at so many rows, or so many bytes of messages.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Files that are published at the same time.
const PUBLISHED_TOGETHER: usize = 3;

/// What a successor needs to write a cut again.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// When the cut was made, as object names say it.
    stamp: String,
    /// The settings that shape a file.
    shape: String,
    pub(super) is_typed: bool,
    pub(super) columns: Vec<Column>,
}

impl Note {
    /// Nothing where no run has noted anything.
    pub(super) fn read(note: &str) -> Result<Self> {
        if note.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(note)
            .map_err(|error| Error::new(Kind::DataLoss, format!("Cannot read what a former run noted: {error}")))
    }
}

#[derive(Debug)]
struct Open {
    start: i64,
    reach: i64,
    /// The stamp of a cut that is being written again.
    replay: Option<String>,
    stamp: String,
    rows: Rows,
    /// Files in the making, by folder.
    files: BTreeMap<String, EncodedFile>,
    refused: Vec<Refused>,
    taken: u64,
    /// No object of others was found where ours will be.
    is_checked: bool,
}

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) place: Place,
    pub(super) guarantee: Guarantee,
    pub(super) topic: Arc<str>,
    pub(super) prefix: String,
    pub(super) name: String,
    pub(super) layout: Layout,
    pub(super) encoders: Encoders,
    pub(super) levels: Vec<Level>,
    pub(super) options: Options,
    pub(super) flush_rows: Option<u64>,
    pub(super) flush_bytes: usize,
    pub(super) dead_letters: TopicDeadLetters,
    pub(super) guard: Guard,
    pub(super) stats: Arc<Stats>,
    pub(super) stop: CancellationToken,
}

/// The partitions' files.
#[derive(Debug)]
pub(super) struct TopicFiles {
    parts: Parts,
    lanes: BTreeMap<Lane, Open>,
    /// Objects published.
    pub(super) objects: u64,
}

/// A file that is ready, with its name and footer.
type Ready = (String, EncodedFile, Footer);

impl TopicFiles {
    #[must_use]
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, lanes: BTreeMap::new(), objects: 0 }
    }

    /// Everything that shapes a file; a cut can only be written again with the same.
    fn shape(&self) -> String {
        let Parts { prefix, name, layout, levels, options, .. } = &self.parts;
        format!(
            "to={} prefix={prefix} name={name} format={:?} compression={:?} partition_by={levels:?} metadata_prefix={:?} key_encoding={:?}",
            self.parts.place.url(""),
            layout.format,
            layout.compression,
            options.metadata_prefix.as_deref().unwrap_or_default(),
            options.key_encoding,
        )
    }

    fn read_note(&self, opening: &Opening<i64>) -> Result<Note> {
        let note = Note::read(&opening.note)?;
        let shape = self.shape();
        if opening.end.is_some() && note.shape != shape {
            return Err(Error::new(
                Kind::Conflict,
                format!("Partition {} has a cut that was begun with other settings: {}", opening.lane, note.shape),
            )
            .hint(format!("Run once with those settings, so that it can be finished. Now they are: {shape}")));
        }
        Ok(note)
    }

    fn encode(&mut self, lane: Lane) -> Result<()> {
        let Parts { layout, encoders, levels, options, .. } = &mut self.parts;
        let Some(open) = self.lanes.get_mut(&lane).filter(|open| !open.rows.is_empty()) else { return Ok(()) };
        let (rows, bytes) = (open.rows.len(), open.rows.bytes());
        let time = format!("{}time", options.metadata_prefix.as_deref().unwrap_or_default());
        for (folder, batch) in by_folder(open.rows.finish()?, levels, &time)? {
            let file = match open.files.entry(folder) {
                std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(encoders.begin(layout, batch.schema())?)
                }
            };
            // Bytes are shared out by rows: what matters is that the same rows give the same share.
            let share = bytes * batch.num_rows() / rows;
            file.write(batch, share)?;
        }
        Ok(())
    }

    /// Objects of others where ours will be would be rows twice.
    async fn check_neighbours(&mut self, lane: Lane, end: i64) -> Result<()> {
        let unchecked = self.lanes.values().any(|open| !open.is_checked);
        if !unchecked {
            return Ok(());
        }
        let Parts { place, prefix, name, topic, .. } = &self.parts;
        let there = place.objects_of(prefix, name, topic).await?;
        for (partition, open) in &mut self.lanes {
            // Only the lane at hand has an end; the others are looked at up to their start.
            let last = if *partition == lane { end - 1 } else { i64::MAX };
            let mine = |other: &ObjectName| {
                open.replay
                    .as_ref()
                    .is_some_and(|stamp| *stamp == other.stamp && other.first == open.start && other.last == last)
            };
            let stranger = there.iter().find(|(_, _, other)| {
                other.partition == *partition
                    && other.last >= open.start
                    && (*partition == lane || open.replay.is_none())
                    && !mine(other)
            });
            if let Some((path, _, other)) = stranger {
                let message = format!(
                    "{} holds offsets {} to {}, but the group says that {} is the next to be written",
                    place.full_url(path),
                    other.first,
                    other.last,
                    open.start
                );
                return Err(Error::new(Kind::Conflict, message)
                    .hint("Another group wrote here, or the group's offsets were reset: use a new folder, or remove those objects."));
            }
            open.is_checked |= *partition == lane || open.replay.is_none();
        }
        Ok(())
    }

    /// Ends the lane's files; a cut of refused records alone still gets a file, so that its offsets are accounted for.
    fn take_ready(&mut self, lane: Lane) -> Result<Vec<Ready>> {
        let Parts { layout, encoders, prefix, name, topic, .. } = &mut self.parts;
        let Some(open) = self.lanes.get_mut(&lane) else { return Ok(Vec::new()) };
        let mut files = std::mem::take(&mut open.files);
        if files.is_empty() {
            files.insert(String::new(), encoders.begin(layout, open.rows.finish()?.schema())?);
        }
        let object = ObjectName {
            name: name.clone(),
            stamp: open.stamp.clone(),
            topic: topic.to_string(),
            partition: lane,
            first: open.start,
            last: open.reach - 1,
            extension: layout.format.extension(),
        };
        let (count, rejected) = (files.len() as u64, open.refused.len() as u64);
        let ready = files.into_iter().map(|(folder, file)| {
            let footer = Footer {
                topic: topic.to_string(),
                partition: lane,
                first: object.first,
                last: object.last,
                rows: file.rows(),
                rejected,
                files: count,
            };
            (format!("{prefix}{folder}{}", object.file_name()), file, footer)
        });
        Ok(ready.collect())
    }
}

impl Sink for TopicFiles {
    type Batch = Records;
    type Progress = i64;

    async fn open(&mut self, opening: Opening<i64>) -> Result<()> {
        let note = self.read_note(&opening)?;
        let columns = if note.is_typed == self.parts.options.is_typed || opening.end.is_some() {
            note.columns
        } else {
            Vec::new()
        };
        let open = Open {
            start: opening.start,
            reach: opening.start,
            replay: opening.end.map(|_| note.stamp),
            stamp: String::new(),
            rows: Rows::new(self.parts.options.clone(), columns),
            files: BTreeMap::new(),
            refused: Vec::new(),
            taken: 0,
            is_checked: false,
        };
        self.lanes.insert(opening.lane, open);
        Ok(())
    }

    async fn write(&mut self, lane: Lane, mut records: Records) -> Result<Written<Records, i64>> {
        let (mut rows, mut bytes) = (0, 0);
        let mut is_cut = false;
        let mut reach = None;
        while let Some(open) = self.lanes.get_mut(&lane) {
            let is_replay = open.replay.is_some();
            let mut is_batch = false;
            let mut taken = 0;
            for record in records.iter() {
                if !is_replay && self.parts.flush_rows.is_some_and(|most| open.taken >= most) {
                    is_cut = true;
                    break;
                }
                let may_grow = open.files.is_empty() && !is_replay;
                let row = Record {
                    partition: lane,
                    offset: record.offset,
                    time: record.time,
                    key: record.key,
                    value: record.value,
                };
                match open.rows.push(row, may_grow)? {
                    Push::Added => self.parts.guard.accept(1),
                    Push::NewColumns => {
                        is_cut = true;
                        break;
                    }
                    Push::Refused(reason) => {
                        let refused = record.refuse(&self.parts.topic, lane, reason);
                        self.parts.guard.refuse(&refused);
                        open.refused.push(refused);
                    }
                }
                taken += 1;
                bytes += (record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len)) as u64;
                open.taken += 1;
                open.reach = record.offset + 1;
                reach = Some(open.reach);
                if open.rows.len() >= BATCH_ROWS || open.rows.bytes() >= BATCH_BYTES {
                    is_batch = true;
                    break;
                }
            }
            records.advance(taken);
            rows += taken as u64;
            if !is_batch {
                break;
            }
            self.encode(lane)?;
        }
        self.parts.stats.rows_read.add(rows);
        self.parts.stats.bytes_read.add(bytes);
        if let Err(error) = self.parts.guard.check() {
            let refused = self.lanes.values_mut().flat_map(|open| std::mem::take(&mut open.refused)).collect();
            self.parts.dead_letters.send(refused).await?;
            return Err(error);
        }
        Ok(Written { reach, rows, bytes, rest: is_cut.then_some(records) })
    }

    async fn seal(&mut self, lane: Lane, end: &i64) -> Result<String> {
        self.encode(lane)?;
        self.check_neighbours(lane, *end).await?;
        let shape = self.shape();
        let is_typed = self.parts.options.is_typed;
        let open = self.lanes.get_mut(&lane).ok_or_else(|| Error::internal("A lane was sealed that is not open"))?;
        open.reach = *end;
        open.stamp = open.replay.take().unwrap_or_else(|| ObjectName::stamp(Utc::now()));
        let note = Note { stamp: open.stamp.clone(), shape, is_typed, columns: open.rows.columns() };
        serde_json::to_string(&note).map_err(|error| Error::internal(format!("A note cannot be written: {error}")))
    }

    async fn flush(&mut self, lanes: &[Lane]) -> Result<()> {
        let began = Instant::now();
        let mut ready = Vec::new();
        let mut refused = Vec::new();
        for lane in lanes {
            ready.append(&mut self.take_ready(*lane)?);
            if let Some(open) = self.lanes.get_mut(lane) {
                refused.append(&mut open.refused);
            }
        }
        self.parts.stats.rows_rejected.add(refused.len() as u64);
        self.parts.dead_letters.send(refused).await?;
        let Parts { place, guarantee, stop, stats, .. } = &self.parts;
        let published = stream::iter(ready).map(async |(name, file, footer)| {
            let finished = file.finish(footer.clone()).await?;
            fault("before_object");
            let size = publish(place, &name, finished, &footer, *guarantee, stop).await?;
            fault("after_object");
            stats.rows_written.add(footer.rows);
            stats.bytes_written.add(size);
            Ok::<_, Error>(())
        });
        let published: Vec<()> = published.buffer_unordered(PUBLISHED_TOGETHER).try_collect().await?;
        self.objects += published.len() as u64;
        for lane in lanes {
            if let Some(open) = self.lanes.get_mut(lane) {
                open.start = open.reach;
                open.taken = 0;
            }
        }
        self.parts.stats.took(Timed::Flush, began.elapsed());
        Ok(())
    }

    fn forget(&mut self, lanes: &[Lane]) {
        self.lanes.retain(|lane, _| !lanes.contains(lane));
    }

    fn is_full(&self, lane: Lane) -> bool {
        self.lanes.get(&lane).is_some_and(|open| {
            self.parts.flush_rows.is_some_and(|most| open.taken >= most)
                || open.files.values().map(EncodedFile::size).sum::<usize>() >= self.parts.flush_bytes
        })
    }

    fn held(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, |open| {
            open.rows.held()
                + open.files.values().map(EncodedFile::held).sum::<usize>()
                + open.refused.iter().map(Refused::held).sum::<usize>()
        })
    }
}
