//! A topic as a source: a lane for each partition, cuts and positions kept by the consumer group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::sync::CancellationToken;

use super::client::{ASK, Client, base_config, of_kafka, with_properties};
use super::fence::Breath;
use super::message::Records;
use super::note;
use super::poller::{GroupConsumer, Polled, Poller, Rebalances, give_back, take_over};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::flow::{Cut, Event, Lane, Opening, Source, Until};
use crate::retry::patiently;
use crate::stats::Stats;

#[derive(Debug, Clone)]
pub struct SourceSettings {
    pub topic: String,
    pub group_id: String,
    /// Where a group without a position begins.
    pub from_earliest: bool,
    pub until: Until,
    /// How long the group waits for a member that is silent.
    pub session: Duration,
    /// Bytes that librdkafka may fetch ahead.
    pub fetch_bytes: usize,
}

#[derive(Debug)]
struct Partition {
    /// The committed position: where the next cut begins.
    start: i64,
    next: i64,
    /// The position after the last record of a cut that is being written again.
    replay: Option<i64>,
    /// Where the lane ends, for `until = "end"`.
    stop_at: Option<i64>,
}

/// Reads a topic as a member of a group.
pub struct TopicSource {
    consumer: Arc<GroupConsumer>,
    breath: Arc<Breath>,
    polled: Receiver<Polled>,
    poller: Option<JoinHandle<()>>,
    settings: SourceSettings,
    stop: CancellationToken,
    partitions: BTreeMap<Lane, Partition>,
    ready: VecDeque<Event<Records, i64>>,
    /// Partitions that will go to another member once they are settled.
    leaving: BTreeSet<Lane>,
    /// Partitions that have been given to us and are not opened yet.
    assigning: Option<Vec<i32>>,
    rows_left: Option<u64>,
    stats: Arc<Stats>,
    /// When we were last found without any partition, for `until = "end"`.
    idle_since: Option<Instant>,
}

impl std::fmt::Debug for TopicSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicSource").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A member that gets no partition waits so long for one before it takes the topic for read.
const NO_PARTITION: Duration = Duration::from_secs(5);

impl TopicSource {
    /// Joins the group.
    ///
    /// # Errors
    /// When the broker cannot be reached, the topic is missing, or the broker does not keep commit metadata.
    pub fn join(
        settings: SourceSettings,
        kafka: &config::Kafka,
        stop: CancellationToken,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        stats.rows_total.set(settings.until.rows().unwrap_or(0));
        let mut config = base_config(kafka);
        let session = settings.session.as_millis();
        config
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 10).clamp(100, 3000).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("queued.max.messages.kbytes", (settings.fetch_bytes / 1024).max(1024).to_string())
            // librdkafka needs some 400 bytes a message beside its own, which the limit above leaves out, and an answer
            // is as large as it is once it is decompressed: few messages ahead, small answers.
            .set("queued.min.messages", "5000")
            .set("fetch.max.bytes", (settings.fetch_bytes / 8).max(1_000_000).to_string())
            .set("fetch.message.max.bytes", (settings.fetch_bytes / 32).max(16 * 1024).to_string())
            .set("fetch.queue.backoff.ms", "2");
        let mut config = with_properties(config, kafka);
        config.set("group.id", &settings.group_id);
        let client = Client::new(kafka, Some(&settings.group_id))?;
        tokio::task::block_in_place(|| client.existing_partitions(&settings.topic))?;
        let consumer: GroupConsumer = config
            .create_with_context(Rebalances::default())
            .map_err(|error| of_kafka("Cannot make a consumer", error))?;
        consumer.subscribe(&[&settings.topic]).map_err(|error| of_kafka("Cannot subscribe", error))?;
        let consumer = Arc::new(consumer);
        let breath = Arc::new(Breath::new(settings.session));
        let (to, polled) = channel(16);
        let polling = Poller { consumer: consumer.clone(), breath: breath.clone(), to };
        let thread = std::thread::Builder::new().name("kafka-poller".to_owned()).spawn(move || polling.run());
        let poller = thread.map_err(|error| Error::io("Cannot start a thread", error))?;
        let joined = Self {
            consumer,
            breath,
            polled,
            poller: Some(poller),
            rows_left: settings.until.rows(),
            settings,
            stop,
            stats,
            partitions: BTreeMap::new(),
            ready: VecDeque::new(),
            leaving: BTreeSet::new(),
            assigning: None,
            idle_since: None,
        };
        // Meanwhile the group lets us in. A client takes a tenth of a second to end.
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| drop(client));
                probe_metadata(kafka, &joined.settings)
            })
        })?;
        Ok(joined)
    }

    fn list(&self, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.settings.topic, partition);
        }
        list
    }

    /// Finds where the partitions begin and starts to read them. Cancel-safe up to its last, synchronous step.
    async fn assign(&mut self, partitions: &[i32]) -> Result<()> {
        let openings = patiently("Reading the group's positions", &self.stop.clone(), || {
            let found = tokio::task::block_in_place(|| self.openings(partitions));
            async { found }
        })
        .await?;
        let mut list = TopicPartitionList::new();
        for (opening, stop_at) in &openings {
            let offset = Offset::Offset(opening.start);
            list.add_partition_offset(&self.settings.topic, opening.lane, offset)
                .map_err(|error| of_kafka("Cannot assign", error))?;
            tracing::info!(
                partition = opening.lane,
                offset = opening.start,
                replay_to = opening.end,
                end = stop_at,
                "reading a partition"
            );
        }
        take_over(&self.consumer, &list).map_err(|error| of_kafka("Cannot take the partitions over", error))?;
        for (opening, stop_at) in openings {
            let partition = Partition { start: opening.start, next: opening.start, replay: opening.end, stop_at };
            self.partitions.insert(opening.lane, partition);
            self.ready.push_back(Event::Opened(opening));
        }
        self.idle_since = Some(Instant::now());
        if self.settings.until == Until::End {
            let left = |partition: &Partition| partition.stop_at.map_or(0, |end| end.saturating_sub(partition.next));
            let left = self.partitions.values().map(left).sum::<i64>();
            self.stats.rows_total.set(self.stats.rows_read.get() + u64::try_from(left).unwrap_or(0));
        }
        Ok(())
    }

    fn openings(&self, partitions: &[i32]) -> Result<Vec<(Opening<i64>, Option<i64>)>> {
        let topic = &self.settings.topic;
        let of = |error| of_kafka("Cannot read the group's positions", error);
        // All partitions are asked for: a new one takes the columns over from the others.
        let metadata = self.consumer.fetch_metadata(Some(topic), ASK).map_err(of)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if count == 0 {
            return Err(Error::new(Kind::Unavailable, format!("Topic {topic} has no partitions just now")));
        }
        let all = self.list(0..i32::try_from(count).unwrap_or(i32::MAX));
        let committed = self.consumer.committed_offsets(all, ASK).map_err(of)?;
        let mut known = BTreeMap::new();
        for element in committed.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let (end, note) = note::decode(element.metadata())?;
                known.insert(element.partition(), (offset, end, note));
            }
        }
        let common = known.values().map(|(.., note)| note).max_by_key(|note| note.len()).cloned().unwrap_or_default();
        let mut openings = Vec::new();
        for lane in partitions {
            let (low, high) = self.consumer.fetch_watermarks(topic, *lane, ASK).map_err(of)?;
            let (start, end, note) = match known.remove(lane) {
                Some(known) => known,
                None => (if self.settings.from_earliest { low } else { high }, None, common.clone()),
            };
            self.check_retention(*lane, start, low, high)?;
            let stop_at = (self.settings.until == Until::End).then_some(high);
            openings.push((Opening { lane: *lane, start, end: end.map(|last| last + 1), note }, stop_at));
        }
        Ok(openings)
    }

    fn check_retention(&self, lane: Lane, start: i64, low: i64, high: i64) -> Result<()> {
        let topic = &self.settings.topic;
        if start < low {
            return Err(Error::new(
                Kind::DataLoss,
                format!(
                    "Offsets {start} to {} of {topic}, partition {lane}, were deleted before they were read",
                    low - 1
                ),
            )
            .hint("Raise the topic's retention. To go on with what is left, reset the group's offsets."));
        }
        if start > high {
            return Err(Error::new(
                Kind::DataLoss,
                format!(
                    "Group {} has read {topic}, partition {lane}, up to {start}, but it ends at {high}",
                    self.settings.group_id
                ),
            )
            .hint("The topic was made again: use a new group id and a new folder, or reset the group's offsets."));
        }
        Ok(())
    }

    fn take_records(&mut self, lane: Lane, mut records: Records) {
        // What still comes of a leaving partition is for its next owner.
        let Some(partition) = self.partitions.get_mut(&lane).filter(|_| !self.leaving.contains(&lane)) else { return };
        records.skip_before(partition.next);
        let mut after = None;
        if let Some(end) = partition.replay {
            after = Some(records.split_off(end)).filter(|after| !after.is_empty());
        }
        if let Some(stop_at) = partition.stop_at
            && !after.as_mut().unwrap_or(&mut records).split_off(stop_at).is_empty()
        {
            partition.next = partition.next.max(stop_at);
        }
        self.emit(lane, records);
        let Some(partition) = self.partitions.get_mut(&lane) else { return };
        if let Some(end) = partition.replay.filter(|end| partition.next >= *end || after.is_some()) {
            partition.replay = None;
            self.ready.push_back(Event::Boundary(lane, end));
        }
        if let Some(after) = after {
            self.emit(lane, after);
        }
    }

    fn emit(&mut self, lane: Lane, mut records: Records) {
        if let Some(left) = &mut self.rows_left {
            records.keep(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= records.len() as u64;
        }
        let (Some(last), Some(partition)) = (records.last_offset(), self.partitions.get_mut(&lane)) else { return };
        partition.next = partition.next.max(last + 1);
        self.ready.push_back(Event::Batch(lane, records));
    }

    fn reach_end(&mut self, lane: Lane) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(&lane) else { return Ok(()) };
        if let Some(end) = partition.replay {
            return Err(Error::new(
                Kind::DataLoss,
                format!("Partition {lane} ends at {}, but a cut up to {} was logged", partition.next, end - 1),
            )
            .hint("The topic was made again or lost records: use a new group id and a new folder."));
        }
        // Control records and aborted ones are behind us, though no message said so.
        if let Some(stop_at) = partition.stop_at {
            partition.next = partition.next.max(stop_at);
        }
        self.ready.push_back(Event::Idle);
        Ok(())
    }

    fn ended(&self) -> Option<String> {
        if self.rows_left == Some(0) {
            return Some("the number of rows was reached".to_owned());
        }
        if self.settings.until != Until::End || self.assigning.is_some() {
            return None;
        }
        let is_settled =
            !self.partitions.is_empty() || self.idle_since.is_some_and(|since| since.elapsed() > NO_PARTITION);
        let is_read = self
            .partitions
            .values()
            .all(|partition| partition.stop_at.is_some_and(|end| partition.next >= end && partition.replay.is_none()));
        (is_settled && is_read).then(|| "end of topic".to_owned())
    }

    /// Commits for the lanes that are still ours; returns the others.
    async fn commit_fenced(
        &mut self,
        what: &str,
        offsets: &TopicPartitionList,
        cuts: &[Cut<i64>],
    ) -> Result<Vec<Lane>> {
        let all: Vec<Lane> = cuts.iter().map(|cut| cut.lane).collect();
        let (consumer, breath) = (self.consumer.clone(), self.breath.clone());
        let outcome = patiently(what, &self.stop.clone(), || async {
            breath.settle().await;
            if consumer.assignment_lost() {
                return Err(Error::new(Kind::Fenced, "The partitions were lost"));
            }
            let committed = tokio::task::block_in_place(|| consumer.commit(offsets, CommitMode::Sync));
            committed.map_err(|error| of_kafka("The offsets were not committed", error))?;
            if consumer.assignment_lost() {
                return Err(Error::new(Kind::Fenced, "The partitions were lost"));
            }
            Ok(())
        })
        .await;
        match outcome {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.kind() == Kind::Fenced => {
                tracing::warn!(partitions = ?all, %error, "another member has taken the partitions over; what was read of them is dropped here");
                self.partitions.retain(|lane, _| !all.contains(lane));
                self.idle_since = Some(Instant::now());
                Ok(all)
            }
            Err(error) => Err(error),
        }
    }
}

impl Source for TopicSource {
    type Batch = Records;
    type Progress = i64;

    async fn next(&mut self) -> Result<Event<Records, i64>> {
        loop {
            if let Some(partitions) = self.assigning.clone() {
                self.assign(&partitions).await?;
                self.assigning = None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(reason) = self.ended() {
                return Ok(Event::End(reason));
            }
            let polled = tokio::time::timeout(Duration::from_secs(1), self.polled.recv()).await;
            match polled {
                Err(_) => {}
                Ok(None) => return Err(Error::internal("The poller has ended")),
                Ok(Some(Polled::Records(lane, records))) => self.take_records(lane, records),
                Ok(Some(Polled::EndOf(lane))) => self.reach_end(lane)?,
                Ok(Some(Polled::Assigned(partitions))) => self.assigning = Some(partitions),
                Ok(Some(Polled::Revoked { partitions, lost })) => {
                    tracing::info!(?partitions, lost, "partitions are moving to another member");
                    self.leaving.extend(&partitions);
                    return Ok(Event::Closing { lanes: partitions, lost });
                }
                Ok(Some(Polled::Failed(error))) => return Err(error),
            }
        }
    }

    async fn cut(&mut self, cuts: &[Cut<i64>]) -> Result<Vec<Lane>> {
        let mut offsets = TopicPartitionList::new();
        for cut in cuts {
            let Some(start) = self.partitions.get(&cut.lane).map(|partition| partition.start) else { continue };
            let mut element = offsets.add_partition(&self.settings.topic, cut.lane);
            element.set_offset(Offset::Offset(start)).map_err(|error| of_kafka("Cannot log a cut", error))?;
            element.set_metadata(note::encode(Some(cut.end - 1), &cut.note)?);
        }
        self.commit_fenced("Logging a cut", &offsets, cuts).await
    }

    async fn commit(&mut self, cuts: &[Cut<i64>]) -> Result<Vec<Lane>> {
        let mut offsets = TopicPartitionList::new();
        for cut in cuts {
            let mut element = offsets.add_partition(&self.settings.topic, cut.lane);
            element.set_offset(Offset::Offset(cut.end)).map_err(|error| of_kafka("Cannot commit", error))?;
            element.set_metadata(note::encode(None, &cut.note)?);
        }
        let lost = self.commit_fenced("Committing offsets", &offsets, cuts).await?;
        for cut in cuts {
            if let Some(partition) = self.partitions.get_mut(&cut.lane) {
                partition.start = cut.end;
            }
        }
        Ok(lost)
    }

    async fn release(&mut self, lanes: &[Lane]) -> Result<()> {
        self.partitions.retain(|lane, _| !lanes.contains(lane));
        self.leaving.retain(|lane| !lanes.contains(lane));
        self.idle_since = Some(Instant::now());
        let list = self.list(lanes.iter().copied());
        give_back(&self.consumer, &list).map_err(|error| of_kafka("Cannot give the partitions back", error))
    }
}

impl Drop for TopicSource {
    fn drop(&mut self) {
        self.consumer.context().is_closing.store(true, Ordering::SeqCst);
        self.polled.close();
        while self.polled.try_recv().is_ok() {}
        if let Some(poller) = self.poller.take() {
            let _ = poller.join();
        }
        // A rebalance that nobody has answered would keep the consumer from closing: first an assignment, then a revoke.
        let _ = take_over(&self.consumer, &TopicPartitionList::new());
        if let Ok(all) = self.consumer.assignment() {
            let _ = give_back(&self.consumer, &all);
        }
    }
}

/// Whether the broker keeps what is written beside an offset: the cut protocol stands on it.
fn probe_metadata(kafka: &config::Kafka, settings: &SourceSettings) -> Result<()> {
    let client = Client::new(kafka, Some(&format!("{}.pipeline_core_probe", settings.group_id)))?;
    let mark = note::encode(Some(0), &settings.group_id)?;
    let of = |error| of_kafka("Cannot commit offsets", error);
    let mut offsets = TopicPartitionList::new();
    let mut element = offsets.add_partition(&settings.topic, 0);
    element.set_offset(Offset::Offset(0)).map_err(of)?;
    element.set_metadata(&mark);
    client.consumer.commit(&offsets, CommitMode::Sync).map_err(of)?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&settings.topic, 0);
    let found = client.consumer.committed_offsets(asked, ASK).map_err(of)?;
    if found.elements().first().is_some_and(|element| element.metadata() == mark) {
        return Ok(());
    }
    Err(Error::settings(
        "This broker does not keep the metadata of a committed offset, so exactly-once cannot be had here",
    )
    .hint("Use Apache Kafka or a broker that keeps commit metadata."))
}
