//! What the user says of `walmart_to_kafka`.

use serde::Deserialize;

use crate::config::{Kafka, Metrics, Walmart};
use crate::flow::Until;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub walmart: Walmart,
    pub metrics: Metrics,
    /// The last so many hours; one, if there are no dates either.
    pub hours: Option<u32>,
    /// The first and the last day, both included: YYYY-MM-DD.
    pub start_date: Option<String>,
    pub end_date: Option<String>,
    /// What a day is.
    pub timezone: String,
    /// All of them when not set.
    pub ship_node_type: Option<String>,
    /// By the time of the last change, and not of creation.
    pub modified: bool,
    /// Go on asking for what is new.
    pub follow: bool,
    pub poll_seconds: f64,
    /// How far each poll goes back behind what is complete: for orders that show up late.
    pub overlap_seconds: f64,
    /// When a `follow` ends; `end` is after one poll.
    pub until: Until,
    pub topic: String,
    /// Orders made ready between two looks at all else there is to do; a window is one transaction whatever it is.
    pub batch_size: usize,
    /// Forget an interrupted run of the same orders.
    pub restart: bool,
    /// A window with more orders is cut.
    pub window_orders: u64,
    /// Requests at once.
    pub concurrency: usize,
    /// For a topic that has to be made.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    pub partitioner: String,
    pub compression: String,
    /// Bytes.
    pub memory_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            walmart: Walmart::default(),
            metrics: Metrics::default(),
            hours: None,
            start_date: None,
            end_date: None,
            timezone: "America/Los_Angeles".to_owned(),
            ship_node_type: None,
            modified: false,
            follow: false,
            poll_seconds: 60.0,
            overlap_seconds: 600.0,
            until: Until::Stopped,
            topic: "walmart_order_raw".to_owned(),
            batch_size: 20,
            restart: false,
            window_orders: 1000,
            concurrency: 4,
            partitions: Some(3),
            replication_factor: None,
            partitioner: "murmur2_random".to_owned(),
            compression: "lz4".to_owned(),
            memory_limit: 256 * 1024 * 1024,
        }
    }
}
