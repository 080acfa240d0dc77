//! Documents of a collection to a topic: by a field that grows, or by the collection's change stream.
//!
//! Messages are acknowledged before the position is saved; with transactions both are one.

mod assembly;
mod class;
mod config;
mod cursor;
mod delivery;
mod event;
mod extended;
mod passage;
mod rounds;
mod scan;
mod state;
mod stream;
mod transform;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bson::Document;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use config::{Config, FullDocument, Mode, OnLostToken};
pub use cursor::{Action, CursorReport, cursor};

use crate::error::{Error, Kind, Result};
use crate::flow::{Headers, Origin};
use crate::kafka::{TopicSpec, ensure_topic, max_message_bytes};
use crate::metrics;
use crate::mongo::Client;
use crate::stats::{Report, Stats, Status};
use assembly::{Assembly, Counts, Next};
use delivery::Delivery;
use passage::{Passage, Scans};
use state::{CursorProgress, Pair, Progress, StreamProgress};
use stream::{Follower, Gaps};
use transform::Encoder;

pub const NAME: &str = "mongo_to_kafka";

/// Of a topic that has to be made: a document of 16 MiB, and what JSON adds to it.
const PROPERTIES: [(&str, &str); 1] = [("max.message.bytes", "20971520")];

/// Three windows of so many hashes are less than a message may be by default.
const LARGEST_WINDOW: usize = 25_000;

/// Sends documents until `until`, or until it is stopped.
///
/// # Errors
/// By kind: settings, access, not found, unavailable, conflict (another run), data loss (a lost token), rejected.
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    let filter = check_settings(&config)?;
    let config = Arc::new(config);
    let client = Client::connect(&config.mongodb, &stop).await?;
    if config.mode == Mode::Cursor && !client.has(&config.collection).await? {
        return Err(missing(&config, &client));
    }
    let spec = TopicSpec {
        partitions: config.partitions,
        replication_factor: config.replication_factor,
        properties: &PROPERTIES,
        ..TopicSpec::named(&config.topic)
    };
    ensure_topic(&config.kafka, spec).await?;
    let largest = max_message_bytes(&config.kafka, &config.topic).await;
    let name = format!("{}.{}", client.database_name(), config.collection);
    let encoder = Encoder::new(&config, Origin::Collection { name }, largest)?;
    let _lines = metrics::log_every(Duration::from_secs_f64(config.stats_interval_seconds), NAME, stats.clone());
    let job = Job { config, client, encoder, filter, largest, stop, stats };
    match job.config.mode {
        Mode::Cursor => job.by_cursor().await,
        Mode::Stream => job.by_stream().await,
    }
}

/// The user's filter, read.
fn check_settings(config: &Config) -> Result<Option<Document>> {
    if config.topic.is_empty() {
        return Err(Error::settings("No topic is named").hint("Use --topic."));
    }
    let counts = [
        ("batch_size", u64::from(config.batch_size)),
        ("transaction_rows", config.transaction_rows),
        ("window_documents", config.window_documents as u64),
        ("poll_interval_ms", config.poll_interval_ms),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(Error::settings(format!("{name} must be more than 0")));
    }
    let seconds = [
        ("transaction_seconds", config.transaction_seconds),
        ("heartbeat_seconds", config.heartbeat_seconds),
        ("stats_interval_seconds", config.stats_interval_seconds),
    ];
    if let Some((name, _)) = seconds.iter().find(|(_, seconds)| !(*seconds > 0.0 && *seconds < 1e9)) {
        return Err(Error::settings(format!("{name} must be a number of seconds")));
    }
    if config.exactly_once && config.window_documents > LARGEST_WINDOW {
        return Err(Error::settings(format!(
            "window_documents can be {LARGEST_WINDOW} at most with exactly_once: they stand in each transaction"
        )));
    }
    if !(config.lag_seconds >= 0.0 && config.lag_seconds < 1e9) {
        return Err(Error::settings("lag_seconds must be a number of seconds"));
    }
    for (what, name) in [("topic", &config.topic), ("collection", &config.collection)] {
        if name.is_empty() || name.contains(['/', '\0']) || name == ".." || name == "." {
            return Err(Error::settings(format!("{name:?} cannot be the name of a {what}")));
        }
    }
    if config.cursor_field.split('.').any(|part| part.is_empty() || part.starts_with('$')) {
        return Err(Error::settings(format!("{:?} cannot be the path of a field", config.cursor_field)));
    }
    match (&config.filter, config.mode) {
        (None, _) => Ok(None),
        (Some(_), Mode::Stream) => Err(Error::settings("A change stream takes no filter").hint("Use --mode cursor.")),
        (Some(filter), Mode::Cursor) => read_filter(filter).map(Some),
    }
}

fn read_filter(text: &str) -> Result<Document> {
    let wrong = |said: String| Error::settings(format!("The filter is no extended JSON object: {said}"));
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    match bson::Bson::try_from(value) {
        Ok(bson::Bson::Document(filter)) => Ok(filter),
        Ok(_) => Err(wrong("it is something else".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn missing(config: &Config, client: &Client) -> Error {
    let (name, database) = (&config.collection, client.database_name());
    Error::new(Kind::NotFound, format!("There is no collection {name} in the database {database}"))
        .hint("Check --collection and MONGODB_DATABASE.")
}

struct Job {
    config: Arc<Config>,
    client: Client,
    encoder: Encoder,
    filter: Option<Document>,
    largest: usize,
    stop: CancellationToken,
    stats: Arc<Stats>,
}

/// The reader's task ends with the run.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Job {
    async fn by_cursor(self) -> Result<Report> {
        let config = self.config.clone();
        let delivery = self.delivery::<CursorProgress>().await?;
        let progress = delivery.state.progress.clone();
        let lag = Some(Duration::from_secs_f64(config.lag_seconds));
        let is_full = config.full_amount;
        let CursorProgress { marks: kept, full } = progress;
        let marks = if is_full { full.clone().unwrap_or_default() } else { kept.clone() };
        if marks == Pair::default() && config.until.rows().is_none() {
            self.stats.rows_total.set(self.client.estimate(&config.collection).await?);
        }
        self.warn_of_index().await?;
        let scans = Scans::new(&config.cursor_field, lag, config.window_documents, marks);
        // What a full run has not finished, the next full run goes on with; the other's position stays good meanwhile.
        let wrap = move |marks| {
            if is_full {
                CursorProgress { marks: kept.clone(), full: Some(marks) }
            } else {
                CursorProgress { marks, full: full.clone() }
            }
        };
        let begin = |passage| tokio::spawn(rounds::follow(passage).in_current_span());
        self.drive(delivery, Arc::default(), scans, Box::new(wrap), begin, Gaps::default()).await
    }

    async fn by_stream(self) -> Result<Report> {
        let delivery = self.delivery::<StreamProgress>().await?;
        let progress = delivery.state.progress.clone();
        let scans = Scans::new("_id", None, self.config.window_documents, Pair::default());
        let wrap = |_| StreamProgress::default();
        let gaps = Gaps::default();
        let found = gaps.clone();
        let begin = move |passage| tokio::spawn(Follower::follow(passage, progress, found).in_current_span());
        self.drive(delivery, Arc::default(), scans, Box::new(wrap), begin, gaps).await
    }

    async fn delivery<P: Progress>(&self) -> Result<Delivery<P>> {
        Delivery::open(&self.config, self.client.database_name(), self.largest, &self.stop, &self.stats).await
    }

    async fn warn_of_index(&self) -> Result<()> {
        let Config { collection, cursor_field, .. } = &*self.config;
        if cursor_field != "_id" && !self.client.has_index(collection, cursor_field).await? {
            tracing::warn!(
                collection,
                field = cursor_field,
                "no index begins with the cursor's field: each look reads the whole collection"
            );
        }
        Ok(())
    }

    /// One portion is sent while the next is read.
    async fn drive<P: Progress + 'static>(
        self,
        mut delivery: Delivery<P>,
        counts: Arc<Counts>,
        scans: Scans,
        wrap: Box<dyn Fn(Pair) -> P + Send + Sync>,
        begin: impl FnOnce(Passage<P>) -> JoinHandle<()>,
        gaps: Gaps,
    ) -> Result<Report> {
        let Self { config, client, encoder, filter, stop, stats, .. } = self;
        let deadline = config.until.duration().map(|duration| Instant::now() + duration);
        if delivery.is_resumed {
            tracing::info!(saved_at = delivery.state.saved_at, "going on where the last run ended");
        }
        let (give, mut portions) = mpsc::channel(1);
        let passage = Passage {
            assembly: Assembly::new(&config, encoder, give, counts.clone()),
            client: client.clone(),
            counts: counts.clone(),
            stats: stats.clone(),
            saved: scans.marks(),
            scans,
            headers: Headers::default(),
            wrap,
            rows_left: config.until.rows(),
            filter,
            stop: stop.clone(),
            config: config.clone(),
        };
        let _running = Running(begin(passage));
        let (status, reason) = loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => break (Status::Stopped, "stop requested"),
                () = until(deadline) => break (Status::Complete, "the time was over"),
                next = portions.recv() => next,
            };
            match next {
                Some(Ok(Next::Portion(portion))) => delivery.send(portion).await?,
                Some(Ok(Next::End(reason))) => break (Status::Complete, reason),
                Some(Err(error)) => return Err(error),
                None => return Err(Error::internal("The reader of the collection is gone")),
            }
        };
        let mut details = details(&config, &client, &counts);
        details.extend(delivery.details());
        let progress = serde_json::to_value(&delivery.state.progress).unwrap_or_default();
        details.insert("position".to_owned(), cursor::position(&progress));
        details.insert("token_saved".to_owned(), json!(config.mode == Mode::Stream && !progress["token"].is_null()));
        details.insert("dead_letters".to_owned(), json!(stats.rows_rejected.get()));
        details.insert("gaps".to_owned(), json!(*gaps.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(stats.report(NAME, status, reason, details))
    }
}

fn details(config: &Config, client: &Client, counts: &Counts) -> Map<String, Value> {
    Map::from_iter([
        ("topic".to_owned(), json!(config.topic)),
        ("collection".to_owned(), json!(config.collection)),
        ("data_type".to_owned(), json!(config.data_type)),
        ("mode".to_owned(), json!(config.mode)),
        ("server".to_owned(), json!(client.server())),
        ("documents".to_owned(), json!(counts.documents.get())),
        ("snapshot_documents".to_owned(), json!(counts.read_over.get())),
        ("duplicates".to_owned(), json!(counts.duplicates.get())),
        ("without_cursor_field".to_owned(), json!(counts.without_field.get())),
        ("waiting".to_owned(), json!(counts.waiting.get())),
        ("vanished".to_owned(), json!(counts.vanished.get())),
        ("left_out".to_owned(), json!(counts.left_out.get())),
    ])
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether the server, its database and the collection are as they have to be.
pub async fn reach(config: &Config) -> Vec<(&'static str, Result<String>)> {
    let client = match Client::open(&config.mongodb).await {
        Ok(client) => client,
        Err(error) => return vec![("database", Err(error))],
    };
    let mut found = vec![("database", check_settings(config).map(|_| client.server().to_owned()))];
    let collection = match client.has(&config.collection).await {
        Ok(true) => client.estimate(&config.collection).await,
        Ok(false) => Err(missing(config, &client)),
        Err(error) => Err(error),
    };
    found.push(("collection", collection.map(|count| format!("{} has some {count} documents", config.collection))));
    if config.mode == Mode::Stream {
        let log = client.now().await.and_then(|now| {
            now.operation
                .ok_or_else(|| Error::settings("A change stream needs a replica set").hint("Use --mode cursor."))
        });
        found.push(("change stream", log.map(|_| "the server has a log of its changes".to_owned())));
    }
    found
}
