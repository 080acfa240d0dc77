//! A process of ours: its pipes, what it prints, the leash that kills it, and what became of it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// What may be printed during one piece of work.
const MOST_PRINTED: u64 = 10 * 1024 * 1024;

/// The end of what it printed, kept for the notice when it dies.
const KEPT: usize = 2048;

/// A child that can be killed from any thread as long as it has not been reaped, with its whole process group.
#[derive(Debug, Clone, Default)]
pub(super) struct Leash(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    group: Option<Pid>,
    /// Why it was killed, the first reason.
    reason: Option<String>,
    /// What it works on; 0 is nothing.
    job: u64,
}

impl Held {
    fn kill(&mut self, reason: &str) {
        if let Some(group) = self.group {
            self.reason.get_or_insert_with(|| reason.to_owned());
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Leash {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kill(&self, reason: &str) {
        self.held().kill(reason);
    }

    /// Kills it if it works on this.
    pub(super) fn kill_job(&self, job: u64, reason: &str) {
        let mut held = self.held();
        if held.job == job {
            held.kill(reason);
        }
    }

    pub(super) fn hold(&self, job: u64) {
        self.held().job = job;
    }
}

/// What was printed, by the thread that reads it.
#[derive(Debug, Default)]
struct Printed {
    bytes: u64,
    tail: Vec<u8>,
}

pub(super) struct Spawned {
    process: std::process::Child,
    /// What it is called when it dies: "The parser".
    name: &'static str,
    printed: Arc<Mutex<Printed>>,
    printer: JoinHandle<()>,
    leash: Leash,
}

impl Spawned {
    /// Starts a program, given with its arguments; and the pipes to it and from it.
    ///
    /// Called on a thread that lives as long as the child: the child dies with it.
    pub(super) fn start(
        command: &[String],
        name: &'static str,
        leash: &Leash,
    ) -> Result<(Self, ChildStdin, ChildStdout), String> {
        let Some((program, arguments)) = command.split_first() else {
            return Err("No command is set for child processes".to_owned());
        };
        let spawned = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut process = spawned.map_err(|error| format!("Cannot start {program}: {error}"))?;
        *leash.held() =
            Held { group: Pid::from_raw(i32::try_from(process.id()).unwrap_or_default()), reason: None, job: 0 };
        let (Some(requests), Some(answers), Some(prints)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err("A child has no pipes".to_owned());
        };
        let printed = Arc::new(Mutex::new(Printed::default()));
        let (shared, watched) = (printed.clone(), leash.clone());
        let printer = std::thread::spawn(move || read_prints(prints, &shared, &watched));
        Ok((Self { process, name, printed, printer, leash: leash.clone() }, requests, answers))
    }

    /// What it has printed so far belongs to work that is over.
    pub(super) fn forget_prints(&self) {
        *self.printed.lock().unwrap_or_else(PoisonError::into_inner) = Printed::default();
    }

    /// Whether it has ended while nobody asked it anything.
    pub(super) fn is_gone(&mut self) -> bool {
        let mut held = self.leash.held();
        let is_gone = self.process.try_wait().is_ok_and(|status| status.is_some());
        if is_gone {
            held.group = None;
        }
        is_gone
    }

    /// Ends it, and says how it ended.
    pub(super) fn obituary(&mut self) -> String {
        self.leash.kill("broke the protocol");
        let status = self.bury();
        let reason = self.leash.held().reason.take();
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        let code = status.as_ref().ok().and_then(std::process::ExitStatus::code);
        let mut said = match (reason, signal, code) {
            (Some(reason), Some(_), _) if reason != "broke the protocol" => format!("{} {reason}", self.name),
            (_, _, Some(code)) => format!("{} ended its process with exit code {code}", self.name),
            (_, Some(signal), _) => format!("{} was killed by signal {signal}{}", self.name, called(signal)),
            (Some(reason), ..) => format!("{} {reason}", self.name),
            (None, None, None) => format!("{} is gone", self.name),
        };
        let tail = String::from_utf8_lossy(&self.printed.lock().unwrap_or_else(PoisonError::into_inner).tail)
            .trim()
            .to_owned();
        if !tail.is_empty() {
            said.push('\n');
            said.push_str(&tail);
        }
        said
    }

    /// Reaps it; from then on its number may be another's.
    fn bury(&mut self) -> std::io::Result<std::process::ExitStatus> {
        // Waits without reaping first: as long as the group is held, it can be killed.
        let deadline = Instant::now() + Duration::from_secs(5);
        let status = loop {
            let mut held = self.leash.held();
            if let Some(status) = self.process.try_wait()? {
                held.group = None;
                break status;
            }
            if Instant::now() > deadline
                && let Some(group) = held.group
            {
                let _ = kill_process_group(group, Signal::KILL);
            }
            drop(held);
            std::thread::sleep(Duration::from_millis(2));
        };
        // What it printed last; a process that it left behind may hold the pipe for ever.
        let deadline = Instant::now() + Duration::from_millis(200);
        while !self.printer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(status)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.leash.kill("was stopped");
        let _ = self.bury();
    }
}

fn read_prints(mut prints: impl Read, printed: &Mutex<Printed>, leash: &Leash) {
    let mut buffer = [0; 8192];
    while let Ok(read) = prints.read(&mut buffer) {
        if read == 0 {
            return;
        }
        let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.bytes += read as u64;
        let keep = printed.tail.len().saturating_sub(KEPT.saturating_sub(read));
        printed.tail.drain(..keep);
        printed.tail.extend_from_slice(&buffer[read.saturating_sub(KEPT)..read]);
        let is_endless = printed.bytes > MOST_PRINTED;
        drop(printed);
        if is_endless {
            leash.kill("printed more than 10 MiB");
        }
    }
}

fn called(signal: i32) -> &'static str {
    match signal {
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL; is the machine out of memory?)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
