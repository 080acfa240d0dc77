//! SQL databases, by sqlx. The only room that names it.
//!
//! Rows, positions, the owner's epoch and the outbox of dead letters are committed in one transaction of the target:
//! Kafka's own offsets are no more than a hint.

mod client;
mod outbox;
mod positions;
mod statement;

pub use client::{Database, Transaction};
pub use outbox::Outbox;
pub use positions::{Owned, PositionTable, again};
pub use statement::{Dialect, Upsert, Value, quoted};
