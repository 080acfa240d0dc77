//! Which changes are complete. A number is taken before its change is committed, so `id > last` would jump over those
//! that commit late.
//!
//! A fence is the sequence's last value, and then who was at work: a transaction id S of our own and the transactions
//! that hold the locks which a number of the sequence and an INSERT into the change table take. Once all of them are
//! over, no change up to that value can appear any more. The locks are given back only after the commit can be seen.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::catalog::{ChangeTable, one};
use crate::error::Result;
use crate::sql::{Database, Fetched};

/// Fences at most so often: each takes a transaction id.
const LEAST: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub(super) struct Fence {
    /// The sequence's last value, read before all else.
    pub(super) last_value: i64,
    /// Our own transaction id.
    pub(super) xid: i64,
    /// Virtual transactions that held the lock.
    pub(super) holders: BTreeSet<String>,
    pub(super) since: Instant,
}

impl Fence {
    fn is_over(&self, seen: &Running) -> bool {
        seen.xmin >= self.xid && self.holders.is_disjoint(&seen.holders)
    }
}

/// Who is at work.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    /// The oldest transaction id that is not over.
    pub(super) xmin: i64,
    pub(super) holders: BTreeSet<String>,
}

/// The fences that are not over, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Fences {
    queue: VecDeque<Fence>,
    taken: Option<Instant>,
}

impl Fences {
    pub(super) fn oldest(&self) -> Option<&Fence> {
        self.queue.front()
    }

    pub(super) fn newest(&self) -> Option<i64> {
        self.queue.back().map(|fence| fence.last_value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Whether another may be taken. Behind a long transaction they become rare, so that the queue stays short.
    pub(super) fn may_take(&self, now: Instant) -> bool {
        let age = self.oldest().map_or(Duration::ZERO, |fence| now - fence.since);
        self.taken.is_none_or(|taken| now - taken >= LEAST.max(age / 50))
    }

    pub(super) fn push(&mut self, fence: Fence) {
        self.taken = Some(fence.since);
        self.queue.push_back(fence);
    }

    /// Takes off what is over. Returns the number up to which all changes are complete, and how long that took.
    pub(super) fn release(&mut self, seen: &Running, now: Instant) -> Option<(i64, Duration)> {
        // A later fence that is over says so of all before it.
        let last = self.queue.iter().rposition(|fence| fence.is_over(seen))?;
        let waited = self.oldest().map_or(Duration::ZERO, |fence| now - fence.since);
        self.queue.drain(..=last).next_back().map(|fence| (fence.last_value, waited))
    }

    /// How long to wait before the next look.
    pub(super) fn pause(&self, now: Instant, poll: Duration) -> Duration {
        match self.oldest() {
            Some(fence) => {
                ((now - fence.since) / 10).clamp(Duration::from_millis(1), poll.max(Duration::from_millis(1)))
            }
            None => poll,
        }
    }
}

/// What one look at the source shows.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) last_value: i64,
    /// Which connection it was: what was seen on another may not be true any more.
    pub(super) session: i64,
    pub(super) running: Option<Running>,
}

/// The sequence, and where there is a fence, those at work.
pub(super) async fn look(database: &Database, table: &ChangeTable, has_fence: bool) -> Result<Sight> {
    let (sequence, writers) = (&table.sequence, &table.writers);
    let running = if has_fence {
        format!(", txid_snapshot_xmin(txid_current_snapshot()), {}", holders(writers))
    } else {
        String::new()
    };
    let sql = format!("SELECT last_value, is_called, pg_backend_pid(){running} FROM {sequence}");
    let row = one(database, &sql, &[]).await?;
    let last_value = row.int(0)?.unwrap_or_default();
    let is_called = row.bool(1)?.unwrap_or_default();
    let running = if has_fence { Some(read_running(&row, 3)?) } else { None };
    Ok(Sight {
        last_value: if is_called { last_value } else { last_value - 1 },
        session: row.int(2)?.unwrap_or_default(),
        running,
    })
}

/// Takes a fence for a value that was read before. `None` where the connection is another than it was then.
pub(super) async fn take(database: &Database, table: &ChangeTable, seen: &Sight) -> Result<Option<Fence>> {
    let sql = format!("SELECT pg_backend_pid(), txid_current(), {}", holders(&table.writers));
    let row = one(database, &sql, &[]).await?;
    if row.int(0)? != Some(seen.session) {
        return Ok(None);
    }
    let Running { xmin: xid, holders } = read_running(&row, 1)?;
    Ok(Some(Fence { last_value: seen.last_value, xid, holders, since: Instant::now() }))
}

fn holders(writers: &str) -> String {
    format!("(SELECT string_agg(DISTINCT virtualtransaction, ' ') FROM pg_locks WHERE {writers})")
}

fn read_running(row: &Fetched, at: usize) -> Result<Running> {
    let holders = row.str(at + 1)?.unwrap_or_default();
    Ok(Running {
        xmin: row.int(at)?.unwrap_or_default(),
        holders: holders.split_ascii_whitespace().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn running(xmin: i64, holders: &[&str]) -> Running {
        Running { xmin, holders: set(holders) }
    }

    fn fence(last_value: i64, xid: i64, holders: &[&str], since: Instant) -> Fence {
        Fence { last_value, xid, holders: set(holders), since }
    }

    #[test]
    fn a_fence_stands_until_the_ids_and_the_locks_of_its_time_are_gone() {
        let now = Instant::now();
        let mut fences = Fences::default();
        fences.push(fence(10, 100, &["3/7"], now));
        assert_eq!(fences.release(&running(99, &[]), now), None);
        assert_eq!(fences.release(&running(100, &["3/7"]), now), None);
        assert_eq!(fences.release(&running(100, &["3/8"]), now), Some((10, Duration::ZERO)));
        assert!(fences.is_empty());
        assert_eq!(fences.release(&running(200, &[]), now), None);
    }

    #[test]
    fn a_later_fence_that_is_over_releases_those_before_it() {
        let now = Instant::now();
        let mut fences = Fences::default();
        fences.push(fence(10, 100, &["3/7"], now));
        fences.push(fence(20, 110, &[], now));
        fences.push(fence(30, 120, &[], now));
        assert_eq!(fences.release(&running(110, &["3/7"]), now).map(|(last, _)| last), Some(20));
        assert_eq!((fences.oldest().map(|fence| fence.last_value), fences.newest()), (Some(30), Some(30)));
    }

    #[test]
    fn fences_behind_a_long_transaction_are_rare_and_looked_at_slowly() {
        let (start, poll) = (Instant::now(), Duration::from_millis(50));
        let mut fences = Fences::default();
        assert!(fences.may_take(start));
        assert_eq!(fences.pause(start, poll), poll);
        let (mut now, mut taken) = (start, 0);
        while now - start < Duration::from_secs(3600) {
            if fences.may_take(now) {
                fences.push(fence(taken, 100 + taken, &[], now));
                taken += 1;
            }
            now += Duration::from_millis(10);
        }
        assert!((300..700).contains(&taken), "{taken}");
        assert_eq!(fences.pause(now, poll), poll);
        assert_eq!(fences.pause(start + Duration::from_millis(30), poll), Duration::from_millis(3));
        assert_eq!(fences.pause(start, poll), Duration::from_millis(1));
        assert_eq!(fences.release(&running(i64::MAX, &[]), now).map(|(last, _)| last), Some(taken - 1));
    }
}
