//! SQL databases, by sqlx. The only room that names it.
//!
//! Rows, positions, the owner's epoch and the outbox of dead letters are committed in one transaction of the target:
//! Kafka's own offsets are no more than a hint.

mod attempts;
mod client;
mod mysql;
mod outbox;
mod positions;
mod postgres;
mod statement;

pub use attempts::until_committed;
pub use client::{Asked, Database, Fetched, Server, Session, Transaction};
pub use mysql::{MAKE_ALONE, is_duplicate};
pub use outbox::Outbox;
pub use positions::{Owned, PositionTable};
pub use postgres::DEFINE_ALONE;
pub use statement::{Dialect, Upsert, Value, quoted};
