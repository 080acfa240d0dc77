//! Bytes to values, pure: no room here reads or writes anything.

pub mod bson;
pub mod change;
pub mod charset;
pub mod csv;
pub mod json;
pub mod literal;
pub mod pull;
pub mod rows;
pub mod typed;
pub mod walmart;
