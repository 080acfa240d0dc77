//! Threads that encode files, so that decoding need not wait for them.
//!
//! A file stays on one thread and its batches in order: its bytes are the same as if it were encoded at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::oneshot;

use super::file::{Finished, Layout, OutputFile};
use super::footer::Footer;
use crate::error::{Error, Result};

/// Batches that wait for a thread; what is over that makes the sender wait.
const WAITING: usize = 1;

const MOST_THREADS: usize = 4;

/// The threads; each new file goes to the next. They end with the last of their files.
#[derive(Debug)]
pub struct Encoders {
    threads: Vec<SyncSender<Job>>,
    next: usize,
}

/// A file in the making, on a thread of its own.
#[derive(Debug)]
pub struct EncodedFile {
    to: SyncSender<Job>,
    state: Arc<State>,
    rows: u64,
}

#[derive(Debug)]
struct State {
    /// `None` once it is finished, or has failed.
    file: Mutex<Result<OutputFile, Option<Error>>>,
    has_failed: AtomicBool,
    size: AtomicUsize,
    held: AtomicUsize,
    /// Bytes of messages in batches that are not encoded yet.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Job {
    state: Arc<State>,
    what: What,
}

#[derive(Debug)]
enum What {
    Write(RecordBatch, usize),
    Finish(Box<Footer>, oneshot::Sender<Result<Finished>>),
}

fn gone() -> Error {
    Error::internal("An encoder has ended; its message is on stderr")
}

impl Encoders {
    /// One thread for each core but the one that decodes.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..(cores - 1).clamp(1, MOST_THREADS)).map(|at| {
            let (to, jobs) = sync_channel(WAITING);
            let thread = std::thread::Builder::new().name(format!("encoder-{at}")).spawn(move || encode(&jobs));
            thread.map(|_| to).map_err(|error| Error::io("Cannot start a thread", error))
        });
        Ok(Self { threads: threads.collect::<Result<_>>()?, next: 0 })
    }

    /// Begins a file.
    ///
    /// # Errors
    /// When the schema cannot be written in the format.
    pub fn begin(&mut self, layout: &Layout, schema: SchemaRef) -> Result<EncodedFile> {
        let file = OutputFile::new(layout, schema)?;
        self.next = (self.next + 1) % self.threads.len();
        let state = State {
            file: Mutex::new(Ok(file)),
            has_failed: AtomicBool::new(false),
            size: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        };
        Ok(EncodedFile { to: self.threads[self.next].clone(), state: Arc::new(state), rows: 0 })
    }
}

impl EncodedFile {
    /// Adds a batch made of so many bytes of messages; waits while too many do.
    ///
    /// # Errors
    /// When a former batch failed: the disk that the file spills to is full.
    pub fn write(&mut self, batch: RecordBatch, message_bytes: usize) -> Result<()> {
        self.state.check()?;
        self.rows += batch.num_rows() as u64;
        self.state.waiting.fetch_add(message_bytes, Relaxed);
        self.send(What::Write(batch, message_bytes))
    }

    fn send(&self, what: What) -> Result<()> {
        self.to.send(Job { state: self.state.clone(), what }).map_err(|_| gone())
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes the file has now, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.state.size.load(Relaxed)
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held.load(Relaxed) + self.state.waiting.load(Relaxed)
    }

    /// Ends the file, with its footer.
    ///
    /// # Errors
    /// When the disk that it spills to is full.
    pub async fn finish(self, footer: Footer) -> Result<Finished> {
        let (done, finished) = oneshot::channel();
        self.send(What::Finish(Box::new(footer), done))?;
        finished.await.map_err(|_| gone())?
    }
}

impl State {
    fn check(&self) -> Result<()> {
        // Looked at first: while a batch is encoded the lock is taken.
        if !self.has_failed.load(Relaxed) {
            return Ok(());
        }
        match &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.take().unwrap_or_else(gone)),
        }
    }

    fn write(&self, batch: &RecordBatch, message_bytes: usize) {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(file) = &mut *slot {
            let written = file.write(batch, message_bytes);
            self.size.store(file.size(), Relaxed);
            self.held.store(file.held(), Relaxed);
            if let Err(error) = written {
                *slot = Err(Some(error));
                self.has_failed.store(true, Relaxed);
            }
        }
        self.waiting.fetch_sub(message_bytes, Relaxed);
    }

    fn finish(&self, footer: &Footer) -> Result<Finished> {
        let file = std::mem::replace(&mut *self.file.lock().unwrap_or_else(PoisonError::into_inner), Err(None));
        file.map_err(|failure| failure.unwrap_or_else(gone))?.finish(footer)
    }
}

fn encode(jobs: &Receiver<Job>) {
    while let Ok(Job { state, what }) = jobs.recv() {
        match what {
            What::Write(batch, message_bytes) => state.write(&batch, message_bytes),
            What::Finish(footer, done) => drop(done.send(state.finish(&footer))),
        }
    }
}
