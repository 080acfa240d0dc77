//! Membership in a consumer group: the consumer, the thread that polls it, and what the group remembers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::{Receiver, channel};
use tracing::Span;

use super::client::{ASK, Client, base_config, of_kafka, with_properties};
use super::closing::GroupConsumer;
use super::fence::Breath;
use super::note;
use super::poller::{Polled, Poller, Rebalances, give_back, take_over};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::flow::Lane;

/// A member that gets no partition waits so long for one before it takes the topic for read.
pub(super) const NO_PARTITION: Duration = Duration::from_secs(5);

/// librdkafka's own default.
pub(super) const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

/// Bytes of a short message that waits in librdkafka: some 400 beside its own.
const MESSAGE: usize = 640;

/// How a member joins.
#[derive(Debug)]
pub(super) struct Membership<'a> {
    pub(super) topic: &'a str,
    pub(super) group_id: &'a str,
    /// How long the group waits for a member that is silent.
    pub(super) session: Duration,
    pub(super) heartbeat: Duration,
    pub(super) max_poll_interval: Duration,
    /// Bytes that librdkafka may fetch ahead.
    pub(super) fetch_bytes: usize,
}

/// What the group remembers of a partition.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) partition: Lane,
    pub(super) offset: i64,
    pub(super) metadata: String,
}

pub(super) struct Member {
    pub(super) consumer: Arc<GroupConsumer>,
    pub(super) breath: Arc<Breath>,
    pub(super) polled: Receiver<Polled>,
    poller: Option<JoinHandle<()>>,
    topic: String,
    group_id: String,
}

impl Member {
    /// Joins the group.
    ///
    /// # Errors
    /// When the broker cannot be reached, the topic is missing, or the broker does not keep commit metadata.
    pub(super) fn join(membership: &Membership<'_>, kafka: &config::Kafka) -> Result<Self> {
        let client = Client::new(kafka, Some(membership.group_id))?;
        let partitions = tokio::task::block_in_place(|| client.existing_partitions(membership.topic))?;
        let mut config = base_config(kafka);
        let fetch_bytes = membership.fetch_bytes;
        let ahead = fetch_bytes / MESSAGE / usize::try_from(partitions).unwrap_or(1).max(1);
        config
            .set("session.timeout.ms", membership.session.as_millis().to_string())
            .set("heartbeat.interval.ms", membership.heartbeat.as_millis().to_string())
            // librdkafka wants it no shorter than the session.
            .set("max.poll.interval.ms", membership.max_poll_interval.max(membership.session).as_millis().to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("queued.max.messages.kbytes", (fetch_bytes / 1024).max(1024).to_string())
            // Of each partition; the limit above leaves out what librdkafka needs beside a message's own bytes.
            .set("queued.min.messages", ahead.clamp(100, 5000).to_string())
            // An answer is as large as it is once it is decompressed: small ones.
            .set("fetch.max.bytes", (fetch_bytes / 8).max(1_000_000).to_string())
            .set("fetch.message.max.bytes", (fetch_bytes / 32).max(16 * 1024).to_string())
            .set("fetch.queue.backoff.ms", "2");
        let mut config = with_properties(config, kafka);
        config.set("group.id", membership.group_id);
        let consumer: BaseConsumer<Rebalances> = config
            .create_with_context(Rebalances::default())
            .map_err(|error| of_kafka("Cannot make a consumer", error))?;
        consumer.subscribe(&[membership.topic]).map_err(|error| of_kafka("Cannot subscribe", error))?;
        let consumer = Arc::new(GroupConsumer::from(consumer));
        let breath = Arc::new(Breath::new(membership.session));
        let (to, polled) = channel(16);
        let polling = Poller {
            consumer: consumer.clone(),
            breath: breath.clone(),
            to,
            max_poll_interval: membership.max_poll_interval,
        };
        let maker = Span::current();
        let thread = std::thread::Builder::new().name("kafka-poller".to_owned());
        let thread = thread.spawn(move || maker.in_scope(|| polling.run()));
        let poller = thread.map_err(|error| Error::io("Cannot start a thread", error))?;
        let joined = Self {
            consumer,
            breath,
            polled,
            poller: Some(poller),
            topic: membership.topic.to_owned(),
            group_id: membership.group_id.to_owned(),
        };
        // Meanwhile the group lets us in. A client takes a tenth of a second to end.
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| drop(client));
                joined.probe_metadata(kafka)
            })
        })?;
        Ok(joined)
    }

    pub(super) fn list(&self, partitions: impl IntoIterator<Item = Lane>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }

    /// Where the group stands in all partitions of the topic that it has read.
    pub(super) fn committed(&self) -> Result<Vec<Committed>> {
        let of = |error| of_kafka("Cannot read the group's positions", error);
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ASK).map_err(of)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if count == 0 {
            return Err(Error::new(Kind::Unavailable, format!("Topic {} has no partitions just now", self.topic)));
        }
        let all = self.list(0..i32::try_from(count).unwrap_or(i32::MAX));
        let committed = self.consumer.committed_offsets(all, ASK).map_err(of)?;
        let mut found = Vec::new();
        for element in committed.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let metadata = element.metadata().to_owned();
                found.push(Committed { partition: element.partition(), offset, metadata });
            }
        }
        Ok(found)
    }

    /// The first offset of a partition, and the one after its last.
    pub(super) fn watermarks(&self, partition: Lane) -> Result<(i64, i64)> {
        let of = |error| of_kafka("Cannot read where the topic ends", error);
        self.consumer.fetch_watermarks(&self.topic, partition, ASK).map_err(of)
    }

    /// Whether what the group has not read is still there.
    pub(super) fn check_retention(&self, lane: Lane, start: i64, (low, high): (i64, i64)) -> Result<()> {
        let (topic, group_id) = (&self.topic, &self.group_id);
        if start < low {
            return Err(Error::new(
                Kind::DataLoss,
                format!(
                    "Offsets {start} to {} of {topic}, partition {lane}, were deleted before they were read",
                    low - 1
                ),
            )
            .hint("Raise the topic's retention. To go on with what is left, reset the group's offsets."));
        }
        if start > high {
            return Err(Error::new(
                Kind::DataLoss,
                format!("Group {group_id} has read {topic}, partition {lane}, up to {start}, but it ends at {high}"),
            )
            .hint("The topic was made again: use a new group id and a new folder, or reset the group's offsets."));
        }
        Ok(())
    }

    /// Starts to read the partitions at their offsets.
    pub(super) fn take_over(&self, starts: impl IntoIterator<Item = (Lane, i64)>) -> Result<()> {
        let of = |error| of_kafka("Cannot take the partitions over", error);
        let mut list = TopicPartitionList::new();
        for (lane, offset) in starts {
            list.add_partition_offset(&self.topic, lane, Offset::Offset(offset)).map_err(of)?;
        }
        take_over(&self.consumer, &list).map_err(of)
    }

    pub(super) fn give_back(&self, lanes: &[Lane]) -> Result<()> {
        let list = self.list(lanes.iter().copied());
        give_back(&self.consumer, &list).map_err(|error| of_kafka("Cannot give the partitions back", error))
    }

    pub(super) fn pause(&self, lane: Lane) -> Result<()> {
        self.consumer.pause(&self.list([lane])).map_err(|error| of_kafka("Cannot pause a partition", error))
    }

    pub(super) fn resume(&self, lane: Lane) -> Result<()> {
        self.consumer.resume(&self.list([lane])).map_err(|error| of_kafka("Cannot resume a partition", error))
    }

    /// Commits, unless another member has taken the partitions over.
    pub(super) async fn commit(consumer: &GroupConsumer, breath: &Breath, offsets: &TopicPartitionList) -> Result<()> {
        let lost = || Error::new(Kind::Fenced, "The partitions were lost");
        breath.settle().await;
        if consumer.assignment_lost() {
            return Err(lost());
        }
        let committed = tokio::task::block_in_place(|| consumer.commit(offsets, CommitMode::Sync));
        committed.map_err(|error| of_kafka("The offsets were not committed", error))?;
        if consumer.assignment_lost() { Err(lost()) } else { Ok(()) }
    }

    /// Whether the broker keeps what is written beside an offset: all our protocols stand on it.
    fn probe_metadata(&self, kafka: &config::Kafka) -> Result<()> {
        let client = Client::new(kafka, Some(&format!("{}.pipeline_core_probe", self.group_id)))?;
        let mark = note::encode(Some(0), &self.group_id)?;
        let of = |error| of_kafka("Cannot commit offsets", error);
        let offsets = offset_list(&self.topic, [(0, 0, mark.clone())])?;
        let since = Instant::now();
        // A broker that has just started still loads its groups.
        while let Err(error) = client.consumer.commit(&offsets, CommitMode::Sync).map_err(of) {
            if !error.is_transient() || since.elapsed() > ASK {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let found = client.consumer.committed_offsets(self.list([0]), ASK).map_err(of)?;
        if found.elements().first().is_some_and(|element| element.metadata() == mark) {
            return Ok(());
        }
        Err(Error::settings(
            "This broker does not keep the metadata of a committed offset, so exactly-once cannot be had here",
        )
        .hint("Use Apache Kafka or a broker that keeps commit metadata."))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.consumer.context().is_closing.store(true, Ordering::SeqCst);
        self.polled.close();
        while self.polled.try_recv().is_ok() {}
        if let Some(poller) = self.poller.take() {
            let _ = poller.join();
        }
    }
}

/// Offsets with what is written beside them.
pub(super) fn offset_list(
    topic: &str,
    positions: impl IntoIterator<Item = (Lane, i64, String)>,
) -> Result<TopicPartitionList> {
    let mut offsets = TopicPartitionList::new();
    for (lane, offset, metadata) in positions {
        let mut element = offsets.add_partition(topic, lane);
        element.set_offset(Offset::Offset(offset)).map_err(|error| of_kafka("Cannot commit", error))?;
        element.set_metadata(metadata);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rdkafka::mocking::MockCluster;

    use super::*;

    /// Longer than the broker waits for a group's first members.
    const SESSION: Duration = Duration::from_secs(4);
    const MEMBERS: usize = 48;

    fn member(group_id: &str, kafka: &config::Kafka) -> Member {
        let membership = Membership {
            topic: "t",
            group_id,
            session: SESSION,
            heartbeat: SESSION / 10,
            max_poll_interval: MAX_POLL_INTERVAL,
            fetch_bytes: 1024 * 1024,
        };
        let mut member = Member::join(&membership, kafka).unwrap();
        while !matches!(member.polled.blocking_recv().unwrap(), Polled::Assigned(_)) {}
        member.take_over([(0, 0)]).unwrap();
        // What librdkafka says from now on stands in its queue.
        member.polled.close();
        member.poller.take().unwrap().join().unwrap();
        member
    }

    /// Closing it would wait for ever for what librdkafka does not answer any more.
    #[test]
    fn a_member_that_has_not_heard_of_the_end_of_its_session_is_closed_at_once() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let kafka = config::Kafka { bootstrap_servers: cluster.bootstrap_servers(), ..config::Kafka::default() };
        let kafka = &kafka;
        let members: Vec<Member> = std::thread::scope(|scope| {
            let joining = (0..MEMBERS).map(|number| scope.spawn(move || member(&format!("g{number}"), kafka)));
            joining.collect::<Vec<_>>().into_iter().map(|joining| joining.join().unwrap()).collect()
        });
        cluster.broker_down(1).unwrap();
        while !members.iter().all(|member| member.consumer.assignment_lost()) {
            std::thread::sleep(SESSION / 10);
        }
        let (tell, closed) = mpsc::channel();
        for member in members {
            let tell = tell.clone();
            std::thread::spawn(move || {
                drop(member);
                tell.send(()).unwrap();
            });
        }
        for number in 0..MEMBERS {
            assert_eq!(closed.recv_timeout(Duration::from_secs(10)), Ok(()), "{number} of {MEMBERS} were closed");
        }
    }
}
