//! One attempt at a task: bring the file over, let the parser work on it, put the result where it belongs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

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
    /// Mebibytes of disk.
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

/// How an attempt ended. An error is no fault of the task's: the run ends, and the task is done by another run.
pub(super) type Attempted = Result<std::result::Result<Made, Failed>>;

impl Shop {
    /// `name` is the task's own, for its files.
    pub(super) async fn attempt(&self, task: &FileTask, name: &str, id: &str) -> Attempted {
        let mut input_size = 0;
        match self.make(task, name, id, &mut input_size).await {
            Ok(made) => Ok(Ok(made)),
            Err(Stop::Task { error, is_final }) => {
                Ok(Err(Failed { error: self.secrets.hide(&error), is_final, input_size }))
            }
            Err(Stop::Run(error)) => Err(error),
        }
    }

    async fn make(&self, task: &FileTask, name: &str, id: &str, input_size: &mut u64) -> Result<Made, Stop> {
        let source = self.buckets.open(&task.bucket)?;
        let target = self.buckets.open(&task.dest_bucket)?;
        let _room = self.room(task, &source).await?;
        let files = self.workplace.files(name, &task.key, &task.dest_key);
        let mut files = Held { files, shop: self, is_failed: None };
        let outcome = self.make_in(task, id, input_size, &source, &target, &files.files).await;
        files.is_failed = Some(outcome.is_err());
        outcome
    }

    async fn make_in(
        &self,
        task: &FileTask,
        id: &str,
        input_size: &mut u64,
        source: &Place,
        target: &Place,
        files: &Files,
    ) -> Result<Made, Stop> {
        let fetched = outlast(source, || {
            let (source, key, file) = (source.clone(), task.key.clone(), files.input.clone());
            let budget = self.budget.clone();
            async move {
                let _ = std::fs::remove_file(&file);
                fetch(&source, &key, &file, &budget).await
            }
        })
        .await?;
        *input_size = fetched.size;
        self.compare(task, fetched.e_tag.as_deref())?;
        self.parse(&task.key, files).await.map_err(|error| Stop::Task { error, is_final: false })?;
        if !files.output.is_file() {
            return Err(Stop::Task { error: "The parser wrote no output file".to_owned(), is_final: false });
        }
        let metadata = [
            ("source-etag", fetched.e_tag.clone().unwrap_or_default()),
            ("source-key", task.key.clone()),
            ("task", id.to_owned()),
        ];
        let kind = content_type(&task.dest_key);
        fault("before_object");
        let output_size =
            outlast(target, async || store(target, &task.dest_key, &files.output, kind, &metadata, &self.budget).await)
                .await?;
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

    async fn parse(&self, key: &str, files: &Files) -> Result<(), String> {
        let (input, output) = (files.input.clone(), files.output.clone());
        match &self.parser {
            Parser::Pool(pool) => pool.parse(input, output).await,
            Parser::Builtin(parser, processes) => {
                let permit = processes.clone().acquire_owned().await.map_err(|error| error.to_string())?;
                let over = Over(Arc::default());
                let (parser, key, is_over) = (*parser, key.to_owned(), over.0.clone());
                let work = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    parser.parse(&key, &input, &output, &is_over)
                });
                let seconds = self.config.task_timeout;
                match tokio::time::timeout(Duration::from_secs_f64(seconds), work).await {
                    Ok(outcome) => outcome.map_err(|error| error.to_string())?,
                    Err(_) => Err(format!("The parser ran longer than {seconds} s")),
                }
            }
        }
    }

    /// Waits until the disk may hold the file.
    async fn room(&self, task: &FileTask, source: &Place) -> Result<Option<SemaphorePermit<'_>>, Stop> {
        let Some((disk, all)) = &self.disk else { return Ok(None) };
        let size = if let Some(size) = task.size {
            size
        } else {
            let looked = outlast(source, || {
                let (source, key) = (source.clone(), task.key.clone());
                async move { look(&source, &key).await }
            });
            looked.await?.size
        };
        let mebibytes = u32::try_from(size >> 20).unwrap_or(u32::MAX).saturating_add(1).min(*all);
        let permit = disk.acquire_many(mebibytes).await.map_err(|error| Error::internal(error.to_string()))?;
        Ok(Some(permit))
    }
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
    /// `None` when it was broken off.
    is_failed: Option<bool>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let config = &self.shop.config;
        let keeps = match self.is_failed {
            Some(true) => !(config.cleanup_files && config.cleanup_on_error),
            Some(false) => !config.cleanup_files,
            None => false,
        };
        if keeps { self.files.keep() } else { self.files.remove() }
    }
}

/// Why an attempt stops: by the task, or by what all tasks need.
enum Stop {
    Task { error: String, is_final: bool },
    Run(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Task { error: error.to_string(), is_final: true }
    }
}

/// Between two looks at a store that is away, or a disk that is full.
const PAUSE: Duration = Duration::from_secs(2);

/// Tries again while the store is away or the disk full, which costs the task nothing. An error of this one object, with
/// a store that answers, costs an attempt.
async fn outlast<T, F>(place: &Place, call: impl Fn() -> F + Send) -> Result<T, Stop>
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
        tracing::warn!(%error, "waiting until this passes");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether files can be put there.
pub(super) fn is_folder_writable(folder: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder));
    made.map(drop).map_err(|error| Error::io(format!("Cannot write to {}", folder.display()), error))
}
