//! Whether we are still who we think we are.
//!
//! After a long pause of the process (SIGSTOP, a frozen machine) librdkafka may have given its membership up, and a
//! commit without membership is accepted by a group that is empty. So after a pause nothing is committed until
//! librdkafka has had time to notice, and nothing at all when it has.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What librdkafka's own thread needs at the most to notice that a session is over.
const NOTICE: Duration = Duration::from_secs(2);

/// Watches the poller's breath for pauses.
#[derive(Debug)]
pub(super) struct Breath {
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    woke: Option<Instant>,
}

impl Breath {
    /// A gap of a third of the session is a pause.
    pub(super) fn new(session: Duration) -> Self {
        Self { pause: session / 3, state: Mutex::new(State { last: Instant::now(), woke: None }) }
    }

    fn look(&self, now: Instant, is_breath: bool) -> Option<Instant> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.last) > self.pause {
            state.woke = Some(now);
            state.last = now;
        }
        if is_breath {
            state.last = now;
        }
        state.woke.map(|woke| woke + NOTICE).filter(|safe| *safe > now)
    }

    /// The poller is alive.
    pub(super) fn breathe(&self) {
        self.look(Instant::now(), true);
    }

    /// Waits until a pause, if there was one, has been noticed.
    pub(super) async fn settle(&self) {
        while let Some(safe) = self.look(Instant::now(), false) {
            tracing::warn!("this process was paused; making sure that its partitions are still its own");
            tokio::time::sleep_until(safe.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_noticed_whoever_wakes_first() {
        for poller_first in [true, false] {
            let breath = Breath::new(Duration::from_secs(3));
            let now = Instant::now();
            assert_eq!(breath.look(now + Duration::from_millis(500), false), None);
            let woke = now + Duration::from_secs(5);
            breath.look(woke, poller_first);
            assert_eq!(breath.look(woke + Duration::from_millis(1), false), Some(woke + NOTICE));
            for tenth in 0..20 {
                breath.look(woke + Duration::from_millis(100) * tenth, true);
            }
            assert_eq!(breath.look(woke + NOTICE, false), None);
        }
    }
}
