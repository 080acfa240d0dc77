//! librdkafka's broker inside this process, for a first look without any service.
//!
//! It keeps about 5 MiB of a partition, drops what is older without a word, and forgets all when it is closed; so
//! we count what goes in and refuse what would not fit.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::mocking::MockCluster;

use super::client::of_kafka;
use crate::error::{Error, Kind, Result};

/// What is kept of one partition; librdkafka drops the oldest batches past 5 MiB.
pub const PARTITION_BYTES: u64 = 5 * 1024 * 1024;

enum Order {
    CreateTopic { name: String, partitions: i32, done: Sender<Result<(), KafkaError>> },
    Close,
}

static RUNNING: LazyLock<Mutex<HashMap<String, Sender<Order>>>> = LazyLock::new(Mutex::default);

fn running() -> std::sync::MutexGuard<'static, HashMap<String, Sender<Order>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cluster that lives as long as this.
#[derive(Debug)]
pub struct Embedded {
    bootstrap_servers: String,
    pid: u32,
    keeper: Option<JoinHandle<()>>,
}

impl Embedded {
    /// # Errors
    /// When no local port can be had.
    pub fn start(brokers: i32) -> Result<Self> {
        let (orders, inbox) = channel();
        let (tell, started) = channel();
        let keeper = std::thread::spawn(move || {
            let cluster = match MockCluster::new(brokers) {
                Ok(cluster) => cluster,
                Err(error) => return drop(tell.send(Err(of_kafka("Cannot start the embedded broker", error)))),
            };
            let _ = tell.send(Ok(cluster.bootstrap_servers()));
            while let Ok(Order::CreateTopic { name, partitions, done }) = inbox.recv() {
                let _ = done.send(cluster.create_topic(&name, partitions, 1));
            }
        });
        let gone = |_| Error::internal("The embedded broker did not start");
        let bootstrap_servers = started.recv().map_err(gone)??;
        running().insert(bootstrap_servers.clone(), orders);
        Ok(Self { bootstrap_servers, pid: std::process::id(), keeper: Some(keeper) })
    }

    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// # Errors
    /// When the topic is there already, or has no partitions.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        create_topic(&self.bootstrap_servers, name, partitions)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            // The thread is not in this process; joining it would wait for ever.
            std::mem::forget(self.keeper.take());
            return;
        }
        if let Some(orders) = running().remove(&self.bootstrap_servers) {
            let _ = orders.send(Order::Close);
        }
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// True for the address of a broker in this process.
pub(super) fn is_embedded(bootstrap_servers: &str) -> bool {
    running().contains_key(bootstrap_servers)
}

pub(super) fn create_topic(bootstrap_servers: &str, name: &str, partitions: i32) -> Result<()> {
    let closed = || Error::settings("The embedded broker has been closed");
    let (done, answer) = channel();
    let orders = running().get(bootstrap_servers).cloned().ok_or_else(closed)?;
    orders.send(Order::CreateTopic { name: name.to_owned(), partitions, done }).map_err(|_| closed())?;
    let created = answer.recv().map_err(|_| closed())?;
    created.map_err(|error| match error.rdkafka_error_code() {
        Some(Code::TopicAlreadyExists) => Error::new(Kind::Conflict, format!("Topic {name} is there already")),
        _ => of_kafka(&format!("Cannot create topic {name} on the embedded broker"), error),
    })
}
