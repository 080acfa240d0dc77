//! What the user says of `mongo_to_kafka`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::{DataType, Kafka, Metrics, Mongodb};
use crate::decode::bson::Form;
use crate::flow::Until;
use crate::process::ModelSetup;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Config {
    pub kafka: Kafka,
    pub mongodb: Mongodb,
    pub metrics: Metrics,
    pub topic: String,
    /// `information`, `raw`, or a name in `data_types`.
    pub data_type: String,
    pub data_types: BTreeMap<String, DataType>,
    pub collection: String,
    /// Dotted path of what grows from document to document.
    pub cursor_field: String,
    pub mode: Mode,
    /// From the beginning.
    pub full_amount: bool,
    /// A stream that has no token begins with all documents.
    pub snapshot: bool,
    /// Extended JSON; only these documents.
    pub filter: Option<String>,
    /// Not said: canonical for `raw`, plain for all else.
    pub json_form: Option<Form>,
    pub until: Until,
    pub debug: bool,
    /// How the class is run that the data type names.
    pub model_setup: Option<ModelSetup>,
    pub exactly_once: bool,
    /// Documents that the server gives at once.
    pub batch_size: u32,
    /// After so many messages, or so many seconds, the position is saved.
    pub transaction_rows: u64,
    pub transaction_seconds: f64,
    /// How late a document may become visible behind its stamp.
    pub lag_seconds: f64,
    /// Documents that are remembered inside the lag.
    pub window_documents: usize,
    /// Between two looks when nothing is new.
    pub poll_interval_ms: u64,
    pub full_document: FullDocument,
    pub on_lost_token: OnLostToken,
    /// An idle stream saves its token so often.
    pub heartbeat_seconds: f64,
    /// `<topic>_dlq` by default.
    pub dead_letter_topic: Option<String>,
    pub max_rejected_share: f64,
    /// For a topic that has to be made.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    pub partitioner: String,
    pub compression: String,
    /// Bytes.
    pub memory_limit: usize,
    /// Where cursor files are kept.
    pub runtime_dir: String,
    pub stats_interval_seconds: f64,
}

/// How the collection is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By a field that grows.
    Cursor,
    /// By its change stream.
    Stream,
}

impl Mode {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Stream => "stream",
        }
    }
}

/// What an update is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FullDocument {
    /// The document as it is by the time it is read.
    Lookup,
    /// As it was after the change: the collection must keep post-images.
    PostImage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLostToken {
    CatchUp,
    Fail,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            mongodb: Mongodb::default(),
            metrics: Metrics::default(),
            topic: String::new(),
            data_type: "information".to_owned(),
            data_types: BTreeMap::new(),
            collection: "raw_information_list_temp".to_owned(),
            cursor_field: "_id".to_owned(),
            mode: Mode::Cursor,
            full_amount: false,
            snapshot: true,
            filter: None,
            json_form: None,
            until: Until::End,
            debug: false,
            model_setup: None,
            exactly_once: false,
            batch_size: 1000,
            transaction_rows: 10_000,
            transaction_seconds: 5.0,
            lag_seconds: 10.0,
            window_documents: 20_000,
            poll_interval_ms: 1000,
            full_document: FullDocument::Lookup,
            on_lost_token: OnLostToken::CatchUp,
            heartbeat_seconds: 10.0,
            dead_letter_topic: None,
            max_rejected_share: 0.1,
            partitions: None,
            replication_factor: None,
            partitioner: "murmur2_random".to_owned(),
            compression: "gzip".to_owned(),
            memory_limit: 256 * 1024 * 1024,
            runtime_dir: "runtime".to_owned(),
            stats_interval_seconds: 10.0,
        }
    }
}
