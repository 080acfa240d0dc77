//! Bytes to values, pure: no room here reads or writes anything.

pub mod charset;
pub mod csv;
pub mod json;
pub mod pull;
pub mod rows;
pub mod typed;
pub mod walmart;
