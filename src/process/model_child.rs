//! One child that turns documents into messages. A batch goes to it as one frame; it answers each document by itself, so
//! that the first one without an answer is the one it died of.

use std::io::{BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout};

use super::documents::{Converted, ModelSettings};
use super::spawned::{Leash, Spawned};

const MESSAGE: u8 = b'm';
const LEFT_OUT: u8 = b'l';
const REFUSED: u8 = b'r';
const READY: u8 = b'k';

/// Documents, each behind its length, and where each begins.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    begins: Vec<usize>,
}

impl Batch {
    pub(super) fn of<T: AsRef<[u8]>>(documents: &[T]) -> Self {
        let mut batch = Self::default();
        for document in documents {
            let document = document.as_ref();
            batch.begins.push(batch.bytes.len());
            batch.bytes.extend_from_slice(&(document.len() as u64).to_le_bytes());
            batch.bytes.extend_from_slice(document);
        }
        batch
    }

    pub(super) fn len(&self) -> usize {
        self.begins.len()
    }

    /// The documents from this one on.
    fn from(&self, first: usize) -> &[u8] {
        self.begins.get(first).map_or(&[], |begin| &self.bytes[*begin..])
    }
}

pub(super) struct ModelChild {
    process: Spawned,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Documents that it has answered.
    pub(super) answered: u64,
}

impl ModelChild {
    /// Spawns a child and waits until it has loaded the class; else says why it has not.
    pub(super) fn spawn(settings: &ModelSettings, leash: &Leash) -> Result<Self, String> {
        let (process, requests, answers) = Spawned::start(&settings.setup.command, "The model", leash)?;
        let mut child = Self { process, requests, answers: BufReader::with_capacity(256 * 1024, answers), answered: 0 };
        let hello = serde_json::json!({
            "class": settings.setup.class,
            "path": settings.setup.path,
            "memory": settings.memory,
            "parent": std::process::id(),
        });
        child.say(hello.to_string().as_bytes());
        match child.hear() {
            Some((READY, _)) => Ok(child),
            Some((_, reason)) => Err(String::from_utf8_lossy(&reason).into_owned()),
            None => Err(child.process.obituary()),
        }
    }

    /// Gives it the documents from the one on that has no answer yet, and adds its answers; or says how it died.
    pub(super) fn ask(&mut self, batch: &Batch, converted: &mut Vec<Converted>, tick: impl Fn()) -> Result<(), String> {
        self.process.forget_prints();
        self.say(batch.from(converted.len()));
        while converted.len() < batch.len() {
            let answer = match self.hear() {
                Some((MESSAGE, message)) => Converted::Message(message),
                Some((LEFT_OUT, _)) => Converted::LeftOut,
                Some((REFUSED, reason)) => Converted::Refused(String::from_utf8_lossy(&reason).into_owned()),
                Some(_) | None => return Err(self.process.obituary()),
            };
            converted.push(answer);
            self.answered += 1;
            tick();
        }
        Ok(())
    }

    /// A child that is gone is told by its silence.
    fn say(&mut self, frame: &[u8]) {
        let _ = self.requests.write_all(&(frame.len() as u64).to_le_bytes());
        let _ = self.requests.write_all(frame);
    }

    /// The kind of an answer and what is in it.
    fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.answers.read_exact(&mut head).ok()?;
        let [kind, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        let mut content = Vec::new();
        let read = self.answers.by_ref().take(length).read_to_end(&mut content).ok()?;
        (read as u64 == length).then_some((kind, content))
    }

    /// Whether it has ended while nobody asked it anything.
    pub(super) fn is_gone(&mut self) -> bool {
        self.process.is_gone()
    }
}
