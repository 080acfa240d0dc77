//! A topic as a source: a lane for each partition, cuts and positions kept by the consumer group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::group::{MAX_POLL_INTERVAL, Member, Membership, NO_PARTITION, offset_list};
use super::lag::Standing;
use super::message::Records;
use super::note;
use super::poller::Polled;
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::flow::{Cut, Event, Lane, Opening, Positions, Source, Until};
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
    /// How often the messages that wait are counted, if at all.
    pub lag_interval: Option<Duration>,
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
    member: Member,
    /// Where the sink commits the positions, if it does: then the group's offsets are a hint.
    home: Option<Arc<dyn Positions>>,
    settings: SourceSettings,
    stop: CancellationToken,
    partitions: BTreeMap<Lane, Partition>,
    ready: VecDeque<Event<Records, i64>>,
    /// Partitions that will go to another member once they are settled.
    leaving: BTreeSet<Lane>,
    /// Partitions that have been given to us and are not opened yet.
    assigning: Option<Vec<i32>>,
    rows_left: Option<u64>,
    standing: Standing,
    stats: Arc<Stats>,
    /// When we were last found without any partition, for `until = "end"`.
    idle_since: Option<Instant>,
}

impl std::fmt::Debug for TopicSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicSource").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl TopicSource {
    /// Joins the group.
    ///
    /// # Errors
    /// When the broker cannot be reached, the topic is missing, or the broker does not keep commit metadata.
    pub fn join(
        settings: SourceSettings,
        kafka: &config::Kafka,
        home: Option<Arc<dyn Positions>>,
        stop: CancellationToken,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        stats.rows_total.set(settings.until.rows().unwrap_or(0));
        let membership = Membership {
            topic: &settings.topic,
            group_id: &settings.group_id,
            session: settings.session,
            heartbeat: (settings.session / 10).clamp(Duration::from_millis(100), Duration::from_secs(3)),
            max_poll_interval: MAX_POLL_INTERVAL,
            fetch_bytes: settings.fetch_bytes,
        };
        Ok(Self {
            member: Member::join(&membership, kafka)?,
            home,
            rows_left: settings.until.rows(),
            standing: Standing::new(&settings.topic, kafka, settings.lag_interval, stats.clone()),
            settings,
            stop,
            stats,
            partitions: BTreeMap::new(),
            ready: VecDeque::new(),
            leaving: BTreeSet::new(),
            assigning: None,
            idle_since: None,
        })
    }

    /// What is left of `until` rows.
    #[must_use]
    pub fn rows_left(&self) -> Option<u64> {
        self.rows_left
    }

    /// Finds where the partitions begin and starts to read them. Cancel-safe up to its last, synchronous step.
    async fn assign(&mut self, partitions: &[i32]) -> Result<()> {
        let claimed = match &self.home {
            Some(home) => Some(home.claim(partitions).await?),
            None => None,
        };
        let openings = patiently("Reading the group's positions", &self.stop.clone(), || {
            let found = tokio::task::block_in_place(|| self.openings(partitions, claimed.as_ref()));
            async { found }
        })
        .await?;
        if let (Some(home), Some(claimed)) = (&self.home, &claimed) {
            let starts = openings.iter().map(|(opening, _)| (opening.lane, opening.start));
            home.begin(&starts.filter(|(lane, _)| !claimed.contains_key(lane)).collect::<Vec<_>>()).await?;
        }
        for (opening, stop_at) in &openings {
            tracing::info!(
                partition = opening.lane,
                offset = opening.start,
                replay_to = opening.end,
                end = stop_at,
                "reading a partition"
            );
        }
        self.member.take_over(openings.iter().map(|(opening, _)| (opening.lane, opening.start)))?;
        for (opening, stop_at) in openings {
            self.standing.open(opening.lane, opening.start);
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

    fn openings(
        &self,
        partitions: &[i32],
        claimed: Option<&BTreeMap<Lane, i64>>,
    ) -> Result<Vec<(Opening<i64>, Option<i64>)>> {
        // All partitions are asked for: a new one takes the columns over from the others.
        let mut known = BTreeMap::new();
        for committed in self.member.committed()? {
            // Where the sink keeps the positions, what stands beside an offset may be another program's.
            let (end, note) =
                if claimed.is_some() { (None, String::new()) } else { note::decode(&committed.metadata)? };
            known.insert(committed.partition, (committed.offset, end, note));
        }
        for (lane, next) in claimed.into_iter().flatten() {
            known.insert(*lane, (*next, None, String::new()));
        }
        let common = known.values().map(|(.., note)| note).max_by_key(|note| note.len()).cloned().unwrap_or_default();
        let mut openings = Vec::new();
        for lane in partitions {
            let (low, high) = self.member.watermarks(*lane)?;
            let (start, end, note) = match known.remove(lane) {
                Some(known) => known,
                None => (if self.settings.from_earliest { low } else { high }, None, common.clone()),
            };
            self.member.check_retention(*lane, start, (low, high)).map_err(|error| match claimed {
                Some(_) => {
                    error.hint("To go on with what the topic has, use a new group id: the position is in the database.")
                }
                None => error,
            })?;
            let stop_at = (self.settings.until == Until::End).then_some(high);
            openings.push((Opening { lane: *lane, start, end: end.map(|last| last + 1), note }, stop_at));
        }
        Ok(openings)
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

    fn reach_end(&mut self, lane: Lane, position: Option<i64>) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(&lane) else { return Ok(()) };
        if let Some(end) = partition.replay {
            return Err(Error::new(
                Kind::DataLoss,
                format!("Partition {lane} ends at {}, but a cut up to {} was logged", partition.next, end - 1),
            )
            .hint("The topic was made again or lost records: use a new group id and a new folder."));
        }
        if let Some(position) = position {
            self.standing.end(lane, partition.next, position);
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
        let (consumer, breath) = (self.member.consumer.clone(), self.member.breath.clone());
        let outcome = patiently(what, &self.stop.clone(), || Member::commit(&consumer, &breath, offsets)).await;
        match outcome {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.kind() == Kind::Fenced => {
                tracing::warn!(partitions = ?all, %error, "another member has taken the partitions over; what was read of them is dropped here");
                self.partitions.retain(|lane, _| !all.contains(lane));
                self.standing.close(&all);
                self.idle_since = Some(Instant::now());
                Ok(all)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the sinks of a group have noted with their cuts, by partition.
///
/// # Errors
/// When the broker cannot be reached, or a note of ours cannot be read.
pub fn notes(kafka: &config::Kafka, topic: &str, group_id: &str) -> Result<Vec<String>> {
    let client = Client::new(kafka, Some(group_id))?;
    let partitions = client.partitions(topic)?;
    let committed = if partitions == 0 { Vec::new() } else { client.committed(topic, partitions)? };
    committed.iter().map(|(.., metadata)| note::decode(metadata).map(|(_, note)| note)).collect()
}

impl Source for TopicSource {
    type Batch = Records;
    type Progress = i64;

    async fn next(&mut self) -> Result<Event<Records, i64>> {
        loop {
            self.stats.moves();
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
            let polled = tokio::time::timeout(Duration::from_secs(1), self.member.polled.recv()).await;
            match polled {
                Err(_) => {}
                Ok(None) => return Err(Error::internal("The poller has ended")),
                Ok(Some(Polled::Records(lane, records))) => self.take_records(lane, records),
                Ok(Some(Polled::EndOf(lane, position))) => self.reach_end(lane, position)?,
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
        if self.home.is_some() {
            return Ok(Vec::new());
        }
        let mut positions = Vec::new();
        for cut in cuts {
            let Some(start) = self.partitions.get(&cut.lane).map(|partition| partition.start) else { continue };
            positions.push((cut.lane, start, note::encode(Some(cut.end - 1), &cut.note)?));
        }
        let offsets = offset_list(&self.settings.topic, positions)?;
        self.commit_fenced("Logging a cut", &offsets, cuts).await
    }

    async fn commit(&mut self, cuts: &[Cut<i64>]) -> Result<Vec<Lane>> {
        let positions = cuts.iter().map(|cut| Ok((cut.lane, cut.end, note::encode(None, &cut.note)?)));
        let offsets = offset_list(&self.settings.topic, positions.collect::<Result<Vec<_>>>()?)?;
        let lost = self.commit_fenced("Committing offsets", &offsets, cuts).await?;
        for cut in cuts {
            if let Some(partition) = self.partitions.get_mut(&cut.lane) {
                partition.start = cut.end;
                self.standing.settle(cut.lane, cut.end);
            }
        }
        Ok(lost)
    }

    async fn release(&mut self, lanes: &[Lane]) -> Result<()> {
        self.partitions.retain(|lane, _| !lanes.contains(lane));
        self.leaving.retain(|lane| !lanes.contains(lane));
        self.standing.close(lanes);
        self.idle_since = Some(Instant::now());
        self.member.give_back(lanes)
    }
}
