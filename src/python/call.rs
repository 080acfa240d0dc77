//! One door for every blocking call: detached, on the engine's runtime, with a heartbeat every 100 ms.
//!
//! The heartbeat is the only place where Python runs: signals, log lines, progress. The first signal stops and drains,
//! the second raises at once. After a fork the child gets an error instead of a hang.

use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::logs;
use crate::error::{Error, Result};
use crate::stats::Stats;

pub(super) const BEAT: Duration = Duration::from_millis(100);

/// Asks a running call to stop and drain; may be set from any thread, more than once.
#[pyclass(frozen, module = "pipeline_core")]
#[derive(Debug, Default)]
pub(super) struct Stop {
    pub(super) token: CancellationToken,
}

#[pymethods]
impl Stop {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Asks for the stop.
    fn set(&self) {
        self.token.cancel();
    }

    /// Whether a stop has been asked for.
    fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }
}

static RUNTIME: OnceLock<(u32, Runtime)> = OnceLock::new();

/// The runtime, made at the first call of this process.
pub(super) fn runtime() -> PyResult<&'static Runtime> {
    if let Some((pid, runtime)) = RUNTIME.get() {
        return if *pid == std::process::id() { Ok(runtime) } else { Err(forked()) };
    }
    let made = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("pipeline-core").build();
    let made =
        made.map_err(|error| PyRuntimeError::new_err(format!("The engine cannot start its threads: {error}")))?;
    logs::install();
    Ok(&RUNTIME.get_or_init(|| (std::process::id(), made)).1)
}

pub(super) fn forked() -> PyErr {
    PyRuntimeError::new_err(
        "pipeline_core was used before this process was forked, and its threads did not come along. \
         Start processes with multiprocessing.get_context(\"spawn\"), or call pipeline_core only in the child.",
    )
}

/// Runs `work` to its end; returns what it gives, or raises what a heartbeat raised, after the drain.
pub(super) fn call<T, W, F>(py: Python<'_>, stop: &Stop, beat: Option<&Bound<'_, PyAny>>, work: W) -> PyResult<T>
where
    T: Send + 'static,
    W: FnOnce(CancellationToken, Arc<Stats>) -> F,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let runtime = runtime()?;
    let stats = Arc::new(Stats::default());
    let (done, mut answer) = channel();
    let listener = logs::Listener::new();
    let work = work(stop.token.clone(), stats.clone()).instrument(listener.span());
    // On one thread of its own: the allocator keeps a heap for each thread, and what wanders over the workers' threads
    // leaves its garbage in all of them.
    let given_up = CancellationToken::new();
    let over = given_up.clone();
    let thread = std::thread::Builder::new().name("pipeline-core-run".to_owned()).spawn(move || {
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = Box::pin(work) => Some(outcome),
                () = over.cancelled() => None,
            }
        });
        drop(outcome.map(|outcome| done.send(outcome)));
    });
    thread.map_err(|error| PyRuntimeError::new_err(format!("The engine cannot start a thread: {error}")))?;
    let mut remembered: Option<PyErr> = None;
    let outcome = loop {
        let (waited, given_back) = py.detach(move || (answer.recv_timeout(BEAT), answer));
        answer = given_back;
        match waited {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Disconnected) => {
                break Err(Error::internal("The engine panicked; its message is on stderr"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(raised) = heartbeat(py, beat, &stats, &listener) {
            if remembered.is_some() {
                given_up.cancel();
                return Err(raised);
            }
            stop.token.cancel();
            remembered = Some(raised);
        }
    };
    let last = heartbeat(py, beat, &stats, &listener);
    match (remembered, last) {
        (Some(raised), _) => {
            if let Err(error) = outcome {
                raised.set_cause(py, Some(error.into()));
            }
            Err(raised)
        }
        (None, Err(raised)) if outcome.is_ok() => Err(raised),
        _ => outcome.map_err(PyErr::from),
    }
}

pub(super) fn heartbeat(
    py: Python<'_>,
    beat: Option<&Bound<'_, PyAny>>,
    stats: &Stats,
    listener: &logs::Listener,
) -> PyResult<()> {
    // `check_signals` alone raises only what an earlier Python instruction has noticed.
    py.run(c"pass", None, None)?;
    py.check_signals()?;
    if let Some(beat) = beat {
        let news = serde_json::json!({
            "stats": stats.snapshot(),
            "logs": listener.take(),
            "spans": stats.take_spans(),
        });
        // It answers with the least level that anybody listens to.
        if let Ok(least) = beat.call1((news.to_string(),))?.extract() {
            listener.want(least);
        }
    }
    Ok(())
}
