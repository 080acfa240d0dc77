//! Children, each with a thread that speaks to it and takes the next file from one queue for all.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::child::{Answer, Child};
use super::spawned::Leash;
use crate::error::{Error, Result};
use crate::stats::Counter;

#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Program and arguments.
    pub command: Vec<String>,
    /// What the child is told of the parser.
    pub setup: Value,
    pub processes: usize,
    /// Bytes of memory for one child.
    pub memory: u64,
    /// Bytes of the largest file that it may write.
    pub output: u64,
    pub timeout: Duration,
}

/// How long a parser may take to load.
const LOAD: Duration = Duration::from_secs(120);

/// The error is what the parser says, or what became of it.
type Outcome = std::result::Result<(), String>;

struct Job {
    id: u64,
    input: PathBuf,
    output: PathBuf,
    /// When a child began with it, and the way to kill the child.
    begun: Arc<OnceLock<(Instant, Leash)>>,
    done: oneshot::Sender<Outcome>,
}

/// The files that wait for a child.
#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        self.state().jobs.push_back(job);
        self.more.notify_one();
    }

    /// Waits for the next one; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a file back that no child has begun with.
    fn take_back(&self, id: u64) -> bool {
        let mut state = self.state();
        let at = state.jobs.iter().position(|job| job.id == id);
        at.is_some_and(|at| state.jobs.remove(at).is_some())
    }

    fn close(&self) {
        self.state().is_closed = true;
        self.more.notify_all();
    }
}

#[derive(Debug)]
struct Keeper {
    leash: Leash,
    thread: JoinHandle<()>,
}

pub struct Pool {
    timeout: Duration,
    queue: Arc<Queue>,
    keepers: Vec<Keeper>,
    last_id: AtomicU64,
    restarts: Arc<Counter>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("keepers", &self.keepers).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts all children.
    ///
    /// # Errors
    /// When the parser cannot be loaded, with its reason.
    pub async fn start(settings: PoolSettings) -> Result<Self> {
        let (timeout, processes) = (settings.timeout, settings.processes);
        let settings = Arc::new(settings);
        let (queue, restarts) = (Arc::<Queue>::default(), Arc::<Counter>::default());
        let mut pool = Self { timeout, queue, keepers: Vec::new(), last_id: AtomicU64::new(0), restarts };
        let mut loading = Vec::new();
        for _ in 0..processes {
            let leash = Leash::default();
            let (done, loaded) = oneshot::channel();
            let keeping = Keeping {
                settings: settings.clone(),
                leash: leash.clone(),
                queue: pool.queue.clone(),
                restarts: pool.restarts.clone(),
            };
            // A child dies with the thread that started it, so this one lives as long as the pool.
            let thread = std::thread::Builder::new().name("parser-keeper".to_owned());
            let thread = thread.spawn(move || keeping.run(done));
            let thread = thread.map_err(|error| Error::io("Cannot start a thread", error))?;
            loading.push((loaded, leash.clone()));
            pool.keepers.push(Keeper { leash, thread });
        }
        for (mut loaded, leash) in loading {
            let outcome = tokio::select! {
                outcome = &mut loaded => outcome,
                () = tokio::time::sleep(LOAD) => {
                    leash.kill("did not load within two minutes");
                    loaded.await
                }
            };
            outcome.unwrap_or_else(|_| Err("The parser's keeper is gone".to_owned())).map_err(|reason| {
                let last = reason.trim().lines().last().unwrap_or_default().to_owned();
                Error::settings(format!("The parser cannot be loaded: {last}"))
                    .hint("Check --parser (DBC_FACTORY): module:factory, importable from the working folder.")
                    .caused_by(reason)
            })?;
        }
        Ok(pool)
    }

    /// Lets the parser make `output` of `input`; the error is the parser's, or says how it died, and costs the file an
    /// attempt. `None` when `closing` came before a child was free. Dropping this kills the child.
    pub async fn parse(
        &self,
        input: &Path,
        output: &Path,
        closing: &CancellationToken,
    ) -> Option<std::result::Result<(), String>> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = Arc::<OnceLock<(Instant, Leash)>>::default();
        let (done, outcome) = oneshot::channel();
        self.queue.push(Job { id, input: input.to_owned(), output: output.to_owned(), begun: begun.clone(), done });
        let given = Given { id, begun: &begun, queue: &self.queue };
        tokio::pin!(outcome);
        let mut is_closing = false;
        loop {
            // Measured from the moment when a child begins, which is not known before.
            let left = begun.get().map_or(self.timeout, |(since, _)| self.timeout.saturating_sub(since.elapsed()));
            tokio::select! {
                outcome = &mut outcome => {
                    std::mem::forget(given);
                    return Some(outcome.unwrap_or_else(|_| Err("The parser's keeper is gone".to_owned())));
                }
                () = closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    if self.queue.take_back(id) {
                        return None;
                    }
                }
                () = tokio::time::sleep(left) => {
                    if let Some((_, leash)) = begun.get().filter(|(since, _)| since.elapsed() >= self.timeout) {
                        leash.kill_job(id, &format!("ran longer than {} s", self.timeout.as_secs_f64()));
                        // What it leaves behind may hold its pipe open for a moment.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        }
    }

    /// How many children had to be replaced.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
        for keeper in &self.keepers {
            keeper.leash.kill("was stopped");
        }
        for keeper in self.keepers.drain(..) {
            let _ = keeper.thread.join();
        }
    }
}

/// A file that was given to the children; when nobody waits for it any more, it is taken back or its child killed.
struct Given<'a> {
    id: u64,
    begun: &'a OnceLock<(Instant, Leash)>,
    queue: &'a Queue,
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        if !self.queue.take_back(self.id)
            && let Some((_, leash)) = self.begun.get()
        {
            leash.kill_job(self.id, "was stopped");
        }
    }
}

/// The thread of one child.
struct Keeping {
    settings: Arc<PoolSettings>,
    leash: Leash,
    queue: Arc<Queue>,
    restarts: Arc<Counter>,
}

impl Keeping {
    fn run(self, loaded: oneshot::Sender<Outcome>) {
        let mut child = match Child::spawn(&self.settings, &self.leash) {
            Ok(child) => {
                let _ = loaded.send(Ok(()));
                Some(child)
            }
            Err(reason) => return drop(loaded.send(Err(reason))),
        };
        while let Some(Job { id, input, output, begun, done }) = self.queue.next() {
            if child.as_mut().is_none_or(Child::is_gone) {
                child = None;
                self.restarts.add(1);
                match Child::spawn(&self.settings, &self.leash) {
                    Ok(spawned) => child = Some(spawned),
                    Err(reason) => {
                        let _ = done.send(Err(reason));
                        continue;
                    }
                }
            }
            let Some(running) = &mut child else { continue };
            self.leash.hold(id);
            let _ = begun.set((Instant::now(), self.leash.clone()));
            let request = json!({"input": input.to_string_lossy(), "output": output.to_string_lossy()});
            let outcome = match running.ask(&request) {
                Ok(Answer { error: None, .. }) => Ok(()),
                Ok(Answer { error: Some(error), traceback, restart }) => {
                    if restart {
                        child = None;
                    }
                    Err(traceback.map_or(error.clone(), |traceback| format!("{error}\n{traceback}")))
                }
                Err(reason) => {
                    child = None;
                    Err(reason)
                }
            };
            self.leash.hold(0);
            let _ = done.send(outcome);
        }
    }
}
