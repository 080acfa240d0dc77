//! One attempt at a task: bring the file over, let the parser work on it, put the result where it belongs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::TARGET;
use super::builtin::Builtin;
use super::config::{ChangedFiles, Config};
use super::transform::{FileTask, content_type};
use super::workplace::{Files, Workplace};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::pipelines::buckets::Buckets;
use crate::process::{Pool, Secrets};
use crate::retry::PATIENCE;
use crate::stats::Counter;
use crate::store::{Budget, Place, fetch, look, reach, store};

/// What all attempts share.
pub(super) struct Shop {
    pub(super) config: Config,
    pub(super) buckets: Buckets,
    pub(super) workplace: Workplace,
    pub(super) parser: Parser,
    pub(super) secrets: Secrets,
    /// Files in work at once.
    pub(super) benches: Semaphore,
    pub(super) budget: Budget,
    /// Kibibytes of disk.
    pub(super) disk: Option<(Semaphore, u32)>,
    pub(super) changed: Counter,
}

pub(super) enum Parser {
    Builtin(Builtin, Arc<Semaphore>),
    Pool(Pool),
}

/// A result that is in its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    pub(super) input_size: u64,
    pub(super) output_size: u64,
    pub(super) e_tag: Option<String>,
}

/// An attempt that came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: String,
    /// Another attempt would end the same way.
    pub(super) is_final: bool,
    pub(super) input_size: u64,
}

/// How an attempt ended; `None` when it was broken off before the parser had begun. An error is no fault of the task's:
/// the run ends, and the task is done by another run.
pub(super) type Attempted = Result<Option<std::result::Result<Made, Failed>>>;

/// An attempt to be made.
pub(super) struct Attempt<'a> {
    pub(super) task: &'a FileTask,
    /// The task's own, for its files.
    pub(super) name: String,
    /// The task's own, for people.
    pub(super) id: String,
    /// Which attempt at the task it is, counted from 1.
    pub(super) number: u8,
    /// Parsers that have not begun do not begin any more.
    pub(super) closing: CancellationToken,
}

impl Shop {
    pub(super) async fn attempt(&self, attempt: Attempt<'_>) -> Attempted {
        let mut input_size = 0;
        match self.make(&attempt, &mut input_size).await {
            Ok(made) => Ok(Some(Ok(made))),
            Err(Stop::Task { error, is_final }) => {
                Ok(Some(Err(Failed { error: self.secrets.hide(&error), is_final, input_size })))
            }
            Err(Stop::BrokenOff) => Ok(None),
            Err(Stop::Run(error)) => Err(error),
        }
    }

    async fn make(&self, attempt: &Attempt<'_>, input_size: &mut u64) -> Result<Made, Stop> {
        let task = attempt.task;
        let source = self.buckets.open(&task.bucket)?;
        let target = self.buckets.open(&task.dest_bucket)?;
        let _room = self.room(attempt, &source).await?;
        let files = self.workplace.files(&self.config.topic, &attempt.name, &task.key, &task.dest_key);
        self.workplace.reuse(&files);
        let mut files = Held { files, shop: self, ending: Ending::BrokenOff };
        let outcome = self.make_in(attempt, input_size, &source, &target, &files.files).await;
        files.ending = match &outcome {
            Ok(_) => Ending::Done,
            Err(Stop::Task { is_final, .. }) if *is_final || attempt.number >= self.config.max_attempts => {
                Ending::GivenUp
            }
            Err(_) => Ending::BrokenOff,
        };
        outcome
    }

    async fn make_in(
        &self,
        attempt: &Attempt<'_>,
        input_size: &mut u64,
        source: &Place,
        target: &Place,
        files: &Files,
    ) -> Result<Made, Stop> {
        let task = attempt.task;
        let fetched = self.outlast(attempt, source, || {
            let (source, key, file) = (source.clone(), task.key.clone(), files.input.clone());
            let budget = self.budget.clone();
            async move { fetch(&source, &key, &file, &budget).await }
        });
        let fetched = fetched.await?;
        *input_size = fetched.size;
        self.compare(task, fetched.e_tag.as_deref())?;
        self.parse(attempt, files).await?;
        if !files.output.is_file() {
            return Err(Stop::Task { error: "The parser wrote no output file".to_owned(), is_final: false });
        }
        let metadata = [
            ("source-etag", fetched.e_tag.clone().unwrap_or_default()),
            ("source-key", task.key.clone()),
            ("task", attempt.id.clone()),
        ];
        let kind = content_type(&task.dest_key);
        fault("before_object");
        let stored = self.outlast(attempt, target, || {
            let (target, key, file) = (target.clone(), task.dest_key.clone(), files.output.clone());
            let (metadata, budget) = (metadata.clone(), self.budget.clone());
            async move { store(&target, &key, &file, kind, &metadata, &budget).await }
        });
        let output_size = stored.await?;
        fault("after_object");
        Ok(Made { input_size: fetched.size, output_size, e_tag: fetched.e_tag })
    }

    fn compare(&self, task: &FileTask, e_tag: Option<&str>) -> Result<(), Stop> {
        let Some((before, now)) = task.e_tag.as_deref().zip(e_tag).filter(|(before, now)| before != now) else {
            return Ok(());
        };
        self.changed.add(1);
        tracing::warn!(
            file_key = task.key,
            bucket = task.bucket,
            before,
            now,
            "the file has changed since its task was made"
        );
        match self.config.changed_files {
            ChangedFiles::Process => Ok(()),
            ChangedFiles::Fail => {
                let error = format!("The file has changed since its task was made: its ETag was {before} and is {now}");
                Err(Stop::Task { error, is_final: true })
            }
        }
    }

    /// A disk that is full costs the task nothing, whoever meets it.
    async fn parse(&self, attempt: &Attempt<'_>, files: &Files) -> Result<(), Stop> {
        let since = Instant::now();
        loop {
            let parsed = match &self.parser {
                Parser::Pool(pool) => pool.parse(&files.input, &files.output, &attempt.closing).await,
                Parser::Builtin(parser, processes) => self.parse_here(*parser, processes, attempt, files).await,
            };
            let error = match parsed {
                None => return Err(Stop::BrokenOff),
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => error,
            };
            if !error.contains(DISK_FULL) {
                return Err(Stop::Task { error, is_final: false });
            }
            let _ = std::fs::remove_file(&files.output);
            let full = Error::new(Kind::Capacity, format!("Cannot write {}: {DISK_FULL}", files.output.display()));
            if since.elapsed() > PATIENCE {
                return Err(Stop::Run(full));
            }
            log_wait(attempt, &full.to_string());
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn parse_here(
        &self,
        parser: Builtin,
        processes: &Arc<Semaphore>,
        attempt: &Attempt<'_>,
        files: &Files,
    ) -> Option<Result<(), String>> {
        let permit = attempt.closing.run_until_cancelled(processes.clone().acquire_owned()).await?.ok()?;
        let over = Over(Arc::default());
        let (key, is_over) = (attempt.task.key.clone(), over.0.clone());
        let (input, output) = (files.input.clone(), files.output.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            parser.parse(&key, &input, &output, &is_over)
        });
        let seconds = self.config.task_timeout;
        Some(match tokio::time::timeout(Duration::from_secs_f64(seconds), work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("The parser ran longer than {seconds} s")),
        })
    }

    /// Waits until the disk may hold the file and a result of the same size.
    async fn room(&self, attempt: &Attempt<'_>, source: &Place) -> Result<Option<SemaphorePermit<'_>>, Stop> {
        let Some((disk, all)) = &self.disk else { return Ok(None) };
        let size = if let Some(size) = attempt.task.size {
            size
        } else {
            let looked = self.outlast(attempt, source, || {
                let (source, key) = (source.clone(), attempt.task.key.clone());
                async move { look(&source, &key).await }
            });
            looked.await?.size
        };
        let kibibytes = u32::try_from(2 * size / 1024 + 1).unwrap_or(u32::MAX).min(*all);
        let permit = disk.acquire_many(kibibytes).await.map_err(|error| Error::internal(error.to_string()))?;
        Ok(Some(permit))
    }

    /// Tries again while the store is away or the disk full, which costs the task nothing. An error of this one object,
    /// with a store that answers, costs an attempt.
    async fn outlast<T, F>(&self, attempt: &Attempt<'_>, place: &Place, call: impl Fn() -> F + Send) -> Result<T, Stop>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let since = Instant::now();
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match error.kind() {
                Kind::Capacity => {}
                Kind::Unavailable => {
                    let is_away = matches!(reach(place).await, Err(error) if error.kind() == Kind::Unavailable);
                    if !is_away {
                        return Err(Stop::Task { error: error.to_string(), is_final: false });
                    }
                }
                _ => return Err(Stop::Task { error: error.to_string(), is_final: true }),
            }
            if since.elapsed() > PATIENCE {
                return Err(Stop::Run(error));
            }
            log_wait(attempt, &self.secrets.hide(&error.to_string()));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn log_wait(attempt: &Attempt<'_>, error: &str) {
    let FileTask { key, bucket, .. } = attempt.task;
    tracing::warn!(
        target: TARGET,
        file_key = key,
        bucket,
        status = "retry",
        attempts = attempt.number,
        processing_time = 0.0,
        input_size = 0,
        output_size = 0,
        error,
        "could not process a file, it is tried again"
    );
}

/// Tells a parser of ours that nobody waits for it any more.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The files of an attempt, removed or kept at its end as was asked.
struct Held<'a> {
    files: Files,
    shop: &'a Shop,
    ending: Ending,
}

#[derive(Clone, Copy)]
enum Ending {
    Done,
    GivenUp,
    /// It will be tried again, here or elsewhere.
    BrokenOff,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let config = &self.shop.config;
        let keeps = match self.ending {
            Ending::Done => !config.cleanup_files,
            Ending::GivenUp => !(config.cleanup_files && config.cleanup_on_error),
            Ending::BrokenOff => false,
        };
        if keeps { self.files.keep() } else { self.shop.workplace.clear(&self.files) }
    }
}

/// Why an attempt stops: by the task, or by what all tasks need.
enum Stop {
    Task { error: String, is_final: bool },
    BrokenOff,
    Run(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Task { error: error.to_string(), is_final: true }
    }
}

/// Between two looks at a store that is away, or a disk that is full.
const PAUSE: Duration = Duration::from_secs(2);

/// What every program says of a full disk.
const DISK_FULL: &str = "No space left on device";

/// Whether files can be put there.
pub(super) fn is_folder_writable(folder: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder));
    made.map(drop).map_err(|error| Error::io(format!("Cannot write to {}", folder.display()), error))
}
