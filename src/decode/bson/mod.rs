//! Documents of BSON to JSON, straight from their bytes.
//!
//! Every byte that is written has been checked: what is broken is refused with the path to it, and then nothing is
//! appended. Objects keep their order, and names that come twice.

mod decimal;
mod elements;
mod information;
pub mod kind;
mod mapping;
mod numbers;
mod path;
mod problem;
mod text;
mod times;
mod tree;
mod values;
mod write;

pub use elements::Raw;
pub use information::information;
pub use mapping::{Mapping, Variables};
pub use path::{Path, find};
pub use problem::Problem;
pub use write::Form;

use write::Writer;

/// Appends the JSON of a whole document.
///
/// # Errors
/// When it is broken, not UTF-8, or nests too deep.
pub fn write_document(bytes: &[u8], form: Form, out: &mut Vec<u8>) -> Result<(), Problem> {
    whole(out, |out| Writer::new(out, form).object(bytes))
}

/// Appends the JSON of a value.
///
/// # Errors
/// As [`write_document`].
pub fn write_value(raw: Raw<'_>, form: Form, out: &mut Vec<u8>) -> Result<(), Problem> {
    whole(out, |out| Writer::new(out, form).value(raw))
}

/// The key of a document's message; none without an `_id`.
///
/// # Errors
/// When the document is broken before the id, or in it.
pub fn key(bytes: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
    path::named(bytes, "_id")?.map(|id| key_of(id).map_err(|problem| problem.within(b"_id"))).transpose()
}

/// The key of messages about the document with this id: an `ObjectId`'s digits, a text, else canonical JSON.
///
/// # Errors
/// When the id is broken.
pub fn key_of(raw: Raw<'_>) -> Result<Vec<u8>, Problem> {
    let mut key = Vec::new();
    match raw.kind {
        kind::OBJECT_ID => numbers::hex(&raw.fixed::<12>()?, &mut key),
        kind::TEXT => key.extend_from_slice(raw.text()?.as_bytes()),
        _ => write_value(raw, Form::Canonical, &mut key)?,
    }
    Ok(key)
}

/// Takes back what was written before something went wrong.
fn whole(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Problem>) -> Result<(), Problem> {
    let start = out.len();
    write(&mut *out).inspect_err(|_| out.truncate(start))
}
