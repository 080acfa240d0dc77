//! How a consumer is closed: within a time, whatever librdkafka is at.

use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::poller::{Rebalances, give_back, take_over};

/// The group is told and has answered long before.
const CLOSE: Duration = Duration::from_secs(15);

/// So long a silence tells that no rebalance is waiting to be answered.
const SILENCE: Duration = Duration::from_millis(20);

/// A member's consumer.
pub(super) struct GroupConsumer(Option<BaseConsumer<Rebalances>>);

impl From<BaseConsumer<Rebalances>> for GroupConsumer {
    fn from(consumer: BaseConsumer<Rebalances>) -> Self {
        Self(Some(consumer))
    }
}

impl Deref for GroupConsumer {
    type Target = BaseConsumer<Rebalances>;

    fn deref(&self) -> &Self::Target {
        let Some(consumer) = &self.0 else { unreachable!("it is there until it is dropped") };
        consumer
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        let (tell, closed) = channel::<()>();
        let closing = std::thread::Builder::new().name("kafka-closer".to_owned()).spawn(move || {
            leave(&consumer);
            drop(consumer);
            drop(tell);
        });
        if closing.is_ok() && closed.recv_timeout(CLOSE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a Kafka consumer does not close; going on without it");
        }
    }
}

/// Leaves the group, and answers all rebalances that it speaks of until it is silent.
///
/// An answer that librdkafka does not wait for any more, given while it closes, is never taken, and its giver waits for
/// ever (<https://github.com/confluentinc/librdkafka/issues/4884>). So none may stand in the queue when it closes.
fn leave(consumer: &BaseConsumer<Rebalances>) {
    let context = consumer.context();
    context.is_closing.store(true, Ordering::SeqCst);
    consumer.unsubscribe();
    answer(consumer);
    loop {
        context.has_answered.store(false, Ordering::SeqCst);
        let polled = consumer.poll(SILENCE);
        if polled.is_none() && !context.has_answered.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Answers a rebalance of either kind so that nothing is assigned; does no harm where there is none.
pub(super) fn answer(consumer: &BaseConsumer<Rebalances>) {
    let _ = take_over(consumer, &TopicPartitionList::new());
    if let Ok(all) = consumer.assignment() {
        let _ = give_back(consumer, &all);
    }
}
