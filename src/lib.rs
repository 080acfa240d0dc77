//! Moves data between files, object stores, Kafka, databases and the Walmart API: nothing lost, nothing twice.
//!
//! | room | what is in it |
//! |---|---|
//! | [`flow`] | the spine: source, sink, the one loop that joins them |
//! | [`decode`] | bytes to values, pure |
//! | [`kafka`] | the only room that names rdkafka |
//! | [`metrics`] | the only room that names `hyper`: what a run has done and whether it is well, told outside and in the log |
//! | [`mongo`] | the only room that names the driver of `MongoDB` |
//! | [`process`] | child processes that run the user's parser or model |
//! | [`sql`] | the only room that names sqlx |
//! | [`store`] | the only room that names `object_store` |
//! | [`walmart`] | the only room that names `reqwest`: Walmart's orders |
//! | [`pipelines`] | one room per pipeline: what `run` means |
//! | `python` | the only room that names pyo3 |

pub mod config;
pub mod decode;
pub mod error;
mod fault;
pub mod flow;
pub mod kafka;
pub mod metrics;
pub mod mongo;
pub mod pipelines;
pub mod process;
#[cfg(feature = "python")]
mod python;
mod retry;
pub mod sql;
pub mod stats;
pub mod store;
pub mod walmart;
