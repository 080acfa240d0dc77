//! Dead letters of every pipeline: what is in a topic of them, and sending them again once the cause is mended.
//!
//! Letters are sent in transactions with a mark of each on a compacted topic, so none is sent twice.

mod config;
mod replay;
mod show;
mod transform;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use replay::{Failure, Replayed, replay};
pub use show::{Example, Reason, Summary};

use crate::error::{Error, Result};
use crate::kafka::{Letter, TopicReader};
use crate::stats::Stats;
use show::Counting;

/// Letters that are read at once; each may be as large as the topic takes.
const AT_ONCE: usize = 50;

/// Counts the letters of a topic.
///
/// # Errors
/// When the broker cannot be reached or there is no such topic.
pub async fn show(config: Config, stop: CancellationToken, stats: Arc<Stats>) -> Result<Summary> {
    let mut letters = Letters::open(&config, None, stop, stats)?;
    let mut counting = Counting::of(&config);
    while let Some(some) = letters.next()? {
        for letter in &some {
            counting.add(letter);
        }
        tokio::task::yield_now().await;
    }
    Ok(counting.finish())
}

/// The letters of a topic, up to where it ended when it was opened.
struct Letters {
    reader: TopicReader,
    /// Where each partition ends.
    ends: BTreeMap<i32, i64>,
    stop: CancellationToken,
    stats: Arc<Stats>,
}

impl Letters {
    /// With `ends`, up to there.
    fn open(
        config: &Config,
        ends: Option<&BTreeMap<i32, i64>>,
        stop: CancellationToken,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        if config.topic.is_empty() {
            return Err(Error::settings("It is not said which topic the dead letters are in").hint("Name the topic."));
        }
        let mut read_to = BTreeMap::new();
        let reader = tokio::task::block_in_place(|| {
            TopicReader::new(&config.kafka, &config.topic, None, |partition, (low, high)| {
                let end = ends.map_or(Some(high), |ends| ends.get(&partition).copied())?;
                read_to.insert(partition, end);
                Some((low, end))
            })
        })?;
        Ok(Self { reader, ends: read_to, stop, stats })
    }

    fn next(&mut self) -> Result<Option<Vec<Letter>>> {
        let next = tokio::task::block_in_place(|| self.reader.next(AT_ONCE, || self.stop.is_cancelled()))?;
        let Some((partition, records)) = next else { return Ok(None) };
        self.stats.rows_read.add(records.len() as u64);
        self.stats.bytes_read.add(records.bytes() as u64);
        Ok(Some(records.iter().map(|record| Letter::read(partition, &record)).collect()))
    }
}
