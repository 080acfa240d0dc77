//! How far a member of a group is behind its topic, for who watches the run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument;

use super::client::Client;
use crate::config::Kafka;
use crate::error::Result;
use crate::flow::Lane;
use crate::stats::{Live, Stats};

/// Where a lane stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// All before it is in the sink.
    settled: i64,
    /// Where it was read to its end: the position after the last message, and the one after all that is no message.
    end: Option<(i64, i64)>,
}

type Places = Arc<Mutex<BTreeMap<Lane, Place>>>;

/// Where the lanes of a member stand; while it lives, the messages that wait are counted again and again.
#[derive(Debug)]
pub(super) struct Standing {
    places: Places,
    stats: Arc<Stats>,
    watch: Option<JoinHandle<()>>,
}

impl Standing {
    /// Counts so often, if at all.
    pub(super) fn new(topic: &str, kafka: &Kafka, interval: Option<Duration>, stats: Arc<Stats>) -> Self {
        let places = Places::default();
        let watch = interval.map(|every| {
            let watch = watch(topic.to_owned(), kafka.clone(), places.clone(), stats.clone(), every);
            tokio::spawn(watch.in_current_span())
        });
        Self { places, stats, watch }
    }

    /// A lane has been given to us and begins there.
    pub(super) fn open(&self, lane: Lane, position: i64) {
        lock(&self.places).insert(lane, Place { settled: position, end: None });
        self.stats.connect(true);
    }

    /// All before the position is in the sink.
    pub(super) fn settle(&self, lane: Lane, position: i64) {
        if let Some(place) = lock(&self.places).get_mut(&lane) {
            place.settled = position;
        }
    }

    /// The lane was read to its end: the mark that ends a transaction of Kafka takes an offset, and is no message.
    pub(super) fn end(&self, lane: Lane, next: i64, after: i64) {
        if let Some(place) = lock(&self.places).get_mut(&lane) {
            place.end = Some((next, after));
        }
    }

    /// The lanes are no longer ours.
    pub(super) fn close(&self, lanes: &[Lane]) {
        let mut places = lock(&self.places);
        places.retain(|lane, _| !lanes.contains(lane));
        self.stats.connect(!places.is_empty());
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        self.stats.connect(false);
    }
}

fn lock(places: &Places) -> MutexGuard<'_, BTreeMap<Lane, Place>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A broker that does not answer costs no more than a count, and the run is not ready meanwhile.
async fn watch(topic: String, kafka: Kafka, places: Places, stats: Arc<Stats>, every: Duration) {
    let Ok(client) = Client::new(&kafka, None) else { return };
    loop {
        tokio::time::sleep(every).await;
        match tokio::task::block_in_place(|| waiting(&client, &topic, &places)) {
            #[expect(clippy::cast_precision_loss, reason = "a count to look at")]
            Ok(lag) => {
                stats.note(Live::Lag, lag as f64);
                stats.connect(!lock(&places).is_empty());
            }
            Err(error) => {
                tracing::debug!(%error, "the lag cannot be told");
                stats.connect(false);
            }
        }
    }
}

fn waiting(client: &Client, topic: &str, places: &Places) -> Result<i64> {
    let places = lock(places).clone();
    let waiting = places.into_iter().map(|(lane, Place { settled, end })| {
        let next = end.filter(|(last, _)| *last == settled).map_or(settled, |(_, after)| after);
        Ok((client.watermarks(topic, lane)?.1 - next).max(0))
    });
    waiting.sum()
}
