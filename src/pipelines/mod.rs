//! One room per pipeline: what the user says, what happens to a record, and how the parts are joined.

pub mod check;
pub mod csv_to_kafka;
pub mod kafka_to_parquet;
pub mod read_batches;
pub mod verify;
