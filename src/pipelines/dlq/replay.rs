//! Letters back to where they were read, each once: the letter and a mark of it are one transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

use super::Letters;
use super::config::Config;
use super::transform::Choice;
use super::trial::{Trial, Trials};
use crate::error::{Error, Kind, Result};
use crate::flow::Origin;
use crate::kafka::{Client, KeyedRecord, Letter, ProducerSettings, REPLAYS, TransactionLog, max_message_bytes};
use crate::stats::Stats;

/// Letters in one transaction, and their bytes, about.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Failures that are told of.
const TOLD: usize = 20;

const OF_FILE: &str = "it came from a file; send the file again";
const OF_COLLECTION: &str = "it came from a collection; send the document again";
const OF_NOWHERE: &str = "it does not say where it came from";
const CUT: &str = "its value was cut, and the whole is not where it came from any more";
const SENT_BEFORE: &str = "it was sent again before";
const TOO_OFTEN: &str = "it was sent again and refused too often (max_replays)";
const NO_TOPIC: &str = "the topic that it came from is gone";

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Replayed {
    pub topic: String,
    pub dry_run: bool,
    /// Letters that were asked for.
    pub chosen: u64,
    pub replayed: u64,
    pub would_succeed: u64,
    pub would_fail: u64,
    /// How many were left out, by the reason.
    pub skipped: BTreeMap<String, u64>,
    /// The first of those that would be refused again.
    pub failures: Vec<Failure>,
    /// How many went to each topic, or would.
    pub to: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub struct Failure {
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
}

/// What is put down of a letter that was sent again, under its place.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// Hash of it: the dead-letter topic may be made again, and places with it.
    letter: String,
    to: String,
}

/// Sends letters again, or tries them with the settings of their pipelines: `trial`, documents by name.
///
/// # Errors
/// When the broker cannot be reached, there is no such topic, or a letter cannot be tried. The same again goes on.
pub async fn replay(config: Config, trial: &str, stop: CancellationToken, stats: Arc<Stats>) -> Result<Replayed> {
    let mut trials = Trials::read(trial)?;
    let (ends, destinations) = destinations(&config, &stop, &stats)?;
    let mut log = if config.dry_run { None } else { Some(open(&config, &destinations, &stop).await?) };
    let mut run = Run {
        sent: marks(&config, log.as_ref())?,
        choice: Choice::of(&config),
        replayed: Replayed { topic: config.topic.clone(), dry_run: config.dry_run, ..Replayed::default() },
        partitions: destinations,
        config: &config,
        batch: Vec::new(),
        held: 0,
        stats: stats.clone(),
    };
    let mut letters = Letters::open(&config, Some(&ends), stop, stats)?;
    'letters: while let Some(some) = letters.next()? {
        for letter in some {
            if run.is_over() {
                break 'letters;
            }
            let Some((letter, to)) = run.choose(letter)? else { continue };
            match &mut log {
                Some(log) => {
                    run.add(letter, to);
                    if run.batch.len() >= BATCH || run.held >= BATCH_BYTES {
                        run.send(log).await?;
                    }
                }
                None => run.note(&letter, &to, trials.attempt(&letter).await?),
            }
        }
    }
    if let Some(log) = &mut log {
        run.send(log).await?;
    }
    Ok(run.replayed)
}

/// The topics that letters would go to, with their partitions, and where the letters end.
fn destinations(
    config: &Config,
    stop: &CancellationToken,
    stats: &Arc<Stats>,
) -> Result<(BTreeMap<i32, i64>, HashMap<String, i32>)> {
    let choice = Choice::of(config);
    let client = Client::new(&config.kafka, None)?;
    let mut found = HashMap::new();
    if let Some(to) = &config.to {
        found.insert(to.clone(), tokio::task::block_in_place(|| client.existing_partitions(to))?);
    }
    let before = stats.snapshot();
    let mut letters = Letters::open(config, None, stop.clone(), stats.clone())?;
    while let Some(some) = letters.next()? {
        for letter in some.iter().filter(|letter| choice.takes(letter)) {
            if let (Some(Origin::Topic { topic, .. }), None) = (&letter.origin, &config.to)
                && !found.contains_key(topic)
            {
                found.insert(topic.clone(), tokio::task::block_in_place(|| client.partitions(topic))?);
            }
        }
    }
    stats.wind_back(&before);
    Ok((letters.ends, found))
}

/// Fences a former replay of the same topic.
async fn open(
    config: &Config,
    destinations: &HashMap<String, i32>,
    stop: &CancellationToken,
) -> Result<TransactionLog> {
    let mut largest = 0;
    for (topic, _) in destinations.iter().filter(|(_, partitions)| **partitions > 0) {
        largest = largest.max(max_message_bytes(&config.kafka, topic).await);
    }
    let role = ProducerSettings {
        partitioner: "murmur2_random".to_owned(),
        compression: "lz4".to_owned(),
        buffer_bytes: 2 * BATCH_BYTES,
        transactional_id: None,
        transaction_timeout: None,
        // Without a topic to send to, nothing but marks.
        max_message_bytes: if largest == 0 { 1_000_000 } else { largest },
    };
    let id = format!("pipeline_core.dlq.{}", config.topic);
    TransactionLog::open(&config.kafka, log_topic(config), None, id, role, stop.clone()).await
}

fn log_topic(config: &Config) -> String {
    format!("{}_replayed", config.topic)
}

/// What was sent again before: hashes by place.
fn marks(config: &Config, log: Option<&TransactionLog>) -> Result<HashMap<String, String>> {
    let mut marks = HashMap::new();
    let take = |place: &str, mark: Option<&str>| {
        // Other keys there are not letters' places.
        if let Some(Ok(mark)) = mark.map(serde_json::from_str::<Mark>) {
            marks.insert(place.to_owned(), mark.letter);
        }
    };
    match log {
        Some(log) => log.read(take)?,
        None => TransactionLog::look(&config.kafka, &log_topic(config), take)?,
    }
    Ok(marks)
}

struct Run<'a> {
    config: &'a Config,
    choice: Choice,
    /// Hashes of letters that were sent before, by place.
    sent: HashMap<String, String>,
    /// Of each topic that letters go to; 0 where it is gone.
    partitions: HashMap<String, i32>,
    batch: Vec<(Letter, String)>,
    /// Bytes in the batch.
    held: usize,
    replayed: Replayed,
    stats: Arc<Stats>,
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        let done =
            self.replayed.replayed + self.replayed.would_succeed + self.replayed.would_fail + self.batch.len() as u64;
        self.config.limit.is_some_and(|limit| done >= limit)
    }

    /// A letter that is to be sent, and where to.
    fn choose(&mut self, mut letter: Letter) -> Result<Option<(Letter, String)>> {
        if !self.choice.takes(&letter) {
            return Ok(None);
        }
        self.replayed.chosen += 1;
        let why = match self.obstacle(&letter) {
            None if tokio::task::block_in_place(|| letter.make_whole(&self.config.kafka))? => {
                let to = destination(self.config, &letter);
                return Ok(to.map(|to| (letter, to)));
            }
            None => CUT,
            Some(why) => why,
        };
        tracing::info!(partition = letter.partition, offset = letter.offset, why, "a letter is left out");
        *self.replayed.skipped.entry(why.to_owned()).or_default() += 1;
        Ok(None)
    }

    fn obstacle(&self, letter: &Letter) -> Option<&'static str> {
        if matches!(letter.origin, Some(Origin::File { .. })) {
            return Some(OF_FILE);
        }
        if matches!(letter.origin, Some(Origin::Collection { .. })) {
            return Some(OF_COLLECTION);
        }
        let Some(to) = destination(self.config, letter) else { return Some(OF_NOWHERE) };
        if self.partitions.get(&to).is_none_or(|partitions| *partitions == 0) {
            return Some(NO_TOPIC);
        }
        if letter.replays >= self.config.max_replays {
            return Some(TOO_OFTEN);
        }
        let was_sent = self.sent.get(&place(letter)).is_some_and(|mark| *mark == hash(letter));
        (was_sent && !self.config.again).then_some(SENT_BEFORE)
    }

    fn add(&mut self, letter: Letter, to: String) {
        self.held += letter.value.as_ref().map_or(0, Vec::len);
        self.batch.push((letter, to));
    }

    async fn send(&mut self, log: &mut TransactionLog) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let log_topic = log.topic().to_owned();
        let mut records = Vec::with_capacity(2 * self.batch.len());
        for (letter, to) in &self.batch {
            let mark = serde_json::to_vec(&Mark { letter: hash(letter), to: to.clone() });
            let mark = mark.map_err(|error| Error::internal(error.to_string()))?;
            records.push(self.message(letter, to));
            records.push(KeyedRecord::new(&log_topic, place(letter), Some(mark)));
        }
        log.send(records).await.map_err(|error| match error.kind() {
            Kind::Rejected => {
                error.hint("A letter is larger than its topic takes: raise the topic's max.message.bytes.")
            }
            _ => error,
        })?;
        let sent = self.batch.len() as u64;
        tracing::info!(letters = sent, topic = self.config.topic, "sent letters again");
        self.stats.rows_written.add(sent);
        self.stats.bytes_written.add(self.held as u64);
        self.replayed.replayed += sent;
        for (_, to) in self.batch.drain(..) {
            *self.replayed.to.entry(to).or_default() += 1;
        }
        self.held = 0;
        Ok(())
    }

    /// As it was when it was refused, and on the partition that it was on.
    fn message<'b>(&self, letter: &Letter, to: &'b str) -> KeyedRecord<'b> {
        let partition = match &letter.origin {
            Some(Origin::Topic { topic, partition, .. }) if topic == to => Some(*partition),
            _ => None,
        };
        let partition = partition.filter(|partition| self.partitions.get(to).is_some_and(|there| partition < there));
        let mut headers = letter.headers.clone();
        headers.push(REPLAYS, Some((letter.replays + 1).to_string().as_bytes()));
        KeyedRecord { topic: to, partition, key: letter.key.clone(), value: letter.value.clone(), headers }
    }

    fn note(&mut self, letter: &Letter, to: &str, tried: Trial) {
        match tried {
            Trial::Taken => self.replayed.would_succeed += 1,
            Trial::Refused(reason) => {
                self.replayed.would_fail += 1;
                if self.replayed.failures.len() < TOLD {
                    let (partition, offset) = (letter.partition, letter.offset);
                    self.replayed.failures.push(Failure { partition, offset, reason });
                }
            }
            Trial::Impossible(why) => {
                *self.replayed.skipped.entry(why).or_default() += 1;
                return;
            }
        }
        *self.replayed.to.entry(to.to_owned()).or_default() += 1;
    }
}

fn destination(config: &Config, letter: &Letter) -> Option<String> {
    match (&config.to, &letter.origin) {
        (Some(to), _) => Some(to.clone()),
        (None, Some(Origin::Topic { topic, .. })) => Some(topic.clone()),
        (None, _) => None,
    }
}

fn place(letter: &Letter) -> String {
    format!("{}/{}", letter.partition, letter.offset)
}

/// The same for the same letter.
fn hash(letter: &Letter) -> String {
    let of = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(xxh3_128);
    format!("{:032x}", xxh3_128(format!("{:?} {:?} {}", of(&letter.key), letter.time, letter.reason).as_bytes()))
}
