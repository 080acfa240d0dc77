//! Walmart's Marketplace API: orders of a span of time, each exactly as it was sent. The only room that names reqwest.
//!
//! A span is cut into windows that the API gives whole; a window counts only when it holds as many orders as the API
//! promises. Windows are given out in order of time, so that one instant says how far a run has come.

mod answer;
mod client;
mod fetcher;
mod pace;
mod pages;
mod said;
mod token;
mod window;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

pub use answer::Order;
pub use client::Client;
pub use fetcher::{Fetched, Fetcher, HORIZON_DAYS, NODE_TYPES, Request};
pub use window::{Window, written};

/// Without the part below a second.
#[must_use]
pub fn whole_second(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.duration_trunc(TimeDelta::seconds(1)).unwrap_or(instant)
}
