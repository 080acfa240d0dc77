//! The engine's tests: one binary, a module for each room.

mod csv;
mod drive;
mod encoder;
mod rows;
