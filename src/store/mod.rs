//! Object stores and local folders, reached by URL. The only room that names `object_store`.
//!
//! An object is visible whole or not at all, and one that is there is never replaced by other data.

mod client;
mod encoding;
mod file;
mod footer;
mod listing;
mod names;
mod probe;
mod publish;
mod source;
mod transfer;
mod wire;

pub use client::Place;
pub use encoding::{EncodedFile, Encoders};
pub use file::{Compression, Format, Layout};
pub use footer::{Footer, Found, read_footers};
pub use listing::{Listed, list, list_some};
pub use names::{ObjectName, hive_segment};
pub use probe::{Guarantee, probe};
pub use publish::publish;
pub use source::{Input, find, total_size};
#[cfg(feature = "failpoints")]
pub use transfer::relay;
pub use transfer::{Budget, Fetched, Looked, fetch, look, reach, store, unquoted};
