//! Walmart's orders to a topic: each once, also over runs that were killed, and with the API's own count as the proof.
//!
//! A window of orders is one transaction, with the instant up to which all is sent on a compacted topic beside it.

mod config;
mod memory;
mod orders;
mod progress;
mod span;
mod transform;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

pub use config::Config;
pub use orders::Orders;

use crate::error::{Error, Result};
use crate::fault::fault;
use crate::flow::Until;
use crate::kafka::{TopicSpec, ensure_topic};
use crate::stats::{Live, Report, Stats, Status, Timed};
use crate::walmart::{Client, Fetched, Fetcher, HORIZON_DAYS, NODE_TYPES, Request, whole_second, written};
use progress::Progress;
use span::Span;

pub const NAME: &str = "walmart_to_kafka";

/// Of a topic that has to be made: a week, and orders of up to 10 MiB.
const PROPERTIES: [(&str, &str); 2] = [("retention.ms", "604800000"), ("max.message.bytes", "10485760")];

/// Fetches the orders of a span of time, or goes on for ever, and sends them.
///
/// # Errors
/// By kind: settings, access, unavailable, data loss (the API does not give what it promises), conflict (another run
/// of the same).
pub async fn run(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Report> {
    let settings = Settings::of(&config)?;
    let span = Span::of(&config, whole_second(Utc::now()))?;
    let client = Arc::new(Client::new(&config.walmart)?);
    let spec = TopicSpec {
        partitions: config.partitions,
        replication_factor: config.replication_factor,
        properties: &PROPERTIES,
        ..TopicSpec::named(&config.topic)
    };
    let (_, is_new) = ensure_topic(&config.kafka, spec).await?;
    let progress = Progress::open(&config, span.work.clone(), &stop).await?;
    let node_types = node_types(&config);
    if let Some((_, complete_up_to)) = progress.interrupted() {
        tracing::info!(complete_up_to = written(complete_up_to), "going on where the last run ended");
    }
    let mut run = Run {
        by_type: vec![0; node_types.len()],
        node_types,
        resumed_from: progress.interrupted().map(|(_, complete_up_to)| complete_up_to),
        config,
        settings,
        client,
        progress,
        stop,
        stats,
        windows: 0,
        duplicates: 0,
    };
    let ended = if run.config.follow { run.follow(&span).await? } else { run.fetch_once(&span).await? };
    run.progress.settle().await?;
    Ok(run.report(&ended, is_new))
}

/// Settings in the form that they are used in.
struct Settings {
    poll: Duration,
    overlap: TimeDelta,
    deadline: Option<Instant>,
    rows: Option<u64>,
}

impl Settings {
    fn of(config: &Config) -> Result<Self> {
        let seconds = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| Error::settings(format!("{name} must be a number of seconds")))
        };
        if config.batch_size == 0 {
            return Err(Error::settings("batch_size must be more than 0"));
        }
        // Without `follow` a run goes over its span once, and windows touch at their ends only.
        let overlap = if config.follow { seconds("overlap_seconds", config.overlap_seconds)? } else { Duration::ZERO };
        let until = config.follow.then_some(config.until);
        Ok(Self {
            poll: seconds("poll_seconds", config.poll_seconds)?,
            overlap: TimeDelta::from_std(overlap).map_err(|_| Error::settings("overlap_seconds is too long"))?,
            deadline: until.and_then(Until::duration).map(|duration| Instant::now() + duration),
            rows: until.and_then(Until::rows),
        })
    }
}

fn node_types(config: &Config) -> Vec<String> {
    match &config.ship_node_type {
        Some(one) => vec![one.clone()],
        None => NODE_TYPES.map(str::to_owned).to_vec(),
    }
}

enum Ended {
    Done(&'static str),
    Stopped,
}

struct Run {
    config: Config,
    settings: Settings,
    client: Arc<Client>,
    progress: Progress,
    stop: CancellationToken,
    stats: Arc<Stats>,
    node_types: Vec<String>,
    by_type: Vec<u64>,
    resumed_from: Option<DateTime<Utc>>,
    windows: u64,
    duplicates: u64,
}

impl Run {
    /// All of the span, or what an interrupted run has left of it.
    async fn fetch_once(&mut self, span: &Span) -> Result<Ended> {
        let start = self.resumed_from.unwrap_or(span.start);
        let early = if start < span.end { self.fetch(start, span.end).await? } else { None };
        if let Some(ended) = early {
            return Ok(ended);
        }
        self.progress.finish().await?;
        Ok(Ended::Done("end of the range"))
    }

    /// Asks again and again for all behind what is complete, and for a while before that.
    async fn follow(&mut self, span: &Span) -> Result<Ended> {
        loop {
            let start = match self.progress.interrupted() {
                Some((first, complete_up_to)) => first.max(complete_up_to - self.settings.overlap),
                None => span.start,
            };
            let now = whole_second(Utc::now());
            if start < now
                && let Some(ended) = self.fetch(start, now).await?
            {
                return Ok(ended);
            }
            if self.config.until == Until::End {
                return Ok(Ended::Done("one poll was asked for"));
            }
            self.stats.rests(self.settings.poll);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Ended::Stopped),
                () = until(self.settings.deadline) => return Ok(Ended::Done("the time was over")),
                () = tokio::time::sleep(self.settings.poll) => {}
            }
        }
    }

    /// Sends window after window; returns early where the run is to end.
    async fn fetch(&mut self, start: DateTime<Utc>, end: DateTime<Utc>) -> Result<Option<Ended>> {
        let request = Request {
            start,
            end,
            ship_node_types: self.node_types.clone(),
            modified: self.config.modified,
            window_orders: self.config.window_orders,
            concurrency: self.config.concurrency,
        };
        let mut fetcher = Fetcher::new(self.client.clone(), request).map_err(|error| self.explain_start(error))?;
        self.progress.begin(start).await?;
        let read_before = self.stats.rows_read.get();
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Some(Ended::Stopped)),
                () = until(self.settings.deadline) => return Ok(Some(Ended::Done("the time was over"))),
                next = fetcher.next() => next,
            };
            if let Some(expected) = fetcher.expected().filter(|_| !self.config.follow) {
                self.stats.rows_total.set(read_before + expected);
            }
            let Some(fetched) = next.map_err(|error| self.place(&error))? else { return Ok(None) };
            self.stats.answers();
            fault("after_window");
            self.send(fetched).await?;
            if self.settings.rows.is_some_and(|rows| self.stats.rows_written.get() >= rows) {
                return Ok(Some(Ended::Done("the number of rows was reached")));
            }
        }
    }

    async fn send(&mut self, fetched: Fetched) -> Result<()> {
        let Fetched { window, orders, by_type, duplicates } = fetched;
        self.windows += 1;
        self.duplicates += duplicates;
        for (sum, more) in self.by_type.iter_mut().zip(by_type) {
            *sum += more;
        }
        self.stats.rows_read.add(orders.len() as u64);
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for batch in orders.chunks(self.config.batch_size) {
            for order in batch {
                self.stats.bytes_read.add(order.json.len() as u64);
                let hash = xxh3_128(&order.json);
                if self.progress.memory.has(&order.id, hash) {
                    self.duplicates += 1;
                    continue;
                }
                let date = order.date.filter(|date| !self.config.modified && window.holds(*date));
                self.progress.memory.learn(&order.id, hash, date.unwrap_or(window.end.timestamp_millis()));
                let message = transform::message(order);
                bytes += message.len() as u64;
                messages.push((order.id.clone(), message));
            }
            tokio::task::yield_now().await;
        }
        let sent = messages.len() as u64;
        let complete_up_to = self.complete_up_to().max(window.end);
        self.progress.memory.forget_before((complete_up_to - self.settings.overlap).timestamp_millis());
        let began = Instant::now();
        self.progress.commit(complete_up_to, messages).await?;
        if sent > 0 {
            self.stats.took(Timed::Transaction, began.elapsed());
        }
        if self.config.follow {
            let behind = (Utc::now() - complete_up_to).to_std().unwrap_or_default();
            self.stats.note(Live::LagSeconds, behind.as_secs_f64());
        }
        self.stats.rows_written.add(sent);
        self.stats.bytes_written.add(bytes);
        tracing::info!(%window, orders = sent, topic = self.config.topic, "sent a window");
        Ok(())
    }

    fn complete_up_to(&self) -> DateTime<Utc> {
        self.progress.interrupted().map_or(DateTime::UNIX_EPOCH, |(_, complete_up_to)| complete_up_to)
    }

    /// Says how far the run has come beside what went wrong.
    fn place(&self, error: &Error) -> Error {
        let message = format!("{error}; complete up to {}", written(self.complete_up_to()));
        let placed = Error::new(error.kind(), message);
        match error.advice() {
            Some(advice) => placed.hint(advice.to_owned()),
            None => placed,
        }
    }

    fn explain_start(&self, error: Error) -> Error {
        let horizon = Utc::now() - TimeDelta::days(HORIZON_DAYS);
        if self.resumed_from.is_some_and(|start| start < horizon) {
            return error.hint("An interrupted run ended there; use --restart to forget it and begin again.");
        }
        error
    }

    fn report(&self, ended: &Ended, is_new: bool) -> Report {
        let by_type = self.node_types.iter().cloned().zip(self.by_type.iter().map(|count| json!(count)));
        let details = Map::from_iter([
            ("topic".to_owned(), json!(self.config.topic)),
            ("topic_created".to_owned(), json!(is_new)),
            ("account_tag".to_owned(), json!(self.config.walmart.account_tag)),
            ("complete_up_to".to_owned(), json!(written(self.complete_up_to()))),
            ("windows".to_owned(), json!(self.windows)),
            ("requests".to_owned(), json!(self.client.requests())),
            ("pages_repeated".to_owned(), json!(self.client.pages_repeated())),
            ("orders_by_ship_node_type".to_owned(), Value::Object(by_type.collect())),
            ("duplicates".to_owned(), json!(self.duplicates)),
            ("resumed_from".to_owned(), json!(self.resumed_from.map(written))),
        ]);
        let (status, reason) = match ended {
            Ended::Done(reason) => (Status::Complete, *reason),
            Ended::Stopped => (Status::Stopped, "stop requested"),
        };
        self.stats.report(NAME, status, reason, details)
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether the API lets us in.
///
/// # Errors
/// When it does not.
pub async fn reach(config: &Config) -> Result<String> {
    Client::new(&config.walmart)?.reach().await
}
