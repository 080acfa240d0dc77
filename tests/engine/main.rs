//! The engine's tests: one binary, a module for each room.

mod bson;
mod changes;
mod csv;
mod documents;
mod drive;
mod encoder;
mod headers;
mod rows;
