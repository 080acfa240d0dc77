//! The cursor mode: through the collection again and again, each time from where the last way ended.

use std::time::Duration;

use tokio::time::Instant;

use super::passage::{Passage, Passed};
use super::state::CursorProgress;
use crate::error::Result;
use crate::flow::Until;

/// Documents that have no order are looked for less often: no index helps to find them.
const REST: Duration = Duration::from_secs(30);

/// Reads until `until`.
pub(super) async fn follow(mut passage: Passage<CursorProgress>) {
    let outcome = rounds(&mut passage).await;
    passage.assembly.finish(outcome).await;
}

async fn rounds(passage: &mut Passage<CursorProgress>) -> Result<&'static str> {
    let (began, config) = (Instant::now(), passage.config.clone());
    let lag = Duration::from_secs_f64(config.lag_seconds);
    let (mut looked, mut is_full) = (None::<Instant>, config.full_amount);
    loop {
        let round = Instant::now();
        let with_rest = config.until == Until::End || looked.is_none_or(|looked| looked.elapsed() > REST);
        if with_rest {
            looked = Some(round);
        }
        let waiting = match passage.pass(with_rest).await? {
            Passed::Enough => return Ok("the number of rows was reached"),
            Passed::Whole { waiting } => waiting,
        };
        // After so long all that was there at the beginning has been old enough to be sent.
        let is_over = waiting == 0 || round.duration_since(began) >= lag;
        if is_over && is_full {
            is_full = false;
            passage.wrap = Box::new(|marks| CursorProgress { marks, full: None });
            passage.save().await?;
        }
        if is_over && config.until == Until::End {
            return Ok("end of the collection");
        }
        let pause = Duration::from_millis(config.poll_interval_ms);
        passage.stats.rests(pause);
        tokio::time::sleep(pause).await;
    }
}
