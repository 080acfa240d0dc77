//! Child processes that run the user's parser: given a deadline and a memory limit, replaced when they die.
//!
//! A child speaks lines of JSON on its first two descriptors; what a parser prints comes on the third.

mod child;
mod pool;
mod secrets;

pub use pool::{Pool, PoolSettings};
pub use secrets::Secrets;
