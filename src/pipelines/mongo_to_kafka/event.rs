//! One change, as the server tells it.

use bson::{Document, RawBsonRef, RawDocument, Timestamp};

use crate::decode::bson::key;
use crate::error::{Error, Result};

pub(super) struct Event<'a> {
    pub(super) token: Document,
    pub(super) time: Option<Timestamp>,
    pub(super) operation: &'a str,
    pub(super) change: Change<'a>,
}

pub(super) enum Change<'a> {
    /// It is so now, or was so after the change.
    Document(&'a [u8]),
    /// The document of this key was deleted.
    Gone(Vec<u8>),
    /// It was changed, and is gone by now.
    Vanished,
    /// Of the collection, not of a document.
    Other,
}

impl<'a> Event<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let wrong = |what: &str| Error::internal(format!("A change has no {what}"));
        let event = RawDocument::from_bytes(bytes).map_err(|_| wrong("length"))?;
        let get = |name: &str| event.get(name).ok().flatten();
        let operation = get("operationType").and_then(RawBsonRef::as_str).ok_or_else(|| wrong("operation"))?;
        let token = get("_id").and_then(RawBsonRef::as_document).ok_or_else(|| wrong("token"))?;
        let change = match operation {
            "insert" | "update" | "replace" => match get("fullDocument") {
                Some(RawBsonRef::Document(document)) => Change::Document(document.as_bytes()),
                _ => Change::Vanished,
            },
            "delete" => {
                let of = get("documentKey").and_then(RawBsonRef::as_document).ok_or_else(|| wrong("key"))?;
                match key(of.as_bytes()) {
                    Ok(found) => Change::Gone(found.ok_or_else(|| wrong("id"))?),
                    // It will be refused.
                    Err(_) => Change::Document(of.as_bytes()),
                }
            }
            _ => Change::Other,
        };
        let token = Document::try_from(token).map_err(|_| wrong("token"))?;
        Ok(Self { token, time: get("clusterTime").and_then(RawBsonRef::as_timestamp), operation, change })
    }
}
