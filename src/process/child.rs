//! One child that parses: spawned, asked, answered.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};

use serde::Deserialize;

use super::pool::PoolSettings;
use super::spawned::{Leash, Spawned};

/// What a child answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) error: Option<String>,
    pub(super) traceback: Option<String>,
    /// It should not be given another file.
    pub(super) restart: bool,
}

pub(super) struct Child {
    process: Spawned,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// Spawns a child and waits until it has loaded the parser.
    ///
    /// Called on a thread that lives as long as the child: the child dies with it.
    pub(super) fn spawn(settings: &PoolSettings, leash: &Leash) -> Result<Self, String> {
        let (process, requests, answers) = Spawned::start(&settings.command, "The parser", leash)?;
        let mut child = Self { process, requests, answers: BufReader::new(answers) };
        let hello = serde_json::json!({
            "parser": settings.setup,
            "memory": settings.memory,
            "output": settings.output,
            "parent": std::process::id(),
        });
        match child.ask(&hello) {
            Ok(Answer { error: None, .. }) => Ok(child),
            Ok(Answer { error: Some(error), traceback, .. }) => Err(traceback.unwrap_or(error)),
            Err(reason) => Err(reason),
        }
    }

    /// Gives it a line and waits for its answer, or says how it died.
    pub(super) fn ask(&mut self, request: &serde_json::Value) -> Result<Answer, String> {
        self.process.forget_prints();
        let mut line = String::new();
        // A child that is gone is told by its silence.
        let _ = self.requests.write_all(format!("{request}\n").as_bytes());
        let read = self.answers.read_line(&mut line);
        match serde_json::from_str(&line) {
            Ok(answer) if read.is_ok() && line.ends_with('\n') => Ok(answer),
            _ => Err(self.process.obituary()),
        }
    }

    /// Whether it has ended while nobody asked it anything.
    pub(super) fn is_gone(&mut self) -> bool {
        self.process.is_gone()
    }
}
