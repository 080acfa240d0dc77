//! A topic of tasks that end in any order: each is committed with the records that tell of its end, in one transaction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batches::TopicReader;
use super::client::Client;
use super::commits::Commits;
use super::group::{Member, Membership, NO_PARTITION, offset_list};
use super::lag::Standing;
use super::message::{Record, Records};
use super::poller::Polled;
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::flow::{Admitted, Headers, Lane, Ledger, Until};
use crate::retry::patiently;
use crate::stats::Stats;

#[derive(Debug, Clone)]
pub struct TaskSettings {
    pub topic: String,
    pub group_id: String,
    /// Where a group without a position begins.
    pub from_earliest: bool,
    pub until: Until,
    pub session: Duration,
    pub heartbeat: Duration,
    pub max_poll_interval: Duration,
    /// Bytes that librdkafka may fetch ahead.
    pub fetch_bytes: usize,
    /// Tasks that may be in work at once; those that have ended and wait for their commit do not count.
    pub most_open: usize,
    /// How often the tasks that wait are counted, if at all.
    pub lag_interval: Option<Duration>,
}

/// A task as it stands on the topic.
#[derive(Debug, Clone)]
pub struct Task {
    pub lane: Lane,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    /// Milliseconds since 1970.
    pub time: Option<i64>,
    /// How often it has failed, over all owners.
    pub failures: u8,
}

impl Task {
    fn of(lane: Lane, record: &Record<'_>) -> Self {
        Self {
            lane,
            offset: record.offset,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.to_owned(),
            time: record.time,
            failures: 0,
        }
    }
}

#[derive(Debug)]
pub enum TaskEvent {
    Task(Task),
    /// These partitions will go to another member: end or drop their tasks, commit, then `release`. Lost ones are gone.
    Closing {
        lanes: Vec<Lane>,
        lost: bool,
    },
    /// All that was to be done is done, and why.
    End(String),
}

#[derive(Debug)]
struct Partition {
    ledger: Ledger,
    /// The note that was committed last, with its position.
    committed: (i64, String),
    packs: VecDeque<Records>,
    /// Where it ends, for `until = "end"`.
    stop_at: Option<i64>,
    is_paused: bool,
    /// The end was reached after what waits in `packs`.
    is_read: bool,
}

/// Reads tasks as a member of a group.
pub struct TaskSource {
    member: Member,
    settings: TaskSettings,
    stop: CancellationToken,
    partitions: BTreeMap<Lane, Partition>,
    /// The partition that gave the last task: the others come first.
    turn: Lane,
    leaving: BTreeSet<Lane>,
    assigning: Option<Vec<Lane>>,
    /// Where a group that is new begins, not committed yet.
    beginnings: Vec<(Lane, i64, String)>,
    /// Tasks handed out and neither finished nor dropped.
    open: BTreeSet<(Lane, i64)>,
    /// Those of them that have ended and wait for their commit.
    ended: BTreeSet<(Lane, i64)>,
    rows_left: Option<u64>,
    standing: Standing,
    stats: Arc<Stats>,
    idle_since: Option<Instant>,
}

impl std::fmt::Debug for TaskSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSource").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// When so many wait for their commit, no task is begun.
const MOST_ENDED: usize = 20_000;

impl Partition {
    /// Bytes of tasks that wait.
    fn held(&self) -> usize {
        self.packs.iter().map(Records::bytes).sum()
    }
}

impl TaskSource {
    /// Joins the group.
    ///
    /// # Errors
    /// When the broker cannot be reached, the topic is missing, or the broker does not keep commit metadata.
    pub fn join(
        settings: TaskSettings,
        kafka: &config::Kafka,
        stop: CancellationToken,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let membership = Membership {
            topic: &settings.topic,
            group_id: &settings.group_id,
            session: settings.session,
            heartbeat: settings.heartbeat,
            max_poll_interval: settings.max_poll_interval,
            fetch_bytes: settings.fetch_bytes,
        };
        Ok(Self {
            member: Member::join(&membership, kafka)?,
            rows_left: settings.until.rows(),
            standing: Standing::new(&settings.topic, kafka, settings.lag_interval, stats.clone()),
            settings,
            stop,
            stats,
            partitions: BTreeMap::new(),
            turn: 0,
            leaving: BTreeSet::new(),
            assigning: None,
            beginnings: Vec::new(),
            open: BTreeSet::new(),
            ended: BTreeSet::new(),
            idle_since: None,
        })
    }

    /// What commits for this member.
    #[must_use]
    pub fn commits(&self, kafka: &config::Kafka, pipeline: &'static str, transactional_id: String) -> Commits {
        let (consumer, breath) = (self.member.consumer.clone(), self.member.breath.clone());
        let (topic, stop) = (self.settings.topic.clone(), self.stop.clone());
        Commits::new(consumer, breath, kafka.clone(), topic, pipeline, transactional_id, stop)
    }

    /// The next thing that happened. Waits while as many tasks are open as may be. Cancel-safe.
    ///
    /// # Errors
    /// When the group cannot be read any more, or tasks were deleted before they were read.
    pub async fn next(&mut self) -> Result<TaskEvent> {
        loop {
            self.stats.moves();
            if let Some(partitions) = self.assigning.clone() {
                self.assign(&partitions).await?;
            }
            self.commit_beginnings().await?;
            if let Some(task) = self.take() {
                return Ok(TaskEvent::Task(task));
            }
            if let Some(reason) = self.ended() {
                return Ok(TaskEvent::End(reason));
            }
            let polled = tokio::time::timeout(Duration::from_secs(1), self.member.polled.recv()).await;
            match polled {
                Err(_) => {}
                Ok(None) => return Err(Error::internal("The poller has ended")),
                Ok(Some(Polled::Records(lane, records))) => self.keep(lane, records),
                Ok(Some(Polled::EndOf(lane, position))) => self.reach_end(lane, position),
                Ok(Some(Polled::Assigned(partitions))) => self.assigning = Some(partitions),
                Ok(Some(Polled::Revoked { partitions, lost })) => {
                    tracing::info!(?partitions, lost, "partitions are moving to another member");
                    self.leaving.extend(&partitions);
                    return Ok(TaskEvent::Closing { lanes: partitions, lost });
                }
                Ok(Some(Polled::Failed(error))) => return Err(error),
            }
        }
    }

    /// The next task that may be begun.
    fn take(&mut self) -> Option<Task> {
        let in_work = self.open.len() - self.ended.len();
        if in_work >= self.settings.most_open || self.ended.len() >= MOST_ENDED || self.rows_left == Some(0) {
            return None;
        }
        let (turn, share) = (self.turn, self.share());
        let lanes: Vec<Lane> = self.partitions.keys().copied().collect();
        let (behind, ahead) = lanes.split_at(lanes.partition_point(|lane| *lane <= turn));
        for lane in ahead.iter().chain(behind) {
            let Some(partition) = self.partitions.get_mut(lane).filter(|_| !self.leaving.contains(lane)) else {
                continue;
            };
            while partition.ledger.has_room(in_work) {
                let Some(pack) = partition.packs.front_mut() else { break };
                let Some(task) = pack.iter().next().map(|record| Task::of(*lane, &record)) else {
                    partition.packs.pop_front();
                    continue;
                };
                pack.advance(1);
                let offset = task.offset;
                if offset < partition.ledger.next() || partition.stop_at.is_some_and(|end| offset >= end) {
                    continue;
                }
                if let Admitted::Open(failures) = partition.ledger.admit(offset) {
                    self.turn = *lane;
                    self.open.insert((*lane, offset));
                    self.rows_left = self.rows_left.map(|left| left - 1);
                    return Some(Task { failures, ..task });
                }
            }
            // Control records and aborted ones are behind us, though no message said so.
            if let Some(stop_at) = partition.stop_at
                && partition.is_read
                && partition.packs.iter().all(Records::is_empty)
            {
                partition.ledger.skip_to(stop_at);
            }
            if partition.is_paused && partition.held() <= share / 2 {
                partition.is_paused = false;
                let _ = self.member.resume(*lane);
            }
        }
        None
    }

    /// Bytes of tasks that may wait for one partition; past it, it is paused.
    fn share(&self) -> usize {
        self.settings.fetch_bytes / self.partitions.len().max(1)
    }

    fn keep(&mut self, lane: Lane, records: Records) {
        let share = self.share();
        let Some(partition) = self.partitions.get_mut(&lane) else { return };
        partition.packs.push_back(records);
        partition.is_read = false;
        // A partition that is paused is fetched anew when it goes on, which takes half a second: long before it is empty.
        if !partition.is_paused && partition.held() > share {
            partition.is_paused = self.member.pause(lane).is_ok();
        }
    }

    fn reach_end(&mut self, lane: Lane, position: Option<i64>) {
        let Some(partition) = self.partitions.get_mut(&lane) else { return };
        partition.is_read = true;
        if let Some(position) = position {
            let last = partition.packs.iter().rev().find_map(Records::last_offset);
            self.standing.end(lane, last.map_or(partition.ledger.next(), |last| last + 1), position);
        }
    }

    fn ended(&self) -> Option<String> {
        if self.rows_left == Some(0) {
            return self.open.is_empty().then(|| "the number of tasks was reached".to_owned());
        }
        if self.settings.until != Until::End || self.assigning.is_some() {
            return None;
        }
        let is_settled =
            !self.partitions.is_empty() || self.idle_since.is_some_and(|since| since.elapsed() > NO_PARTITION);
        let is_done = |partition: &Partition| partition.stop_at.is_some_and(|end| partition.ledger.position() >= end);
        (is_settled && self.partitions.values().all(is_done)).then(|| "end of topic".to_owned())
    }

    /// Whether the task is still ours.
    #[must_use]
    pub fn is_open(&self, lane: Lane, offset: i64) -> bool {
        self.open.contains(&(lane, offset))
    }

    /// The task has ended and will be committed.
    pub fn end(&mut self, lane: Lane, offset: i64) {
        if self.open.contains(&(lane, offset)) {
            self.ended.insert((lane, offset));
        }
    }

    /// The task is done, or given up, in the next commit.
    pub fn finish(&mut self, lane: Lane, offset: i64) {
        self.ended.remove(&(lane, offset));
        if self.open.remove(&(lane, offset))
            && let Some(partition) = self.partitions.get_mut(&lane)
        {
            partition.ledger.finish(offset);
        }
    }

    /// An attempt has failed; returns how many by now. The task stays open.
    pub fn fail(&mut self, lane: Lane, offset: i64) -> u8 {
        self.partitions.get_mut(&lane).map_or(0, |partition| partition.ledger.fail(offset))
    }

    /// What has changed since it was committed: positions and notes by partition.
    ///
    /// # Errors
    /// When what is done above a position does not fit beside it.
    pub fn positions(&mut self) -> Result<Vec<(Lane, i64, String)>> {
        let mut changed = Vec::new();
        for (lane, partition) in &mut self.partitions {
            let now = (partition.ledger.position(), partition.ledger.note()?);
            if now != partition.committed {
                changed.push((*lane, now.0, now.1));
            }
        }
        Ok(changed)
    }

    /// These positions have been committed.
    pub fn committed(&mut self, positions: Vec<(Lane, i64, String)>) {
        for (lane, position, note) in positions {
            if let Some(partition) = self.partitions.get_mut(&lane) {
                partition.committed = (position, note);
                self.standing.settle(lane, position);
            }
        }
    }

    /// Drops what is known of these partitions and gives them back to the group.
    ///
    /// # Errors
    /// When the group does not take them.
    pub fn release(&mut self, lanes: &[Lane]) -> Result<()> {
        self.partitions.retain(|lane, _| !lanes.contains(lane));
        self.open.retain(|(lane, _)| !lanes.contains(lane));
        self.ended.retain(|(lane, _)| !lanes.contains(lane));
        self.leaving.retain(|lane| !lanes.contains(lane));
        self.standing.close(lanes);
        self.idle_since = Some(Instant::now());
        self.member.give_back(lanes)
    }

    /// Finds where the partitions begin and starts to read them. Cancel-safe up to its last, synchronous step.
    async fn assign(&mut self, lanes: &[Lane]) -> Result<()> {
        let (starts, new) = patiently("Reading the group's positions", &self.stop.clone(), || {
            let found = tokio::task::block_in_place(|| self.starts(lanes));
            async { found }
        })
        .await?;
        let mut partitions = Vec::new();
        for (lane, position, note, stop_at) in starts {
            let ledger = Ledger::restore(position, &note)?;
            tracing::info!(partition = lane, offset = position, end = stop_at, "reading a partition");
            let committed = (position, note);
            let packs = VecDeque::new();
            partitions.push((lane, Partition { ledger, committed, packs, stop_at, is_paused: false, is_read: false }));
        }
        self.member.take_over(partitions.iter().map(|(lane, partition)| (*lane, partition.committed.0)))?;
        for (lane, partition) in &partitions {
            self.standing.open(*lane, partition.committed.0);
        }
        self.partitions.extend(partitions);
        self.beginnings.extend(new);
        self.assigning = None;
        self.idle_since = Some(Instant::now());
        Ok(())
    }

    /// A group that is new commits where it begins: what comes after that is its own, even if it dies before the first
    /// task is done.
    async fn commit_beginnings(&mut self) -> Result<()> {
        if self.beginnings.is_empty() {
            return Ok(());
        }
        let offsets = offset_list(&self.settings.topic, self.beginnings.iter().cloned())?;
        let (consumer, breath) = (self.member.consumer.clone(), self.member.breath.clone());
        let committed = patiently("Committing offsets", &self.stop, || Member::commit(&consumer, &breath, &offsets));
        match committed.await {
            // The group has gone on without us and will say so.
            Err(error) if error.kind() != Kind::Fenced => return Err(error),
            _ => {}
        }
        self.beginnings.clear();
        Ok(())
    }

    #[allow(clippy::type_complexity, reason = "two lists that are taken apart at once")]
    fn starts(&self, lanes: &[Lane]) -> Result<(Vec<(Lane, i64, String, Option<i64>)>, Vec<(Lane, i64, String)>)> {
        let mut known: BTreeMap<Lane, (i64, String)> = BTreeMap::new();
        for committed in self.member.committed()? {
            known.insert(committed.partition, (committed.offset, committed.metadata));
        }
        let (mut starts, mut new) = (Vec::new(), Vec::new());
        for lane in lanes {
            let (low, high) = self.member.watermarks(*lane)?;
            let (position, note) = known.remove(lane).unwrap_or_else(|| {
                let position = if self.settings.from_earliest { low } else { high };
                if position > low {
                    let (group_id, tasks) = (&self.settings.group_id, high - low);
                    tracing::warn!(
                        partition = lane,
                        tasks,
                        group_id,
                        "this group is new and begins at the end of the topic: tasks that are there are not done; set KAFKA_AUTO_OFFSET_RESET=earliest to do them"
                    );
                }
                new.push((*lane, position, String::new()));
                (position, String::new())
            });
            self.member.check_retention(*lane, position, (low, high))?;
            starts.push((*lane, position, note, (self.settings.until == Until::End).then_some(high)));
        }
        Ok((starts, new))
    }
}

/// What waits for a group in one partition.
#[derive(Debug, serde::Serialize)]
pub struct Waiting {
    pub partition: Lane,
    pub committed: Option<i64>,
    pub end: i64,
    pub tasks: i64,
}

/// How many tasks of a topic a group has not done; where it has no position, as `from_earliest` says. They are counted
/// one by one: not every offset is a task.
///
/// # Errors
/// When the broker cannot be reached, or there is no such topic.
pub fn waiting(kafka: &config::Kafka, topic: &str, group_id: &str, from_earliest: bool) -> Result<Vec<Waiting>> {
    let client = Client::new(kafka, Some(group_id))?;
    let partitions = client.existing_partitions(topic)?;
    let mut committed = BTreeMap::new();
    for (lane, offset, note) in client.committed(topic, partitions)? {
        committed.insert(lane, (offset, Ledger::restore(offset, &note)?));
    }
    let mut found = BTreeMap::new();
    let mut reader = TopicReader::new(kafka, topic, None, |partition, (low, end)| {
        let position = committed.get(&partition).map(|(offset, _)| *offset);
        found.insert(partition, Waiting { partition, committed: position, end, tasks: 0 });
        Some((position.unwrap_or(if from_earliest { low } else { end }).max(low), end))
    })?;
    while let Some((partition, records)) = reader.next(10_000, || false)? {
        let ledger = committed.get(&partition).map(|(_, ledger)| ledger);
        let open = records.iter().filter(|record| ledger.is_none_or(|ledger| !ledger.is_noted_done(record.offset)));
        let open = i64::try_from(open.count()).unwrap_or(i64::MAX);
        if let Some(waiting) = found.get_mut(&partition) {
            waiting.tasks += open;
        }
    }
    Ok(found.into_values().collect())
}
