//! The loop of a worker: takes tasks, watches attempts, and commits what has ended while others go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::TARGET;
use super::attempt::{Attempt, Attempted, Failed, Made, Shop};
use super::transform::{Ending, Fallbacks, FileTask, notice};
use crate::error::{Error, Kind, Result};
use crate::flow::{Guard, Lane, MOST_FAILURES, Origin, Refused};
use crate::kafka::{Commit, Commits, Notice, Task, TaskEvent, TaskSource};
use crate::stats::{Stats, Timed};

/// What has ended waits so long for others to be committed with, unless nothing else is in work.
const LINGER: Duration = Duration::from_millis(100);

/// So many are committed at once without waiting.
const MANY: usize = 1000;

/// The longest pause between two attempts.
const LONGEST_PAUSE: f64 = 30.0;

/// A task on its way through the worker.
#[derive(Debug)]
struct Work {
    task: Task,
    file: FileTask,
    /// Of the assignment that it came with: one that was lost since counts no more.
    epoch: u64,
}

/// A partition that was given to us.
#[derive(Debug)]
struct Assigned {
    epoch: u64,
    /// Attempts that have not begun do not begin any more.
    closing: CancellationToken,
    /// Attempts are broken off.
    closed: CancellationToken,
    /// Attempts that have begun or wait to begin.
    alive: usize,
}

/// An attempt that is over; `None` when it was broken off.
type Ended = (Arc<Work>, Option<Attempted>, f64);

/// A task that has ended and is not committed yet.
#[derive(Debug)]
struct Outcome {
    lane: Lane,
    offset: i64,
    notice: Option<Notice>,
    refused: Option<Refused>,
    made: Option<Made>,
    input_size: u64,
}

type Committing = BoxFuture<'static, (Commits, Commit, Vec<Outcome>, Result<()>)>;

pub(super) struct Run {
    source: TaskSource,
    commits: Option<Commits>,
    committing: Option<Committing>,
    shop: Arc<Shop>,
    stop: CancellationToken,
    stats: Arc<Stats>,
    guard: Guard,
    running: JoinSet<Ended>,
    lanes: HashMap<Lane, Assigned>,
    epoch: u64,
    pending: Vec<Outcome>,
    /// Since when there is something to commit.
    since: Option<Instant>,
    retries: u64,
    dead_letter_topic: String,
    worker_type: &'static str,
}

/// What is left of a run.
pub(super) struct Finished {
    pub(super) shop: Arc<Shop>,
    pub(super) retries: u64,
}

impl Run {
    pub(super) fn new(
        source: TaskSource,
        commits: Commits,
        shop: Shop,
        stop: CancellationToken,
        stats: Arc<Stats>,
    ) -> Self {
        let config = &shop.config;
        Self {
            guard: Guard::new(config.max_rejected_share),
            dead_letter_topic: config.dead_letter_topic.clone().unwrap_or_else(|| format!("{}_dlq", config.topic)),
            worker_type: if config.processes > 1 { "multi_process" } else { "single_process" },
            shop: Arc::new(shop),
            source,
            commits: Some(commits),
            committing: None,
            stop,
            stats,
            running: JoinSet::new(),
            lanes: HashMap::new(),
            epoch: 0,
            pending: Vec::new(),
            since: None,
            retries: 0,
        }
    }

    /// The reason why it ended, or `None` when it was stopped.
    pub(super) async fn finish(mut self) -> Result<(Option<String>, TaskSource, Finished)> {
        let time = self.shop.config.until.duration().map(|time| Instant::now() + time);
        let outcome = self.work(time).await;
        // What has ended is committed whatever else went wrong.
        let reason = match outcome {
            Ok(reason) => {
                self.drain(None).await?;
                self.guard.check()?;
                reason
            }
            Err(error) => {
                if self.settle().await.is_err() {
                    tracing::warn!("what had ended is not committed and will be done again");
                }
                return Err(error);
            }
        };
        self.running.shutdown().await;
        Ok((reason, self.source, Finished { shop: self.shop, retries: self.retries }))
    }

    async fn work(&mut self, time: Option<Instant>) -> Result<Option<String>> {
        loop {
            self.begin_commit()?;
            let commit_at = self.commit_at();
            let stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                () = until(time) => return Ok(Some("the time was over".to_owned())),
                done = committed(&mut self.committing) => self.end_commit(done)?,
                Some(ended) = self.running.join_next() => self.end_attempt(joined(ended)?)?,
                () = until(commit_at) => {}
                event = self.source.next() => match event? {
                    TaskEvent::Task(task) => self.take(task),
                    TaskEvent::Closing { lanes, lost } => self.close(&lanes, lost).await?,
                    TaskEvent::End(reason) => return Ok(Some(reason)),
                },
            }
        }
    }

    fn take(&mut self, task: Task) {
        self.stats.rows_read.add(1);
        let lane = self.lanes.entry(task.lane).or_insert_with(|| {
            self.epoch += 1;
            let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
            Assigned { epoch: self.epoch, closing, closed, alive: 0 }
        });
        let epoch = lane.epoch;
        match FileTask::read(task.value.as_deref(), Fallbacks::of(&self.shop.config)) {
            Ok(file) => {
                self.attempt(Arc::new(Work { task, file, epoch }), Duration::ZERO);
            }
            Err((reason, file)) => {
                let failed = Failed { error: reason, is_final: true, input_size: 0 };
                self.give_up(&task, file.as_deref(), &failed, 0.0);
            }
        }
    }

    fn attempt(&mut self, work: Arc<Work>, pause: Duration) {
        let Task { lane, offset, failures, .. } = work.task;
        let Some(assigned) = self.lanes.get_mut(&lane) else { return };
        assigned.alive += 1;
        let (closing, closed) = (assigned.closing.clone(), assigned.closed.clone());
        let shop = self.shop.clone();
        let name = format!("{lane}-{offset}-{failures}");
        let id = format!("{}/{lane}/{offset}", shop.config.topic);
        let attempted = async move {
            let begun = closing.clone().run_until_cancelled_owned(async {
                tokio::time::sleep(pause).await;
                shop.benches.acquire().await
            });
            let Some(Ok(_bench)) = begun.await else { return (work, None, 0.0) };
            let since = Instant::now();
            let attempt = Attempt { task: &work.file, name, id, number: failures + 1, closing };
            let attempted = Box::pin(closed.run_until_cancelled(shop.attempt(attempt))).await;
            (work, attempted, since.elapsed().as_secs_f64())
        };
        self.running.spawn(attempted.in_current_span());
    }

    fn end_attempt(&mut self, (work, attempted, seconds): Ended) -> Result<()> {
        let Work { task, file, epoch } = &*work;
        let Some(assigned) = self.lanes.get_mut(&task.lane).filter(|assigned| assigned.epoch == *epoch) else {
            return Ok(());
        };
        assigned.alive -= 1;
        let Some(attempted) = attempted else { return Ok(()) };
        let Some(attempted) = attempted? else { return Ok(()) };
        match attempted {
            Ok(made) => self.succeed(task, file, made, seconds),
            Err(failed) => {
                let failures = self.source.fail(task.lane, task.offset);
                let is_last = failures >= self.shop.config.max_attempts.min(MOST_FAILURES);
                if failed.is_final || is_last {
                    let task = Task { failures: failures.saturating_sub(1), ..task.clone() };
                    self.give_up(&task, Some(file), &failed, seconds);
                    return Ok(());
                }
                let pause = self.shop.config.retry_seconds * f64::from(1 << (failures - 1).min(10));
                log_failure("retry", file, failures, &failed, seconds);
                self.retries += 1;
                self.since.get_or_insert_with(Instant::now);
                let again = Work { task: Task { failures, ..task.clone() }, file: file.clone(), epoch: *epoch };
                self.attempt(Arc::new(again), Duration::from_secs_f64(pause.min(LONGEST_PAUSE)));
            }
        }
        Ok(())
    }

    fn succeed(&mut self, task: &Task, file: &FileTask, made: Made, seconds: f64) {
        let attempts = task.failures + 1;
        tracing::info!(
            target: TARGET,
            file_key = file.key,
            bucket = file.bucket,
            status = "success",
            attempts,
            processing_time = rounded(seconds),
            input_size = made.input_size,
            output_size = made.output_size,
            "processed a file"
        );
        let notice = self.notice(
            task,
            file,
            made.e_tag.as_deref(),
            attempts,
            Ending {
                worker_type: self.worker_type,
                input_size: made.input_size,
                output_size: made.output_size,
                error: None,
            },
        );
        self.end(Outcome {
            lane: task.lane,
            offset: task.offset,
            notice,
            refused: None,
            input_size: made.input_size,
            made: Some(made),
        });
    }

    /// A task that will not be tried again: a notice if it has a key, and its message to the dead letters.
    fn give_up(&mut self, task: &Task, file: Option<&FileTask>, failed: &Failed, seconds: f64) {
        let attempts = task.failures + 1;
        if let Some(file) = file {
            log_failure("failed", file, attempts, failed, seconds);
        } else {
            let (partition, offset, error) = (task.lane, task.offset, &failed.error);
            tracing::warn!(target: TARGET, partition, offset, error, "gave a message up");
        }
        let ending = Ending {
            worker_type: self.worker_type,
            input_size: failed.input_size,
            output_size: 0,
            error: Some(&failed.error),
        };
        let notice = file.and_then(|file| self.notice(task, file, None, attempts, ending));
        let origin = Origin::Topic { topic: self.shop.config.topic.clone(), partition: task.lane, offset: task.offset };
        let refused = Refused {
            headers: task.headers.clone(),
            time: task.time,
            ..Refused::new(task.key.clone(), task.value.clone(), &failed.error, origin)
        };
        self.guard.refuse(&refused);
        self.end(Outcome {
            lane: task.lane,
            offset: task.offset,
            notice,
            refused: Some(refused),
            input_size: failed.input_size,
            made: None,
        });
    }

    fn notice(
        &self,
        task: &Task,
        file: &FileTask,
        e_tag: Option<&str>,
        attempts: u8,
        ending: Ending<'_>,
    ) -> Option<Notice> {
        let config = &self.shop.config;
        let mut headers = vec![
            ("pipeline_core.task", format!("{}/{}/{}", config.topic, task.lane, task.offset)),
            ("pipeline_core.attempts", attempts.to_string()),
        ];
        headers.extend(e_tag.map(|e_tag| ("pipeline_core.source_etag", e_tag.to_owned())));
        config.send_results.then(|| Notice {
            topic: config.result_topic.clone(),
            key: file.key.clone().into_bytes(),
            value: notice(file, ending, Utc::now()),
            headers,
        })
    }

    fn end(&mut self, outcome: Outcome) {
        self.source.end(outcome.lane, outcome.offset);
        self.pending.push(outcome);
        self.since.get_or_insert_with(Instant::now);
    }

    fn commit_at(&self) -> Option<Instant> {
        self.since.filter(|_| self.committing.is_none()).map(|since| since + LINGER)
    }

    /// Begins a commit if it is time for one and none is under way.
    fn begin_commit(&mut self) -> Result<()> {
        let Some(since) = self.since.filter(|_| self.committing.is_none()) else { return Ok(()) };
        let is_time = since.elapsed() >= LINGER || self.pending.len() >= MANY || self.running.is_empty();
        if is_time { self.commit_now() } else { Ok(()) }
    }

    fn commit_now(&mut self) -> Result<()> {
        let Some(mut commits) = self.commits.take() else { return Ok(()) };
        self.since = None;
        let mut outcomes = std::mem::take(&mut self.pending);
        outcomes.retain(|outcome| self.source.is_open(outcome.lane, outcome.offset));
        for outcome in &outcomes {
            self.source.finish(outcome.lane, outcome.offset);
        }
        let commit = Commit {
            positions: self.source.positions()?,
            notices: outcomes.iter().filter_map(|outcome| outcome.notice.clone()).collect(),
            refused: outcomes.iter().filter_map(|outcome| outcome.refused.clone()).collect(),
        };
        if commit.positions.is_empty() {
            self.commits = Some(commits);
            return Ok(());
        }
        let (dead_letter_topic, stats) = (self.dead_letter_topic.clone(), self.stats.clone());
        let committing = async move {
            let began = Instant::now();
            let outcome = commits.commit(&commit, &dead_letter_topic).await;
            if outcome.is_ok() {
                stats.took(Timed::Transaction, began.elapsed());
            }
            (commits, commit, outcomes, outcome)
        };
        self.committing = Some(committing.boxed());
        Ok(())
    }

    fn end_commit(&mut self, done: (Commits, Commit, Vec<Outcome>, Result<()>)) -> Result<()> {
        let (commits, commit, outcomes, outcome) = done;
        self.commits = Some(commits);
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Fenced => {
                tracing::warn!(%error, "another member has taken the partitions over; what ended here is done there again");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.stats.dead_letters.add(commit.refused.len() as u64);
        self.source.committed(commit.positions);
        for outcome in outcomes {
            self.stats.bytes_read.add(outcome.input_size);
            match outcome.made {
                Some(made) => {
                    self.guard.accept(1);
                    self.stats.rows_written.add(1);
                    self.stats.bytes_written.add(made.output_size);
                }
                None => self.stats.rows_rejected.add(1),
            }
        }
        self.guard.check()
    }

    /// Commits all that has ended so far.
    async fn settle(&mut self) -> Result<()> {
        loop {
            if self.committing.is_none() {
                if self.since.is_none() {
                    return Ok(());
                }
                self.commit_now()?;
            }
            if self.committing.is_some() {
                let done = committed(&mut self.committing).await;
                self.end_commit(done)?;
            }
        }
    }

    /// Lets attempts end, for a while; the others are broken off and stay for another worker. With `lanes`, only theirs.
    async fn drain(&mut self, lanes: Option<&[Lane]>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs_f64(self.shop.config.drain_seconds);
        let is_theirs = |lane: &Lane| lanes.is_none_or(|lanes| lanes.contains(lane));
        for (_, assigned) in self.lanes.iter().filter(|(lane, _)| is_theirs(lane)) {
            assigned.closing.cancel();
        }
        while self.lanes.iter().any(|(lane, assigned)| is_theirs(lane) && assigned.alive > 0) {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => break,
                done = committed(&mut self.committing) => self.end_commit(done)?,
                Some(ended) = self.running.join_next() => self.end_attempt(joined(ended)?)?,
            }
        }
        for (_, assigned) in self.lanes.iter().filter(|(lane, _)| is_theirs(lane)) {
            assigned.closed.cancel();
        }
        self.settle().await
    }

    async fn close(&mut self, lanes: &[Lane], lost: bool) -> Result<()> {
        if !lost {
            self.drain(Some(lanes)).await?;
        }
        for lane in lanes {
            if let Some(assigned) = self.lanes.remove(lane) {
                assigned.closing.cancel();
                assigned.closed.cancel();
            }
        }
        if self.committing.is_some() {
            let done = committed(&mut self.committing).await;
            self.end_commit(done)?;
        }
        self.pending.retain(|outcome| !lanes.contains(&outcome.lane));
        self.source.release(lanes)
    }
}

fn log_failure(status: &'static str, file: &FileTask, attempts: u8, failed: &Failed, seconds: f64) {
    let message = if status == "retry" { "could not process a file, it is tried again" } else { "gave a file up" };
    tracing::warn!(
        target: TARGET,
        file_key = file.key,
        bucket = file.bucket,
        status,
        attempts,
        processing_time = rounded(seconds),
        input_size = failed.input_size,
        output_size = 0,
        error = failed.error,
        "{message}"
    );
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn joined(ended: std::result::Result<Ended, tokio::task::JoinError>) -> Result<Ended> {
    ended.map_err(|error| Error::internal(format!("An attempt panicked: {error}")))
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits for the commit that is under way, if there is one. Cancel-safe.
async fn committed(committing: &mut Option<Committing>) -> (Commits, Commit, Vec<Outcome>, Result<()>) {
    let Some(under_way) = committing else { return std::future::pending().await };
    let done = under_way.await;
    *committing = None;
    done
}
