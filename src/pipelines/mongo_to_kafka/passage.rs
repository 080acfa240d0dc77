//! Through the collection in the order of a field, from the position to the end.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, RawDocument, doc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assembly::{Assembly, Counts};
use super::class::Path;
use super::config::Config;
use super::scan::{Marks, Scan, Scope, Verdict};
use super::state::Pair;
use super::until;
use crate::error::{Error, Result};
use crate::flow::Headers;
use crate::mongo::{Batches, Client, Found, Query};
use crate::retry::PATIENCE;
use crate::stats::{Live, Stats};

/// What is read, how, and how far it has come.
pub(super) struct Passage<P> {
    pub(super) client: Client,
    pub(super) config: Arc<Config>,
    pub(super) assembly: Assembly<P>,
    pub(super) counts: Arc<Counts>,
    pub(super) stats: Arc<Stats>,
    pub(super) scans: Scans,
    /// Of each message.
    pub(super) headers: Headers,
    /// Makes what is remembered of how far the scans have come.
    pub(super) wrap: Box<dyn Fn(Pair) -> P + Send + Sync>,
    pub(super) rows_left: Option<u64>,
    pub(super) filter: Option<Document>,
    pub(super) stop: CancellationToken,
    /// What was handed on last.
    pub(super) saved: Pair,
}

/// The order of a field, and the order of the id for documents without it.
#[derive(Debug)]
pub(super) struct Scans {
    pub(super) ordered: Scan,
    pub(super) rest: Option<Scan>,
}

/// How a way through the collection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// All that was there is behind us, but for so many that have to wait.
    Whole { waiting: u64 },
    /// As many as were asked for have been read.
    Enough,
}

impl Scans {
    pub(super) fn new(field: &str, lag: Option<Duration>, capacity: usize, marks: Pair) -> Self {
        let (field, id) = (Path::new(field), Path::new("_id"));
        let lag = lag.map(|lag| i64::try_from(lag.as_millis()).unwrap_or(i64::MAX));
        let scan = |scope, marks: Marks| Scan::new(scope, lag, capacity, marks);
        if field.is_id() {
            let scope = Scope { field, without: None, ordered_only: false };
            return Self { ordered: scan(scope, marks.ordered), rest: None };
        }
        let rest = Scope { field: id, without: Some(field.clone()), ordered_only: false };
        let ordered = Scope { field, without: None, ordered_only: true };
        Self { ordered: scan(ordered, marks.ordered), rest: Some(scan(rest, marks.rest)) }
    }

    pub(super) fn marks(&self) -> Pair {
        let rest = self.rest.as_ref().map(|scan| scan.marks.clone()).unwrap_or_default();
        Pair { ordered: self.ordered.marks.clone(), rest }
    }

    fn get(&mut self, which: Which) -> Option<&mut Scan> {
        match which {
            Which::Ordered => Some(&mut self.ordered),
            Which::Rest => self.rest.as_mut(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Ordered,
    Rest,
}

impl<P> Passage<P> {
    /// Once through all that is behind the position.
    pub(super) async fn pass(&mut self, with_rest: bool) -> Result<Passed> {
        let mut all = 0;
        for which in [Which::Ordered, Which::Rest] {
            if self.scans.get(which).is_none() || (which == Which::Rest && !with_rest) {
                continue;
            }
            match self.pass_patiently(which).await? {
                Passed::Whole { waiting } => all += waiting,
                Passed::Enough => return Ok(Passed::Enough),
            }
        }
        // What has grown old enough moves the position, though nothing is sent.
        if !self.assembly.is_empty() || self.scans.marks() != self.saved {
            self.save().await?;
        }
        self.counts.waiting.set(all);
        #[expect(clippy::cast_precision_loss, reason = "a count to look at")]
        self.stats.note(Live::Window, self.scans.ordered.marks.seen.len() as f64);
        Ok(Passed::Whole { waiting: all })
    }

    /// A server that is away, or a cursor that is lost, costs a new query from where we are.
    async fn pass_patiently(&mut self, which: Which) -> Result<Passed> {
        let (mut since, mut pause) = (Instant::now(), Duration::from_millis(100));
        loop {
            let before = since;
            let error = match self.pass_one(which, &mut since).await {
                Err(error) if error.is_transient() && since.elapsed() < PATIENCE => error,
                other => return other,
            };
            if since > before {
                pause = Duration::from_millis(100);
            }
            self.stats.connect(false);
            tracing::warn!(%error, pause_seconds = pause.as_secs_f64(), "reading the collection failed; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn pass_one(&mut self, which: Which, since: &mut Instant) -> Result<Passed> {
        let now = self.client.now().await?.millis;
        self.stats.answers();
        let Some(scan) = self.scans.get(which) else { return Ok(Passed::Whole { waiting: 0 }) };
        scan.begin(now);
        let (filter, sort) = scan.query();
        let filter = match &self.filter {
            Some(users) => doc! {"$and": [users.clone(), filter]},
            None => filter,
        };
        let collection = self.config.collection.clone();
        let mut batches =
            Batches::read(&self.client, Query { collection, filter, sort, batch_size: self.config.batch_size });
        loop {
            let next = tokio::select! {
                next = batches.next() => next,
                () = until(self.assembly.deadline()) => {
                    self.save().await?;
                    continue;
                }
            };
            let Some(found) = next else { break };
            let found = found?;
            *since = Instant::now();
            self.stats.moves();
            if self.take(which, &found).await? {
                return Ok(Passed::Enough);
            }
        }
        let waiting = self.scans.get(which).map_or(0, Scan::end);
        Ok(Passed::Whole { waiting })
    }

    /// True when as many as were asked for have been read.
    async fn take(&mut self, which: Which, found: &Found) -> Result<bool> {
        let documents = found.documents()?;
        let mut rest = documents.as_slice();
        while !rest.is_empty() {
            let mut room = self.assembly.room();
            if let Some(left) = self.rows_left {
                room = room.min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            let Some(scan) = self.scans.get(which) else { break };
            let mut news: Vec<(&[u8], Headers)> = Vec::new();
            let (mut taken, mut bytes, mut known) = (0, 0, 0);
            for document in rest {
                if news.len() >= room {
                    break;
                }
                taken += 1;
                let raw = RawDocument::from_bytes(document).map_err(|_| Error::internal("A document has no length"))?;
                match scan.take(raw) {
                    Verdict::New => {
                        bytes += document.len() as u64;
                        news.push((document, self.headers.clone()));
                    }
                    Verdict::Known => known += 1,
                    Verdict::Waiting | Verdict::Foreign => {}
                }
            }
            rest = &rest[taken..];
            self.counts.duplicates.add(known);
            if which == Which::Rest {
                self.counts.without_field.add(news.len() as u64);
            }
            if !news.is_empty() {
                self.assembly.count(news.len() as u64, bytes);
            }
            self.assembly.add(&news)?;
            if let Some(left) = &mut self.rows_left {
                *left -= news.len() as u64;
            }
            let is_enough = self.rows_left == Some(0);
            if self.assembly.is_due() || (is_enough && !self.assembly.is_empty()) {
                self.save().await?;
            }
            if is_enough {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands on what there is, and how far that reaches.
    pub(super) async fn save(&mut self) -> Result<()> {
        self.saved = self.scans.marks();
        let progress = (self.wrap)(self.saved.clone());
        if self.assembly.hand_on(progress).await { Ok(()) } else { Err(Assembly::<P>::gone()) }
    }
}
