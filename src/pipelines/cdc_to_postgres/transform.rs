//! Messages to what is left of them: for each key its newest event.

use std::collections::{HashMap, HashSet};

use crate::decode::change::{Action, Event, Message, Plan, Rows};
use crate::flow::{Lane, Refused};
use crate::kafka::{Record, Records};

/// The headers with which our source says more than the contract's fields can.
pub(super) const GENERATION: &str = "pipeline_core.generation";
pub(super) const SNAPSHOT: &str = "pipeline_core.snapshot";

/// What has been read of a lane and not been applied.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Rows,
    /// The messages themselves, for what the database refuses.
    packs: Vec<Records>,
    packed: usize,
    pub(super) refused: Vec<Refused>,
    letters: usize,
    /// Where the lane goes on after it.
    pub(super) next: i64,
}

impl Batch {
    pub(super) fn at(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Reads a message; gives back what is refused.
    pub(super) fn take(&mut self, plan: &Plan, record: Record<'_>, topic: &str, lane: Lane) -> Option<Refused> {
        self.next = record.offset + 1;
        read(plan, record, &mut self.rows).err().map(|reason| record.refuse(topic, lane, reason))
    }

    pub(super) fn keep(&mut self, records: Records) {
        self.packed += records.bytes();
        self.packs.push(records);
    }

    pub(super) fn refuse(&mut self, letter: Refused) {
        self.letters += letter.held();
        self.refused.push(letter);
    }

    pub(super) fn message(&self, offset: i64) -> Option<Record<'_>> {
        self.packs.iter().find_map(|pack| pack.find(offset))
    }

    /// Bytes it holds in memory.
    pub(super) fn held(&self) -> usize {
        self.rows.held() + self.packed + self.letters
    }
}

/// Reads a message, or says with its path what does not fit.
pub(super) fn read(plan: &Plan, record: Record<'_>, rows: &mut Rows) -> Result<(), String> {
    let header = |name: &str| record.headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
    let message = Message {
        offset: record.offset,
        key: record.key,
        value: record.value,
        generation: header(GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0),
        is_snapshot: header(SNAPSHOT).is_some(),
    };
    plan.read(message, rows).map_err(|bad| format!("{}: {}", bad.path(), bad.reason))
}

/// What a TRUNCATE takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truncated {
    /// Where only the topic's order says what is older.
    Everything,
    /// What is older than this version.
    Before(i64),
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Net {
    pub(super) truncated: Option<Truncated>,
    /// Events by their place in the batch, sorted by key.
    pub(super) changes: Vec<usize>,
    /// Events that the ledger holds already.
    pub(super) known: HashSet<usize>,
    /// Events that no TRUNCATE has made vain, in their order: the changes, and what they supersede.
    pub(super) standing: Vec<usize>,
    /// Events that a later one of the batch makes vain.
    pub(super) superseded: u64,
    /// Older than the table's last TRUNCATE.
    pub(super) stale: u64,
}

impl Net {
    /// `live` are the events that count, by their place and in their order; `known` those that the ledger holds already:
    /// they are counted as duplicates. `floor` is the last TRUNCATE that the table has seen.
    pub(super) fn of(rows: &Rows, live: &[usize], known: HashSet<usize>, floor: i64) -> Self {
        let mut net = Self { known, ..Self::default() };
        let mut newest: HashMap<&str, usize> = HashMap::with_capacity(live.len());
        let events = rows.events();
        for at in live.iter().copied() {
            let event = &events[at];
            if event.version.is_some_and(|version| version <= floor) {
                net.stale += net.once(at);
            } else if event.action == Action::Truncate {
                let gone = newest.extract_if(|_, known| !is_newer(&events[*known], event)).map(|(_, known)| known);
                net.superseded += gone.map(|known| net.once(known)).sum::<u64>();
                net.standing.retain(|known| is_newer(&events[*known], event));
                net.truncated = Some(match (net.truncated, event.version) {
                    (Some(Truncated::Before(known)), Some(version)) => Truncated::Before(known.max(version)),
                    (None, Some(version)) => Truncated::Before(version),
                    _ => Truncated::Everything,
                });
            } else if let (Some(Truncated::Before(floor)), Some(version)) = (net.truncated, event.version)
                && version < floor
            {
                net.superseded += net.once(at);
            } else {
                net.standing.push(at);
                if let Some(known) = newest.get_mut(rows.key(event)) {
                    let older = if is_newer(&events[*known], event) { at } else { std::mem::replace(known, at) };
                    net.superseded += net.once(older);
                } else {
                    newest.insert(rows.key(event), at);
                }
            }
        }
        net.changes = newest.into_values().collect();
        // Transactions side by side lock rows in one order.
        net.changes.sort_unstable_by(|one, other| rows.key(&events[*one]).cmp(rows.key(&events[*other])));
        net
    }

    /// One, but nothing for what is counted elsewhere.
    fn once(&self, at: usize) -> u64 {
        u64::from(!self.known.contains(&at))
    }
}

/// Where one of the two has no version, the topic's order decides.
fn is_newer(known: &Event, event: &Event) -> bool {
    known.version.zip(event.version).is_some_and(|(known, version)| known > version)
}

/// Leaves out events whose change stands in the batch already. Returns how many.
pub(super) fn drop_repeated(events: &[Event], live: &mut Vec<usize>) -> u64 {
    let mut seen = HashSet::with_capacity(live.len());
    let before = live.len();
    live.retain(|at| {
        let event = &events[*at];
        event.id.is_none_or(|id| seen.insert((id, event.version)))
    });
    (before - live.len()) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::Mapping;
    use crate::decode::change::Unknown;

    /// What one event after the other comes to: of each key its newest version, and whether it is there.
    #[derive(Default)]
    struct Table {
        keys: BTreeMap<String, (i64, bool)>,
        floor: i64,
    }

    impl Table {
        fn apply(&mut self, key: &str, version: i64, action: Action) {
            if version <= self.floor {
                return;
            }
            if action == Action::Truncate {
                self.keys.retain(|_, (known, _)| *known > version);
                self.floor = version;
            } else if self.keys.get(key).is_none_or(|(known, _)| *known <= version) {
                self.keys.insert(key.to_owned(), (version, action != Action::Delete));
            }
        }

        fn rows(&self) -> BTreeMap<String, i64> {
            self.keys
                .iter()
                .filter(|(_, (_, is_there))| *is_there)
                .map(|(key, (version, _))| (key.clone(), *version))
                .collect()
        }
    }

    fn rows_of(events: &[(i64, i64, Action)]) -> Rows {
        let plan = Plan::new(&Mapping::default(), Unknown::Refuse, |_| None).unwrap();
        let mut rows = Rows::default();
        for (offset, (key, version, action)) in (0..).zip(events) {
            let value = json!({"action_id": version, "emp_id": key, "emp_FN": "a", "emp_LN": "b", "emp_dob": null,
                               "emp_city": null, "emp_salary": null, "action": action.name()});
            let value = value.to_string();
            plan.read(Message { offset, value: Some(value.as_bytes()), ..Message::default() }, &mut rows).unwrap();
        }
        rows
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![5 => Just(Action::Insert), 5 => Just(Action::Update), 5 => Just(Action::Delete), 1 => Just(Action::Truncate)]
    }

    proptest! {
        #[test]
        fn a_batch_comes_to_what_its_events_come_to(
            events in proptest::collection::vec((0..5_i64, 1..40_i64, action()), 0..60),
            at in 0..60_usize,
        ) {
            let mut expected = Table::default();
            for (key, version, action) in &events {
                expected.apply(&key.to_string(), *version, *action);
            }
            let mut found = Table::default();
            for part in [&events[..at.min(events.len())], &events[at.min(events.len())..]] {
                let rows = rows_of(part);
                let live: Vec<usize> = (0..part.len()).collect();
                let net = Net::of(&rows, &live, HashSet::new(), found.floor);
                if let Some(Truncated::Before(version)) = net.truncated {
                    found.apply("", version, Action::Truncate);
                }
                let keys: Vec<&str> = net.changes.iter().map(|at| rows.key(&rows.events()[*at])).collect();
                prop_assert!(keys.is_sorted() && keys.windows(2).all(|two| two[0] != two[1]));
                for at in &net.changes {
                    let event = &rows.events()[*at];
                    found.apply(rows.key(event), event.version.unwrap_or_default(), event.action);
                }
            }
            prop_assert_eq!(found.rows(), expected.rows());
            prop_assert_eq!(found.floor, expected.floor);
        }
    }
}
