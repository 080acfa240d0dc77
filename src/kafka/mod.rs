//! Kafka, by librdkafka. The only room that names rdkafka.

mod batches;
mod client;
mod closing;
mod commits;
mod dead_letters;
pub mod embedded;
mod fence;
mod group;
mod lag;
mod letters;
mod log;
mod message;
mod note;
mod poller;
mod producer;
mod source;
mod tasks;
mod topics;
mod transaction;
mod transactional;
mod wrapped;

pub use batches::TopicReader;
pub use client::{Client, of_kafka};
pub use commits::{Commit, Commits, Notice};
pub use dead_letters::TopicDeadLetters;
pub use letters::{Letter, REPLAYS};
pub use log::TransactionLog;
pub use message::{Record, Records};
pub use producer::{Outgoing, Producer, ProducerSettings, TooLarge};
pub use source::{SourceSettings, TopicSource, notes};
pub use tasks::{Task, TaskEvent, TaskSettings, TaskSource, Waiting, waiting};
pub use topics::{TopicSpec, ensure_topic, max_message_bytes};
pub use transaction::TransactionCheckpoints;
pub use transactional::KeyedRecord;
pub use wrapped::{FORMAT_HEADER, LetterFormat};
