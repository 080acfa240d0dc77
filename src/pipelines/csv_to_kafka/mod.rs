//! CSV files to JSON messages on a topic: each row once with `exactly_once` and `resume`, none lost without.

mod config;
mod sink;
mod source;
mod transform;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

pub use config::Config;
pub use transform::Encoder;

use crate::error::{Error, Kind, Result};
use crate::flow::{Checkpoints, Ended, FileCheckpoints, Guard, Policy, drive};
use crate::kafka::{
    Producer, ProducerSettings, TopicDeadLetters, TopicSpec, TransactionCheckpoints, ensure_topic, max_message_bytes,
};
use crate::retry::PATIENCE;
use crate::stats::{Report, Stats, Status};
use crate::store::{find, total_size};
use sink::RowsToTopic;
use source::CsvSource;

pub const NAME: &str = "csv_to_kafka";

/// Without transactions a position is saved so often.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// Sends every row of the files, in order, and ends.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, rejected (too many rows), capacity (the embedded broker).
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    if config.files.is_empty() {
        return Err(Error::settings("No file is named").hint("Name a file, a glob or a URL, or set CSV_FILE_PATH."));
    }
    if config.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err(Error::settings("rate must be more than 0 rows a second"));
    }
    let files = find(&config.files, &config.store).await?;
    stats.rows_total.set(config.limit.unwrap_or(0));
    stats.bytes_total.set(total_size(&files).unwrap_or(0));
    let spec = TopicSpec {
        partitions: config.partitions,
        replication_factor: config.replication_factor,
        ..TopicSpec::named(&config.topic)
    };
    let (partitions, is_new) = ensure_topic(&config.kafka, spec).await?;
    let role = producer_settings(&config, max_message_bytes(&config.kafka, &config.topic).await);
    let mut run = Run {
        role,
        guard: Guard::new(config.max_rejected_share),
        files: Vec::new(),
        rows_left: config.limit,
        config,
        stop,
        stats,
    };
    let mut reason = "end of input".to_owned();
    let mut status = Status::Complete;
    let mut plain = None;
    for file in &files {
        match run.send_file(file, &mut plain).await? {
            Ended::Source(why) => reason = why,
            Ended::Stopped => {
                (status, reason) = (Status::Stopped, "stop requested".to_owned());
                break;
            }
        }
        if run.rows_left == Some(0) {
            break;
        }
    }
    let details = Map::from_iter([
        ("topic".to_owned(), json!(run.config.topic)),
        ("partitions".to_owned(), json!(partitions)),
        ("topic_created".to_owned(), json!(is_new)),
        ("files".to_owned(), Value::Array(run.files)),
    ]);
    Ok(run.stats.report(NAME, status, reason, details))
}

/// How the pipeline's producer is set up.
pub(crate) fn producer_settings(config: &Config, max_message_bytes: usize) -> ProducerSettings {
    ProducerSettings {
        partitioner: config.partitioner.clone(),
        compression: config.compression.clone(),
        buffer_bytes: config.memory_limit / 4,
        transactional_id: None,
        transaction_timeout: None,
        max_message_bytes,
    }
}

struct Run {
    config: Config,
    role: ProducerSettings,
    stop: CancellationToken,
    stats: Arc<Stats>,
    guard: Guard,
    rows_left: Option<u64>,
    files: Vec<Value>,
}

/// How far a file has come in this run.
struct Progress {
    /// Go on where the checkpoint says.
    resume: bool,
    /// Rows that former runs had sent.
    before: Option<u64>,
}

impl Run {
    /// Each file has a position of its own, and with transactions a producer of its own, fenced by its name.
    async fn send_file(&mut self, file: &str, plain: &mut Option<Arc<Producer>>) -> Result<Ended> {
        let id = self.id(file);
        let mut progress = Progress { resume: self.config.resume, before: None };
        if self.config.exactly_once {
            return self.send_in_transactions(file, &id, &mut progress).await;
        }
        let producer = match plain {
            Some(producer) => producer.clone(),
            None => plain.insert(Arc::new(Producer::new(&self.config.kafka, &self.role)?)).clone(),
        };
        let checkpoints = FileCheckpoints::new(self.state_dir().join(format!("{id}.json")));
        self.send(file, producer, checkpoints, self.policy(), &mut progress).await
    }

    /// Where a transaction comes to nothing, the file goes on from the last that did not.
    async fn send_in_transactions(&mut self, file: &str, id: &str, progress: &mut Progress) -> Result<Ended> {
        let policy = Policy {
            rows: Some(self.config.transaction_rows),
            age: Duration::from_secs_f64(self.config.transaction_seconds),
            ..self.policy()
        };
        let role = ProducerSettings { transactional_id: Some(id.to_owned()), ..self.role.clone() };
        let (mut since, mut written) = (Instant::now(), self.stats.rows_written.get());
        loop {
            let producer = Arc::new(Producer::new(&self.config.kafka, &role)?);
            let topic = self.config.topic.clone();
            let begun =
                TransactionCheckpoints::begin(producer.clone(), &self.config.kafka, id, &topic, self.stop.clone());
            let error = match self.send(file, producer, begun.await?, policy.clone(), progress).await {
                Err(error) if error.kind() == Kind::Aborted => error,
                other => return other,
            };
            if self.stats.rows_written.get() > written {
                (since, written) = (Instant::now(), self.stats.rows_written.get());
            }
            if since.elapsed() > PATIENCE || self.stop.is_cancelled() {
                return Err(Error::new(Kind::Unavailable, error.to_string())
                    .hint("Nothing is lost: run the same command again with --resume."));
            }
            tracing::warn!(file, %error, "a transaction was aborted; its rows are sent again");
        }
    }

    async fn send(
        &mut self,
        file: &str,
        producer: Arc<Producer>,
        checkpoints: impl Checkpoints,
        policy: Policy,
        progress: &mut Progress,
    ) -> Result<Ended> {
        let config = &Config { resume: progress.resume, ..self.config.clone() };
        let opened = CsvSource::open(file, config, checkpoints, self.rows_left, self.stats.clone()).await?;
        let Some((mut source, head)) = opened else {
            tracing::warn!(file, "the file is empty");
            self.files.push(json!({"file": file, "rows": 0, "encoding": null}));
            return Ok(Ended::Source("end of input".to_owned()));
        };
        let opened_at = source.position().rows;
        if progress.before.is_none() && config.resume {
            let total = &self.stats.bytes_total;
            total.set(total.get().saturating_sub(source.position().byte));
        }
        let before = *progress.before.get_or_insert(opened_at);
        progress.resume = true;
        let mut encoder = Encoder::new(head.header, config)?;
        if config.typed {
            let sample = head.sample.iter().map(|row| head.sample.fields(row).collect());
            encoder.set_types(config, sample, head.charset)?;
        }
        let topic = config.dead_letter_topic.clone().unwrap_or_else(|| format!("{}_dlq", config.topic));
        let mut dead_letters = TopicDeadLetters::new(topic, NAME, config.kafka.clone(), self.stats.clone());
        let mut sink = RowsToTopic {
            file,
            topic: &config.topic,
            encoder,
            producer,
            dead_letters: &mut dead_letters,
            guard: &mut self.guard,
            refused: Vec::new(),
            sent: 0,
            stats: self.stats.clone(),
            payload: Vec::new(),
        };
        let ended = drive(&mut source, &mut sink, &policy, &self.stop).await;
        let (settled, counted) = &source.settled;
        if let Some(left) = &mut self.rows_left {
            *left -= settled.rows - opened_at;
        }
        if ended.as_ref().is_err_and(|error| error.kind() == Kind::Aborted) {
            self.stats.wind_back(counted);
        }
        let ended = ended?;
        let rows = settled.rows - before;
        let encoding = source.charset().name();
        tracing::info!(file, rows, encoding, "sent a file");
        self.files.push(json!({"file": file, "rows": rows, "encoding": encoding, "resumed_after_rows": before}));
        Ok(ended)
    }

    fn policy(&self) -> Policy {
        Policy {
            rows: None,
            bytes: None,
            age: CHECKPOINT,
            idle: None,
            memory: self.config.memory_limit / 8,
            together: false,
        }
    }

    /// One name for a file on a topic, the same in every run.
    fn id(&self, file: &str) -> String {
        let place = if file.contains("://") {
            file.to_owned()
        } else {
            std::path::absolute(file).unwrap_or_else(|_| file.into()).display().to_string()
        };
        let named = format!("{place}\n{}", self.config.topic);
        format!("pipeline_core.csv.{}.{:016x}", self.config.topic, xxh3_64(named.as_bytes()))
    }

    fn state_dir(&self) -> PathBuf {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match &self.config.state_dir {
            Some(folder) => folder.into(),
            None => set("XDG_STATE_HOME")
                .or_else(|| set("HOME").map(|home| home.join(".local/state")))
                .unwrap_or_else(|| ".".into())
                .join("pipeline_core"),
        }
    }
}
