//! `MongoDB`: the only room that names the driver.

mod changes;
mod client;
mod find;

pub use changes::{ChangeBatch, ChangeError, Changes, Start, time_of};
pub use client::{Client, Now, database_name, password_of};
pub use find::{Batches, Found, Query};
