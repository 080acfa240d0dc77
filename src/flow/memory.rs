//! A source and a sink in memory, with faults that a test scripts: what the spine promises is proven on them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Cut, Event, Lane, Opening, Sink, Source, Written};
use crate::error::{Error, Kind, Result};

/// Where in an effect a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Before it had any effect.
    Before,
    /// After it had its effect, the answer lost.
    After,
}

/// An object that a sink has made visible, named by its lane, first and last record.
pub type Object = (Lane, u64, u64);

/// What is outside the processes and survives them: the log, what the group remembers, the visible objects.
#[derive(Debug, Default)]
pub struct World {
    /// Records per lane; their position is their offset.
    log: BTreeMap<Lane, Vec<u64>>,
    /// Per lane: the committed position, an unfinished cut's end, the sink's note.
    group: BTreeMap<Lane, (u64, Option<u64>, String)>,
    owner: BTreeMap<Lane, u64>,
    objects: BTreeMap<Object, Vec<u64>>,
    generation: u64,
}

/// A handle to the world, shared by all processes of a test.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// A world with these records.
    #[must_use]
    pub fn new(log: BTreeMap<Lane, Vec<u64>>) -> Self {
        Self(Arc::new(Mutex::new(World { log, ..World::default() })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All visible records per lane, object after object.
    #[must_use]
    pub fn visible(&self) -> BTreeMap<Lane, Vec<u64>> {
        let world = self.world();
        let mut visible: BTreeMap<Lane, Vec<u64>> = world.log.keys().map(|lane| (*lane, Vec::new())).collect();
        for ((lane, ..), records) in &world.objects {
            visible.entry(*lane).or_default().extend(records);
        }
        visible
    }

    /// Joins the group as a new process, taking every lane over from whoever had it.
    #[must_use]
    pub fn join(&self, crash: Option<(u32, Crash)>) -> (MemorySource, MemorySink) {
        let mut world = self.world();
        world.generation += 1;
        let member = world.generation;
        let lanes: Vec<Lane> = world.log.keys().copied().collect();
        for lane in &lanes {
            world.owner.insert(*lane, member);
        }
        drop(world);
        let faults = Faults(Arc::new(Mutex::new(crash)));
        let source = MemorySource {
            shared: self.clone(),
            faults: faults.clone(),
            member,
            opening: lanes.into(),
            reading: BTreeMap::new(),
            commits_early: false,
        };
        (source, MemorySink { shared: self.clone(), faults, open: BTreeMap::new() })
    }
}

/// Counts effects down to the one in which the process dies.
#[derive(Debug, Clone)]
struct Faults(Arc<Mutex<Option<(u32, Crash)>>>);

impl Faults {
    fn effect<T>(&self, act: impl FnOnce() -> T) -> Result<T> {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = match script.as_mut() {
            Some((0, crash)) => Some(*crash),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if dies == Some(Crash::Before) {
            return Err(Error::new(Kind::Unavailable, "Killed before the effect"));
        }
        let answer = act();
        if dies == Some(Crash::After) {
            return Err(Error::new(Kind::Unavailable, "Killed after the effect"));
        }
        Ok(answer)
    }
}

#[derive(Debug)]
pub struct MemorySource {
    shared: Shared,
    faults: Faults,
    member: u64,
    opening: VecDeque<Lane>,
    /// Per lane: the next position to read, and the end of a replay.
    reading: BTreeMap<Lane, (u64, Option<u64>)>,
    commits_early: bool,
}

impl MemorySource {
    /// Breaks the rule, to show that breaking it is noticed: commits what it reads at once.
    #[must_use]
    pub fn committing_before_the_flush(mut self) -> Self {
        self.commits_early = true;
        self
    }

    fn fenced(&self, cuts: &[Cut<u64>], write: impl Fn(&mut World, &Cut<u64>)) -> Vec<Lane> {
        let mut world = self.shared.world();
        let (ours, lost): (Vec<_>, Vec<_>) = cuts.iter().partition(|cut| world.owner[&cut.lane] == self.member);
        for cut in ours {
            write(&mut world, cut);
        }
        lost.into_iter().map(|cut| cut.lane).collect()
    }
}

impl Source for MemorySource {
    type Batch = (u64, Vec<u64>);
    type Progress = u64;

    async fn next(&mut self) -> Result<Event<Self::Batch, u64>> {
        tokio::task::yield_now().await;
        if let Some(lane) = self.opening.pop_front() {
            let (start, end, note) = self.shared.world().group.get(&lane).cloned().unwrap_or_default();
            self.reading.insert(lane, (start, end));
            return Ok(Event::Opened(Opening { lane, start, end, note }));
        }
        let mut world = self.shared.world();
        for (lane, (next, replay)) in &mut self.reading {
            if replay.is_some_and(|end| *next == end) {
                *replay = None;
                return Ok(Event::Boundary(*lane, *next));
            }
            let records = &world.log[lane];
            let from = usize::try_from(*next).unwrap_or(usize::MAX);
            let to = replay.map_or(records.len(), |end| usize::try_from(end).unwrap_or(usize::MAX)).min(from + 3);
            if from < to {
                let batch = (*next, records[from..to].to_vec());
                *next += batch.1.len() as u64;
                if self.commits_early {
                    world.group.insert(*lane, (*next, None, String::new()));
                }
                return Ok(Event::Batch(*lane, batch));
            }
        }
        Ok(Event::End("end of input".to_owned()))
    }

    async fn cut(&mut self, cuts: &[Cut<u64>]) -> Result<Vec<Lane>> {
        self.faults.effect(|| {
            self.fenced(cuts, |world, cut| {
                let slot = world.group.entry(cut.lane).or_default();
                (slot.1, slot.2) = (Some(cut.end), cut.note.clone());
            })
        })
    }

    async fn commit(&mut self, cuts: &[Cut<u64>]) -> Result<Vec<Lane>> {
        self.faults.effect(|| {
            self.fenced(cuts, |world, cut| {
                world.group.insert(cut.lane, (cut.end, None, cut.note.clone()));
            })
        })
    }
}

#[derive(Debug)]
pub struct MemorySink {
    shared: Shared,
    faults: Faults,
    open: BTreeMap<Lane, (u64, Vec<u64>)>,
}

impl Sink for MemorySink {
    type Batch = (u64, Vec<u64>);
    type Progress = u64;

    async fn open(&mut self, opening: Opening<u64>) -> Result<()> {
        self.open.insert(opening.lane, (opening.start, Vec::new()));
        Ok(())
    }

    async fn write(&mut self, lane: Lane, (first, records): Self::Batch) -> Result<Written<Self::Batch, u64>> {
        let (start, held) = self.open.entry(lane).or_default();
        assert_eq!(*start + held.len() as u64, first, "The source left records out");
        let rows = records.len() as u64;
        held.extend(records);
        Ok(Written { reach: Some(first + rows), rows, bytes: rows * 8, rest: None })
    }

    async fn flush(&mut self, lanes: &[Lane]) -> Result<()> {
        for lane in lanes {
            let Some((start, records)) = self.open.get_mut(lane) else { continue };
            let end = *start + records.len() as u64;
            let name = (*lane, *start, end);
            self.faults.effect(|| self.shared.world().objects.insert(name, records.clone()))?;
            (*start, *records) = (end, Vec::new());
        }
        Ok(())
    }

    fn forget(&mut self, lanes: &[Lane]) {
        self.open.retain(|lane, _| !lanes.contains(lane));
    }

    fn held(&self, lane: Lane) -> usize {
        self.open.get(&lane).map_or(0, |(_, records)| records.len() * 8)
    }
}
