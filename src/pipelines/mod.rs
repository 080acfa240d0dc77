//! One room per pipeline: what the user says, what happens to a record, and how the parts are joined.

pub mod bucket_to_kafka;
mod buckets;
pub mod cdc_to_postgres;
pub mod check;
pub mod csv_to_kafka;
pub mod dlq;
pub mod kafka_to_parquet;
mod loading;
pub mod mongo_to_kafka;
pub mod mysql_to_mysql;
pub mod obs_worker;
pub mod postgres_to_kafka;
pub mod read_batches;
pub mod verify;
pub mod walmart_to_kafka;
pub mod walmart_to_mysql;
