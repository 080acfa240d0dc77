//! The stream mode: changes in their order, after the documents that were there before, and never past a gap.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bson::{Bson, Timestamp};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::assembly::Assembly;
use super::class::Class;
use super::config::{Config, FullDocument, OnLostToken};
use super::event::{Change, Event};
use super::passage::{Passage, Passed, Scans};
use super::scan::{Marks, Place};
use super::state::{Pair, Reading, StreamProgress, Token};
use super::transform::Message;
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::flow::{Headers, Until};
use crate::mongo::{ChangeBatch, ChangeError, Changes, Now, Start, time_of};
use crate::retry::{PATIENCE, patiently};
use crate::stats::Live;

const OPERATION: &str = "pipeline_core.operation";
const CLUSTER_TIME: &str = "pipeline_core.cluster_time";

/// Changes that could no longer be had, and what was done about it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Gap {
    /// RFC 3339.
    from: String,
    to: String,
    reason: String,
    caught_up_by: &'static str,
    documents: u64,
}

pub(super) type Gaps = Arc<Mutex<Vec<Gap>>>;

pub(super) struct Follower {
    passage: Passage<StreamProgress>,
    token: Token,
    reading: Option<Reading>,
    gaps: Gaps,
    saved: Instant,
    /// When the run began, for the server.
    began: Now,
    /// The collection was dropped or renamed: what has its name is read before the changes go on.
    is_invalid: bool,
}

/// How the changes came to an end.
enum Followed {
    Ended(&'static str),
    Invalid,
}

const UNKNOWN: &str = "an unknown time";

impl Follower {
    pub(super) async fn follow(passage: Passage<StreamProgress>, progress: StreamProgress, gaps: Gaps) {
        let asked = patiently("Asking for the time", &passage.stop, || passage.client.now()).await;
        let began = match asked {
            Ok(began) => began,
            Err(error) => return passage.assembly.finish(Err(error)).await,
        };
        let (is_new, reading) = (progress.token.is_none(), progress.reading);
        let token = progress.token.unwrap_or_else(|| Token::of(None, began.operation));
        let mut this = Self { passage, token, reading, gaps, saved: Instant::now(), began, is_invalid: false };
        let outcome = this.run(is_new).await;
        this.passage.assembly.finish(outcome).await;
    }

    async fn run(&mut self, is_new: bool) -> Result<&'static str> {
        let config = self.passage.config.clone();
        if let Some(time) = self.began.operation {
            let Passage { client, stop, .. } = &self.passage;
            patiently("Waiting for a majority", stop, || client.settle(&config.collection, time)).await?;
        }
        let is_full = config.full_amount && self.reading.is_none();
        if is_new || is_full {
            // What was deleted since the last run stands behind its token alone.
            if is_new {
                self.token = self.first_token().await?;
            }
            self.reading = (config.snapshot || is_full).then(Reading::whole);
            self.save().await?;
        }
        if self.read_over().await? {
            return Ok("the number of rows was reached");
        }
        loop {
            match self.changes().await {
                Ok(Followed::Ended(reason)) => return Ok(reason),
                Ok(Followed::Invalid) => self.save().await?,
                Err(ChangeError::Other(error)) => return Err(error),
                Err(ChangeError::Lost(reason)) => self.find_gap(&config, reason).await?,
            }
            if self.read_over().await? {
                return Ok("the number of rows was reached");
            }
        }
    }

    /// The place that the changes from now on are behind.
    async fn first_token(&self) -> Result<Token> {
        patiently("Opening the change stream", &self.passage.stop, || self.try_first_token()).await
    }

    async fn try_first_token(&self) -> Result<Token> {
        let now = self.passage.client.now().await?;
        let opened = async { self.open(&Start::Now).await?.next().await };
        let batch = opened.await.map_err(|error| match error {
            ChangeError::Other(error) => error,
            ChangeError::Lost(reason) => Error::new(Kind::Unavailable, reason),
        })?;
        // Behind a change that came meanwhile it would stand too far.
        let token =
            batch.and_then(|batch| batch.token.filter(|_| batch.found.documents().is_ok_and(|all| all.is_empty())));
        match (token, now.operation) {
            (None, None) => Err(Error::settings("This server has no change streams: it is not a replica set")
                .hint("`--mode cursor` needs none.")),
            (token, time) => Ok(Token::of(token, time)),
        }
    }

    async fn open(&self, start: &Start) -> Result<Changes, ChangeError> {
        let Passage { client, config, .. } = &self.passage;
        let full_document = match config.full_document {
            FullDocument::Lookup => "updateLookup",
            FullDocument::PostImage => "required",
        };
        Changes::open(client, &config.collection, start, full_document, config.batch_size).await
    }

    /// Names the gap, and arranges that it is read over.
    async fn find_gap(&mut self, config: &Config, reason: String) -> Result<()> {
        let from = self.token.time;
        let said = |time: Option<(u32, u32)>| match time {
            Some((seconds, _)) => rfc3339(seconds),
            None => UNKNOWN.to_owned(),
        };
        let Passage { client, stop, .. } = &self.passage;
        let to = patiently("Asking for the time", stop, || client.now()).await?;
        let (begins, ends) = (said(from), DateTime::from_timestamp_millis(to.millis).map_or_else(String::new, written));
        let lost =
            format!("The changes of {} from {begins} to {ends} can no longer be had: {reason}", config.collection);
        if config.on_lost_token == OnLostToken::Fail {
            return Err(Error::new(Kind::DataLoss, lost).hint(
                "Let it be caught up (on_lost_token=catch-up), or begin again with a snapshot (cursor reset). A larger oplog keeps more changes.",
            ));
        }
        let by_field = config.cursor_field != "_id" && from.is_some();
        let caught_up_by = if by_field { "cursor" } else { "snapshot" };
        tracing::warn!(
            from = begins,
            to = ends,
            reason,
            caught_up_by,
            "changes were lost; documents that were deleted meanwhile are not known"
        );
        let gap = Gap { from: begins, to: ends, reason, caught_up_by, documents: 0 };
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).push(gap);
        self.token = self.first_token().await?;
        let marks = if by_field { since(from, config.lag_seconds) } else { Pair::default() };
        self.reading = Some(Reading { gap: Some(from.unwrap_or_default()), by_field, marks });
        self.save().await?;
        fault("after_gap");
        Ok(())
    }

    /// Reads the documents that have to be read before the changes. True when as many as were asked for were read.
    async fn read_over(&mut self) -> Result<bool> {
        let Some(reading) = self.reading.clone() else { return Ok(false) };
        let config = self.passage.config.clone();
        let field = if reading.by_field { &config.cursor_field } else { "_id" };
        self.passage.scans = Scans::new(field, None, config.window_documents, reading.marks);
        self.passage.headers = headers("read", self.token.timestamp());
        let (token, gap, by_field) = (self.token.clone(), reading.gap, reading.by_field);
        self.passage.wrap = Box::new(move |marks| StreamProgress {
            token: Some(token.clone()),
            reading: Some(Reading { gap, by_field, marks }),
        });
        let before = self.passage.counts.documents.get();
        let passed = self.passage.pass(true).await?;
        let documents = self.passage.counts.documents.get() - before;
        match gap {
            Some(from) => self.read_gap(from, by_field, documents),
            None => self.passage.counts.read_over.add(documents),
        }
        if passed == Passed::Enough {
            return Ok(true);
        }
        self.reading = None;
        self.save().await?;
        fault("after_snapshot");
        Ok(false)
    }

    /// Counts what was read over a gap; a former run may have found it.
    fn read_gap(&self, from: (u32, u32), by_field: bool, documents: u64) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if gaps.is_empty() {
            gaps.push(Gap {
                from: if from.0 == 0 { UNKNOWN.to_owned() } else { rfc3339(from.0) },
                to: self.token.time.map_or_else(|| UNKNOWN.to_owned(), |(seconds, _)| rfc3339(seconds)),
                reason: "a former run found it".to_owned(),
                caught_up_by: if by_field { "cursor" } else { "snapshot" },
                documents: 0,
            });
        }
        if let Some(gap) = gaps.last_mut() {
            gap.documents += documents;
        }
    }

    async fn changes(&mut self) -> Result<Followed, ChangeError> {
        let (mut since, mut pause) = (Instant::now(), Duration::from_millis(100));
        loop {
            let start = match (&self.token.token, self.token.timestamp()) {
                (Some(token), _) => Start::After(token.clone()),
                (None, Some(time)) => Start::At(time),
                (None, None) => Start::Now,
            };
            let before = self.token.clone();
            let error = match self.changes_from(&start, &mut since).await {
                Ok(None) if self.is_invalid => {
                    self.is_invalid = false;
                    return Ok(Followed::Invalid);
                }
                Ok(None) => continue,
                Ok(Some(reason)) => return Ok(Followed::Ended(reason)),
                Err(ChangeError::Other(error)) if error.is_transient() && since.elapsed() < PATIENCE => error,
                Err(error) => return Err(error),
            };
            if self.token != before {
                pause = Duration::from_millis(100);
            }
            self.passage.stats.connect(false);
            tracing::warn!(%error, pause_seconds = pause.as_secs_f64(), "reading changes failed; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Until the end, or `None` where the stream is over and the next begins.
    async fn changes_from(&mut self, start: &Start, since: &mut Instant) -> Result<Option<&'static str>, ChangeError> {
        let mut changes = self.open(start).await?;
        loop {
            let Some(batch) = changes.next().await? else { return Ok(None) };
            *since = Instant::now();
            self.passage.stats.answers();
            if let Some(reason) = self.take(&batch).await? {
                return Ok(Some(reason));
            }
            if self.is_invalid {
                return Ok(None);
            }
        }
    }

    async fn take(&mut self, batch: &ChangeBatch) -> Result<Option<&'static str>> {
        let events = batch.found.documents()?;
        let is_empty = events.is_empty();
        let mut pending: Vec<(&[u8], Headers)> = Vec::new();
        for bytes in events {
            let event = Event::read(bytes)?;
            self.token = Token::of(Some(event.token), event.time.or(self.token.timestamp()));
            self.passage.assembly.count(1, bytes.len() as u64);
            self.note_lag(event.time);
            let headers = headers(event.operation, event.time);
            match event.change {
                Change::Document(document) => pending.push((document, headers)),
                Change::Gone(key) => {
                    self.passage.assembly.add(&std::mem::take(&mut pending))?;
                    self.passage.assembly.push(Message { key, value: None, headers });
                }
                Change::Vanished => self.passage.counts.vanished.add(1),
                Change::Other => {
                    if event.operation == "invalidate" {
                        // Whatever has the name of the collection next is another one, and may have been filled before.
                        // It is remembered with the token, however the run ends.
                        self.is_invalid = true;
                        self.reading = Some(Reading::whole());
                    }
                    tracing::warn!(operation = event.operation, "the collection itself has changed");
                    continue;
                }
            }
            if let Some(left) = &mut self.passage.rows_left {
                *left -= 1;
            }
            let is_enough = self.passage.rows_left == Some(0);
            if is_enough || pending.len() >= self.passage.assembly.room() {
                self.passage.assembly.add(&std::mem::take(&mut pending))?;
                self.save().await?;
            }
            if is_enough {
                return Ok(Some("the number of rows was reached"));
            }
        }
        self.passage.assembly.add(&pending)?;
        if let Some(token) = &batch.token {
            let time = time_of(token).filter(|_| is_empty).or(self.token.timestamp());
            self.token = Token::of(Some(token.clone()), time);
        }
        self.settle(is_empty).await
    }

    /// Hands on what is due, and ends where the changes of the beginning are over.
    async fn settle(&mut self, is_empty: bool) -> Result<Option<&'static str>> {
        let config = &self.passage.config;
        let is_late = |time: (u32, u32)| self.began.operation.is_none_or(|began| time > (began.time, began.increment));
        let is_over = config.until == Until::End
            && !self.is_invalid
            && (self.token.time.is_some_and(is_late) || (is_empty && !self.began.is_sharded && !self.is_early()));
        let heartbeat = Duration::from_secs_f64(config.heartbeat_seconds);
        let assembly = &self.passage.assembly;
        if is_over
            || (!assembly.is_empty() && (assembly.is_due() || assembly.is_wanted()))
            || self.saved.elapsed() > heartbeat
        {
            self.save().await?;
        }
        Ok(is_over.then_some("end of the changes"))
    }

    /// The token is known to stand before the beginning of the run.
    fn is_early(&self) -> bool {
        let time = self.token.token.as_ref().and_then(time_of);
        let pair = |time: Timestamp| (time.time, time.increment);
        matches!((time, self.began.operation), (Some(time), Some(began)) if pair(time) < pair(began))
    }

    async fn save(&mut self) -> Result<()> {
        self.saved = Instant::now();
        let progress = StreamProgress { token: Some(self.token.clone()), reading: self.reading.clone() };
        if self.passage.assembly.hand_on(progress).await { Ok(()) } else { Err(Assembly::<StreamProgress>::gone()) }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn note_lag(&self, time: Option<Timestamp>) {
        if let Some(time) = time {
            let behind = Utc::now().timestamp() - i64::from(time.time);
            self.passage.stats.note(Live::LagSeconds, behind.max(0) as f64);
        }
    }
}

/// Everything that has a time from `from` on, and everything that has none.
fn since(from: Option<(u32, u32)>, lag_seconds: f64) -> Pair {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a lag that is that long is for ever")]
    let seconds = from.unwrap_or_default().0.saturating_sub(lag_seconds.ceil() as u32 + 1);
    let mut id = [0xff; 12];
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    let low = |value: Bson| Place { value, id: None };
    let lows = [
        (Class::ObjectId, low(Bson::ObjectId(bson::oid::ObjectId::from_bytes(id)))),
        (Class::Date, low(Bson::DateTime(bson::DateTime::from_millis(i64::from(seconds) * 1000)))),
        (Class::Timestamp, low(Bson::Timestamp(Timestamp { time: seconds, increment: u32::MAX }))),
    ];
    Pair { ordered: Marks { lows: lows.into(), ..Marks::default() }, rest: Marks::default() }
}

fn headers(operation: &str, time: Option<Timestamp>) -> Headers {
    let mut headers = Headers::default();
    headers.push(OPERATION, Some(operation.as_bytes()));
    if let Some(time) = time {
        headers.push(CLUSTER_TIME, Some(format!("{}.{}", time.time, time.increment).as_bytes()));
    }
    headers
}

fn rfc3339(seconds: u32) -> String {
    DateTime::from_timestamp(i64::from(seconds), 0).map_or_else(String::new, written)
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
