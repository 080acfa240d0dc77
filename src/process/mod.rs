//! Child processes that run the user's code: given a deadline and a memory limit, replaced when they die.
//!
//! A parser speaks lines of JSON on its first two descriptors, a model frames; what they print comes on the third.

mod child;
mod documents;
mod model_child;
mod pool;
mod secrets;
mod spawned;

pub use documents::{Converted, DocumentModel, ModelSettings, ModelSetup};
pub use pool::{Pool, PoolSettings};
pub use secrets::Secrets;
