//! Tasks of one lane that end in any order: which are done, how often the others have failed, and the position before
//! which nothing is left to do.
//!
//! What is done above that position is packed into a note that travels with it, so that a successor does nothing twice.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::error::{Error, Kind, Result};

const MARK: &str = "pcw1;";

/// A broker keeps 4,096 bytes beside an offset unless it was told otherwise.
const LIMIT: usize = 4096;

/// So many offsets fit into a note whatever their states are: half a byte each, and a third more as text.
const ALWAYS_FITS: i64 = 4096;

/// A note of this length leaves room for all that may change before the next.
const SHORT: usize = 1000;
const WIDEST: i64 = 65_536;

/// Half a byte for each offset: done, or the number of failures.
const DONE: u8 = 15;
pub const MOST_FAILURES: u8 = 14;

/// What is to be done about an offset that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// The task is to be done; it has failed so often before.
    Open(u8),
    /// It was done by a former owner of the lane.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Task {
    offset: i64,
    state: u8,
}

#[derive(Debug)]
pub struct Ledger {
    /// From the first that is not done to the last that was read.
    tasks: VecDeque<Task>,
    /// After the last that was read.
    next: i64,
    /// What a former owner has noted of offsets that have not been read yet.
    noted: BTreeMap<i64, u8>,
    note_length: usize,
}

impl Ledger {
    /// Goes on from a position and its note.
    ///
    /// # Errors
    /// When a note of ours is there and cannot be read.
    pub fn restore(position: i64, note: &str) -> Result<Self> {
        let mut noted = BTreeMap::new();
        for (offset, state) in (position..).zip(unpack(note)?) {
            if state > 0 {
                noted.insert(offset, state);
            }
        }
        Ok(Self { tasks: VecDeque::new(), next: position, noted, note_length: note.len() })
    }

    /// The position before which nothing is left to do.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.tasks.front().map_or(self.next, |task| task.offset)
    }

    /// After the last that was read.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Whether a former owner has noted that this offset is done.
    #[must_use]
    pub fn is_noted_done(&self, offset: i64) -> bool {
        self.noted.get(&offset) == Some(&DONE)
    }

    /// Whether one more task may be begun while `others` are in work: what is done above the position must fit into a note.
    #[must_use]
    pub fn has_room(&self, others: usize) -> bool {
        let width = self.next - self.position();
        width < ALWAYS_FITS || (width < WIDEST && self.note_length < SHORT && others <= 500)
    }

    /// Takes note of an offset that has been read.
    pub fn admit(&mut self, offset: i64) -> Admitted {
        self.noted = self.noted.split_off(&offset);
        let state = self.noted.remove(&offset).unwrap_or(0);
        self.tasks.push_back(Task { offset, state });
        self.next = offset + 1;
        self.shrink();
        if state == DONE { Admitted::Done } else { Admitted::Open(state) }
    }

    /// Nothing more will be read before `offset`: what was there is deleted, or was no record.
    pub fn skip_to(&mut self, offset: i64) {
        if offset > self.next {
            self.next = offset;
            self.noted = self.noted.split_off(&offset);
        }
    }

    pub fn finish(&mut self, offset: i64) {
        self.set(offset, |_| DONE);
        self.shrink();
    }

    /// Returns how often the task has failed by now.
    pub fn fail(&mut self, offset: i64) -> u8 {
        let mut failures = 0;
        self.set(offset, |state| {
            failures = state.saturating_add(1).min(MOST_FAILURES);
            failures
        });
        failures
    }

    fn set(&mut self, offset: i64, change: impl FnOnce(u8) -> u8) {
        let at = self.tasks.partition_point(|task| task.offset < offset);
        if let Some(task) = self.tasks.get_mut(at).filter(|task| task.offset == offset && task.state != DONE) {
            task.state = change(task.state);
        }
    }

    fn shrink(&mut self) {
        while self.tasks.front().is_some_and(|task| task.state == DONE) {
            self.tasks.pop_front();
        }
    }

    /// What a successor needs beside the position.
    ///
    /// # Errors
    /// When it does not fit beside an offset.
    pub fn note(&mut self) -> Result<String> {
        let position = self.position();
        let tasks = self.tasks.iter().map(|task| (task.offset, task.state));
        let noted = self.noted.iter().map(|(offset, state)| (*offset, *state));
        let mut states: Vec<u8> = Vec::new();
        let place = |offset: i64| usize::try_from(offset - position).unwrap_or_default();
        for (offset, state) in tasks {
            // An offset that is no record counts as done: runs are shorter than holes.
            states.resize(place(offset), DONE);
            states.push(state);
        }
        states.resize(place(self.next), DONE);
        for (offset, state) in noted {
            states.resize(place(offset), 0);
            states.push(state);
        }
        while states.last() == Some(&0) {
            states.pop();
        }
        let note = pack(&states)?;
        self.note_length = note.len();
        if note.len() > LIMIT {
            return Err(Error::new(
                Kind::Capacity,
                format!("The finished tasks above offset {position} need {} bytes, a broker keeps {LIMIT}", note.len()),
            )
            .hint("Use more partitions, or fewer max_poll_records."));
        }
        Ok(note)
    }
}

fn pack(states: &[u8]) -> Result<String> {
    if states.is_empty() {
        return Ok(MARK.to_owned());
    }
    let halves: Vec<u8> = states.chunks(2).map(|pair| pair[0] | (pair.get(1).copied().unwrap_or(0) << 4)).collect();
    let packed = zstd::bulk::compress(&halves, 3).map_err(|error| Error::io("Cannot pack a note", error))?;
    // What cannot be made smaller is kept as it is: that bounds the note.
    let (kind, bytes) = if packed.len() < halves.len() { ('z', packed) } else { ('r', halves) };
    Ok(format!("{MARK}{kind}{}", STANDARD_NO_PAD.encode(bytes)))
}

fn unpack(note: &str) -> Result<Vec<u8>> {
    let Some(rest) = note.strip_prefix(MARK) else { return Ok(Vec::new()) };
    let unreadable =
        || Error::new(Kind::DataLoss, format!("Cannot read what is written beside the committed offset: {note:?}"));
    let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| unreadable());
    let halves = match rest.split_at_checked(1) {
        None => Vec::new(),
        Some(("r", text)) => bytes(text)?,
        Some(("z", text)) => zstd::bulk::decompress(&bytes(text)?, 1 << 20).map_err(|_| unreadable())?,
        Some(_) => return Err(unreadable()),
    };
    Ok(halves.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Read(i64),
        Finish(prop::sample::Index),
        Fail(prop::sample::Index),
        Die,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..4i64).prop_map(Step::Read),
            4 => any::<prop::sample::Index>().prop_map(Step::Finish),
            2 => any::<prop::sample::Index>().prop_map(Step::Fail),
            1 => Just(Step::Die),
        ]
    }

    proptest! {
        /// Whatever ends in which order, and whenever the owner dies: each record is done once, and failures are remembered.
        #[test]
        fn a_successor_does_what_is_left_and_nothing_twice(steps in prop::collection::vec(step(), 1..200)) {
            // Every third offset is no record.
            let mut log: Vec<i64> = Vec::new();
            let mut end = 0;
            let mut done: BTreeMap<i64, u32> = BTreeMap::new();
            let mut failures: BTreeMap<i64, u8> = BTreeMap::new();
            let mut ledger = Ledger::restore(0, "").unwrap();
            let mut open: Vec<i64> = Vec::new();
            let mut read = 0;
            for step in steps {
                match step {
                    Step::Read(gap) => {
                        if read == log.len() {
                            end += gap;
                            log.push(end);
                        }
                        let offset = log[read];
                        read += 1;
                        match ledger.admit(offset) {
                            Admitted::Open(before) => {
                                prop_assert_eq!(before, failures.get(&offset).copied().unwrap_or(0));
                                prop_assert!(!done.contains_key(&offset));
                                open.push(offset);
                            }
                            Admitted::Done => prop_assert!(done.contains_key(&offset)),
                        }
                    }
                    Step::Finish(at) if !open.is_empty() => {
                        let offset = open.swap_remove(at.index(open.len()));
                        ledger.finish(offset);
                        *done.entry(offset).or_default() += 1;
                    }
                    Step::Fail(at) if !open.is_empty() => {
                        let offset = open[at.index(open.len())];
                        if failures.get(&offset).copied().unwrap_or(0) < 3 {
                            let count = ledger.fail(offset);
                            prop_assert_eq!(count, failures.get(&offset).copied().unwrap_or(0) + 1);
                            failures.insert(offset, count);
                        }
                    }
                    Step::Die => {
                        let (position, note) = (ledger.position(), ledger.note().unwrap());
                        prop_assert!(log.iter().filter(|offset| **offset < position).all(|offset| done.contains_key(offset)));
                        ledger = Ledger::restore(position, &note).unwrap();
                        read = log.partition_point(|offset| *offset < position);
                        open.clear();
                    }
                    _ => {}
                }
            }
            prop_assert!(done.values().all(|times| *times == 1));
        }

        #[test]
        fn what_always_fits_does(states in prop::collection::vec(0..=DONE, 4096)) {
            let note = pack(&states).unwrap();
            prop_assert!(note.len() <= LIMIT);
            prop_assert_eq!(unpack(&note).unwrap(), states);
        }
    }

    #[test]
    fn a_long_stuck_task_does_not_stop_the_others() {
        let mut ledger = Ledger::restore(0, "").unwrap();
        let mut begun = 0;
        for offset in 0..50_000 {
            assert!(ledger.has_room(100));
            ledger.admit(offset);
            begun += 1;
            if offset > 0 {
                ledger.finish(offset);
            }
            if offset % 500 == 0 {
                assert!(ledger.note().unwrap().len() < SHORT);
            }
        }
        assert_eq!((begun, ledger.position()), (50_000, 0));
    }

    #[test]
    fn notes_of_others_say_nothing_and_broken_ones_are_refused() {
        assert_eq!(Ledger::restore(5, "another program's").unwrap().position(), 5);
        assert!(Ledger::restore(5, "pcw1;z!!").is_err());
    }
}
