//! A topic read from a fixed place without a group, for notebooks and checks.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, Watch, base_config, of_kafka, with_properties};
use super::message::Records;
use crate::config;
use crate::error::{Error, Kind, Result};

/// Reads partitions up to where they ended when the reader was made.
pub struct TopicReader {
    consumer: BaseConsumer<Watch>,
    /// Where each partition that is not read yet ends.
    ends: BTreeMap<i32, i64>,
    rows_left: Option<u64>,
    packs: BTreeMap<i32, Records>,
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Reads each partition from the place that `start` chooses of its first and last offset.
    ///
    /// # Errors
    /// When the broker cannot be reached or there is no such topic.
    pub fn new(
        kafka: &config::Kafka,
        topic: &str,
        rows: Option<u64>,
        mut start: impl FnMut(i32, (i64, i64)) -> Option<(i64, i64)>,
    ) -> Result<Self> {
        let client = Client::new(kafka, None)?;
        let mut config = base_config(kafka);
        config
            .set("group.id", "pipeline_core.reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "2");
        let config = with_properties(config, kafka);
        let consumer: BaseConsumer<Watch> =
            config.create_with_context(Watch::default()).map_err(|error| of_kafka("Cannot make a consumer", error))?;
        let mut list = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in 0..client.existing_partitions(topic)? {
            let Some((from, to)) = start(partition, client.watermarks(topic, partition)?) else { continue };
            if from < to {
                list.add_partition_offset(topic, partition, Offset::Offset(from))
                    .map_err(|error| of_kafka("Cannot read", error))?;
                ends.insert(partition, to);
            }
        }
        consumer.assign(&list).map_err(|error| of_kafka("Cannot read", error))?;
        Ok(Self { consumer, ends, rows_left: rows, packs: BTreeMap::new() })
    }

    /// The next messages of one partition, about `rows` of them; `None` when all have been read.
    ///
    /// # Errors
    /// When the broker refuses us, or `is_stopped` says so.
    pub fn next(&mut self, rows: usize, is_stopped: impl Fn() -> bool) -> Result<Option<(i32, Records)>> {
        loop {
            let is_done = self.ends.is_empty() || self.rows_left == Some(0);
            if is_done {
                return Ok(self.packs.pop_first());
            }
            if is_stopped() {
                return Err(Error::new(Kind::Unavailable, "Reading was stopped"));
            }
            match self.consumer.poll(Duration::from_millis(100)) {
                None => {
                    if let Some(pack) = self.packs.pop_first() {
                        return Ok(Some(pack));
                    }
                }
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = self.ends.get(&partition).copied() else { continue };
                    if offset + 1 >= end {
                        self.ends.remove(&partition);
                    }
                    if offset >= end {
                        continue;
                    }
                    let pack = self.packs.entry(partition).or_default();
                    pack.push(&message);
                    let is_full = pack.len() >= rows;
                    if let Some(left) = &mut self.rows_left {
                        *left -= 1;
                    }
                    if is_full {
                        return Ok(self.packs.remove(&partition).map(|pack| (partition, pack)));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ends.remove(&partition);
                }
                Some(Err(error)) => {
                    let error = of_kafka("Cannot read", error);
                    if let Some(trouble) = self.consumer.context().trouble.take_lasting() {
                        return Err(trouble);
                    }
                    if !error.is_transient() {
                        return Err(error);
                    }
                }
            }
        }
    }
}
