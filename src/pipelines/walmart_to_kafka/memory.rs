//! The orders that the API may give again: with the same content they are not sent again.

use std::collections::{HashMap, HashSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    hash: u128,
    /// The latest instant by which the API may know the order, in milliseconds since 1970.
    at: i64,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    known: HashMap<String, Known>,
    /// Orders that are kept outside, too.
    stored: HashSet<String>,
    /// Orders whose entries have changed since.
    touched: HashSet<String>,
}

impl Memory {
    /// Takes in what was kept outside; nothing is a removal.
    pub(super) fn recall(&mut self, id: &str, entry: Option<&str>) {
        self.known.remove(id);
        self.stored.remove(id);
        if let Some(entry) = entry {
            self.stored.insert(id.to_owned());
            self.known.extend(parse(entry).map(|known| (id.to_owned(), known)));
        }
    }

    pub(super) fn has(&self, id: &str, hash: u128) -> bool {
        self.known.get(id).is_some_and(|known| known.hash == hash)
    }

    pub(super) fn learn(&mut self, id: &str, hash: u128, at: i64) {
        self.known.insert(id.to_owned(), Known { hash, at });
        self.touched.insert(id.to_owned());
    }

    /// Forgets what the API will not give again.
    pub(super) fn forget_before(&mut self, horizon: i64) {
        let touched = &mut self.touched;
        self.known.retain(|id, known| {
            let is_kept = known.at >= horizon;
            if !is_kept {
                touched.insert(id.clone());
            }
            is_kept
        });
    }

    pub(super) fn forget_all(&mut self) {
        self.known.clear();
        self.touched.extend(self.stored.iter().cloned());
    }

    /// What has to be put down outside, or removed there, since the last call.
    pub(super) fn changes(&mut self) -> Vec<(String, Option<String>)> {
        let mut changes = Vec::new();
        for id in self.touched.drain() {
            match self.known.get(&id) {
                Some(known) => {
                    self.stored.insert(id.clone());
                    changes.push((id, Some(format!("{:032x} {}", known.hash, known.at))));
                }
                None if self.stored.remove(&id) => changes.push((id, None)),
                None => {}
            }
        }
        changes
    }
}

fn parse(entry: &str) -> Option<Known> {
    let (hash, at) = entry.split_once(' ')?;
    Some(Known { hash: u128::from_str_radix(hash, 16).ok()?, at: at.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_at_once_is_never_put_down() {
        let mut memory = Memory::default();
        memory.learn("a", 1, 10);
        memory.learn("b", 2, 20);
        memory.forget_before(15);
        assert_eq!(memory.changes(), [("b".to_owned(), Some(format!("{:032x} 20", 2)))]);
        assert!(memory.has("b", 2) && !memory.has("b", 3) && !memory.has("a", 1));
        memory.forget_before(21);
        assert_eq!(memory.changes(), [("b".to_owned(), None)]);
        assert_eq!(memory.changes(), []);
    }

    #[test]
    fn what_was_put_down_is_recalled() {
        let mut memory = Memory::default();
        memory.recall("a", Some(&format!("{:032x} 20", 7)));
        memory.recall("b", Some("nonsense"));
        memory.recall("c", Some(&format!("{:032x} 20", 7)));
        memory.recall("c", None);
        assert!(memory.has("a", 7) && !memory.has("c", 7));
        memory.forget_all();
        let mut changes = memory.changes();
        changes.sort();
        assert_eq!(changes, [("a".to_owned(), None), ("b".to_owned(), None)]);
    }
}
