//! The user's model: documents in, messages out, by a class of Python's in children of our own.
//!
//! A document is refused for a dead child only if the child died of nothing but this document: it was the first that a
//! fresh child got, or the one that took too long. All others are given to the next child.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::model_child::{Batch, ModelChild};
use super::spawned::Leash;
use crate::error::{Error, Result};
use crate::stats::Counter;

/// How to run the class; made by Python, which knows where it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSetup {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `module:Class`, with a method `from_document`.
    pub class: String,
    /// Where Python looks for modules.
    pub path: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct ModelSettings {
    pub setup: ModelSetup,
    pub processes: usize,
    /// Bytes of memory for one child.
    pub memory: Option<u64>,
    /// How long one document may take.
    pub timeout: Duration,
}

impl ModelSettings {
    /// A process for each core, up to four; a minute for each document.
    #[must_use]
    pub fn new(setup: ModelSetup) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { setup, processes: cores.min(MOST), memory: None, timeout: Duration::from_secs(60) }
    }
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Converted {
    /// The JSON to send.
    Message(Vec<u8>),
    /// The model wants no message of it.
    LeftOut,
    /// What the model raised, or how its process died.
    Refused(String),
}

/// Processes unless told otherwise.
const MOST: usize = 4;

/// How long a class may take to load.
const LOAD: Duration = Duration::from_secs(120);

/// How often it is looked whether a child takes too long.
const LOOK: Duration = Duration::from_millis(50);

/// The children that have the class loaded.
pub struct DocumentModel {
    class: String,
    keepers: Vec<Keeper>,
    restarts: Arc<Counter>,
}

impl std::fmt::Debug for DocumentModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentModel").field("class", &self.class).finish_non_exhaustive()
    }
}

impl DocumentModel {
    /// Starts all children; blocks until they have loaded the class.
    ///
    /// # Errors
    /// `Settings` when it cannot be loaded, with its reason.
    pub fn start(settings: ModelSettings) -> Result<Self> {
        let class = settings.setup.class.clone();
        let (settings, restarts) = (Arc::new(settings), Arc::<Counter>::default());
        let mut model = Self { class, keepers: Vec::new(), restarts };
        let (loaded, outcomes) = channel();
        for _ in 0..settings.processes.max(1) {
            model.keepers.push(Keeper::start(&settings, &model.restarts, loaded.clone())?);
        }
        drop(loaded);
        for _ in 0..model.keepers.len() {
            model.wait(&outcomes)?.map_err(|reason| model.unloadable(reason))?;
        }
        Ok(model)
    }

    /// Turns documents, each the extended JSON of it, into messages, in their order; blocks.
    ///
    /// # Errors
    /// `Settings` when the class cannot be loaded any more.
    pub fn convert<T: AsRef<[u8]>>(&mut self, documents: &[T]) -> Result<Vec<Converted>> {
        let share = documents.len().div_ceil(self.keepers.len()).max(1);
        let (done, outcomes) = channel();
        let parts = documents.chunks(share).zip(&self.keepers).enumerate();
        for (number, (part, keeper)) in parts {
            let job = Job { number, batch: Batch::of(part), done: done.clone() };
            keeper.jobs.as_ref().map(|jobs| jobs.send(job));
        }
        drop(done);
        let mut converted = vec![Vec::new(); documents.len().div_ceil(share)];
        for _ in 0..converted.len() {
            let (number, part) = self.wait(&outcomes)?;
            converted[number] = part.map_err(|reason| self.unloadable(reason))?;
        }
        Ok(converted.concat())
    }

    /// How many children had to be replaced.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    /// Waits for a keeper, and kills the children that take too long.
    fn wait<T>(&self, outcomes: &Receiver<T>) -> Result<T> {
        loop {
            match outcomes.recv_timeout(LOOK) {
                Ok(outcome) => return Ok(outcome),
                Err(RecvTimeoutError::Timeout) => {
                    for keeper in &self.keepers {
                        keeper.pace().enforce(&keeper.leash);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Error::internal("A keeper of the model is gone")),
            }
        }
    }

    fn unloadable(&self, reason: String) -> Error {
        let last = reason.trim().lines().last().unwrap_or_default();
        Error::settings(format!("The model {} cannot be loaded: {last}", self.class))
            .hint("Write it as module:Class, with a method from_document, importable from the working folder.")
            .caused_by(reason)
    }
}

impl Drop for DocumentModel {
    fn drop(&mut self) {
        for keeper in &mut self.keepers {
            keeper.jobs = None;
            keeper.leash.kill("was stopped");
        }
        for keeper in self.keepers.drain(..) {
            let _ = keeper.thread.join();
        }
    }
}

/// Documents for one child; the error is why there is none.
struct Job {
    number: usize,
    batch: Batch,
    done: Sender<(usize, Loaded<Vec<Converted>>)>,
}

type Loaded<T> = std::result::Result<T, String>;

/// Since when a child works on what it works on, and how long it may.
#[derive(Debug, Default)]
struct Pace {
    begun: Option<(Instant, Duration)>,
    is_late: bool,
}

impl Pace {
    fn enforce(&mut self, leash: &Leash) {
        if let Some((begun, limit)) = self.begun
            && begun.elapsed() > limit
        {
            self.is_late = true;
            leash.kill(&format!("took longer than {} s", limit.as_secs_f64()));
        }
    }
}

struct Keeper {
    leash: Leash,
    pace: Arc<Mutex<Pace>>,
    jobs: Option<Sender<Job>>,
    thread: JoinHandle<()>,
}

impl Keeper {
    fn start(settings: &Arc<ModelSettings>, restarts: &Arc<Counter>, loaded: Sender<Loaded<()>>) -> Result<Self> {
        let (leash, pace, (jobs, queue)) = (Leash::default(), Arc::<Mutex<Pace>>::default(), channel());
        let keeping = Keeping {
            settings: settings.clone(),
            restarts: restarts.clone(),
            leash: leash.clone(),
            pace: pace.clone(),
            child: None,
        };
        // A child dies with the thread that started it, so this one lives as long as the model.
        let thread = std::thread::Builder::new().name("model-keeper".to_owned());
        let maker = tracing::Span::current();
        let thread = thread.spawn(move || maker.in_scope(|| keeping.run(&loaded, &queue)));
        let thread = thread.map_err(|error| Error::io("Cannot start a thread", error))?;
        Ok(Self { leash, pace, jobs: Some(jobs), thread })
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of one child.
struct Keeping {
    settings: Arc<ModelSettings>,
    restarts: Arc<Counter>,
    leash: Leash,
    pace: Arc<Mutex<Pace>>,
    child: Option<ModelChild>,
}

impl Keeping {
    fn run(mut self, loaded: &Sender<Loaded<()>>, queue: &Receiver<Job>) {
        let outcome = self.child().map(drop);
        let is_loaded = outcome.is_ok();
        let _ = loaded.send(outcome);
        while is_loaded && let Ok(Job { number, batch, done }) = queue.recv() {
            let _ = done.send((number, self.convert(&batch)));
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child that there is, or a new one.
    fn child(&mut self) -> Loaded<&mut ModelChild> {
        let child = if let Some(child) = self.child.take() {
            child
        } else {
            *self.pace() = Pace { begun: Some((Instant::now(), LOAD)), is_late: false };
            let spawned = ModelChild::spawn(&self.settings, &self.leash);
            *self.pace() = Pace::default();
            spawned?
        };
        Ok(self.child.insert(child))
    }

    fn convert(&mut self, batch: &Batch) -> Loaded<Vec<Converted>> {
        let mut converted = Vec::with_capacity(batch.len());
        if self.child.as_mut().is_some_and(ModelChild::is_gone) {
            self.child = None;
        }
        while converted.len() < batch.len() {
            if self.child.is_none() {
                self.restarts.add(1);
            }
            let (pace, limit) = (self.pace.clone(), self.settings.timeout);
            let tick = move || {
                *pace.lock().unwrap_or_else(PoisonError::into_inner) =
                    Pace { begun: Some((Instant::now(), limit)), is_late: false };
            };
            let child = self.child()?;
            tick();
            let outcome = child.ask(batch, &mut converted, tick);
            let is_fresh = child.answered == 0;
            let is_late = std::mem::take(&mut *self.pace()).is_late;
            if let Err(obituary) = outcome {
                self.child = None;
                tracing::warn!(reason = obituary, "a process of the model died; another takes its place");
                if is_fresh || is_late {
                    converted.push(Converted::Refused(format!("The model's process died: {obituary}")));
                }
            }
        }
        Ok(converted)
    }
}
