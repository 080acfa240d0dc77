//! So many children, each with a thread that speaks to it; a file at a time goes to each.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::child::{Answer, Child, Leash};
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

enum Job {
    Start(oneshot::Sender<Outcome>),
    Parse { input: PathBuf, output: PathBuf, done: oneshot::Sender<Outcome> },
}

/// A thread that speaks to a child, and the way to kill the child.
#[derive(Debug)]
struct Seat {
    jobs: Option<Sender<Job>>,
    leash: Leash,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub struct Pool {
    timeout: Duration,
    free: Arc<Mutex<Vec<Seat>>>,
    seats: Semaphore,
    restarts: Arc<Counter>,
}

impl Pool {
    /// Starts all children.
    ///
    /// # Errors
    /// When the parser cannot be loaded, with its reason.
    pub async fn start(settings: PoolSettings) -> Result<Self> {
        let (timeout, processes) = (settings.timeout, settings.processes);
        let settings = Arc::new(settings);
        let restarts = Arc::new(Counter::default());
        let pool = Self { timeout, free: Arc::default(), seats: Semaphore::new(processes), restarts: restarts.clone() };
        let mut loading = Vec::new();
        for _ in 0..processes {
            let (jobs, orders) = channel();
            let leash = Leash::default();
            let (settings, watched, restarts) = (settings.clone(), leash.clone(), restarts.clone());
            let thread = std::thread::Builder::new()
                .name("parser-keeper".to_owned())
                .spawn(move || keep(&settings, &watched, &restarts, &orders));
            let thread = thread.map_err(|error| Error::io("Cannot start a thread", error))?;
            let (done, outcome) = oneshot::channel();
            let _ = jobs.send(Job::Start(done));
            loading.push((outcome, leash.clone()));
            pool.give_back(Seat { jobs: Some(jobs), leash, thread: Some(thread) });
        }
        for (outcome, leash) in loading {
            let loaded = within(LOAD, outcome, &leash, "did not load within two minutes").await;
            loaded.map_err(|reason| {
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
        let _permit = closing.run_until_cancelled(self.seats.acquire()).await?.ok()?;
        let seat = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let (done, outcome) = oneshot::channel();
        let job = Job::Parse { input: input.to_owned(), output: output.to_owned(), done };
        let is_busy = seat.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let leash = seat.leash.clone();
        let mut taken = Taken { seat: Some(seat), pool: self, is_busy };
        let reason = format!("ran longer than {} s", self.timeout.as_secs_f64());
        let outcome = within(self.timeout, outcome, &leash, &reason).await;
        taken.is_busy = false;
        Some(outcome)
    }

    /// How many children had to be replaced.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    fn give_back(&self, seat: Seat) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(seat);
    }
}

/// A seat on its way back to the pool; a child that is still at work is killed.
struct Taken<'a> {
    seat: Option<Seat>,
    pool: &'a Pool,
    is_busy: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            if self.is_busy {
                seat.leash.kill("was stopped");
            }
            self.pool.give_back(seat);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leash.kill("was stopped");
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn within(time: Duration, outcome: oneshot::Receiver<Outcome>, leash: &Leash, reason: &str) -> Outcome {
    let gone = |_| Err("The parser's keeper is gone".to_owned());
    tokio::pin!(outcome);
    tokio::select! {
        outcome = &mut outcome => outcome.unwrap_or_else(gone),
        () = tokio::time::sleep(time) => {
            leash.kill(reason);
            outcome.await.unwrap_or_else(gone)
        }
    }
}

/// The thread of one child: the child dies with it, so it lives as long as the pool.
fn keep(settings: &PoolSettings, leash: &Leash, restarts: &Counter, orders: &Receiver<Job>) {
    let mut child: Option<Child> = None;
    let mut is_first = true;
    while let Ok(job) = orders.recv() {
        if child.is_none() {
            if !is_first {
                restarts.add(1);
            }
            is_first = false;
            match Child::spawn(settings, leash) {
                Ok(spawned) => child = Some(spawned),
                Err(reason) => {
                    let (Job::Start(done) | Job::Parse { done, .. }) = job;
                    let _ = done.send(Err(reason));
                    continue;
                }
            }
        }
        let Some(running) = &mut child else { continue };
        match job {
            Job::Start(done) => drop(done.send(Ok(()))),
            Job::Parse { input, output, done } => {
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
                let _ = done.send(outcome);
            }
        }
    }
}
