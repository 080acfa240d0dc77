//! The change stream of a collection, batch by batch, with the token that each batch ends at.

use std::time::Duration;

use bson::{Bson, Document, RawBsonRef, RawDocument, Timestamp, doc};
use futures::StreamExt;
use mongodb::raw_batch_cursor::RawBatchCursor;

use super::client::{Client, code_of, of_mongo};
use super::find::Found;
use crate::error::Error;

const WHAT: &str = "The change stream";

/// How long the server waits for a change before it says that there is none.
const AWAIT: Duration = Duration::from_millis(500);

/// The token is none, or what it stands for is gone: `CappedPositionLost`, `InvalidResumeToken`,
/// `ChangeStreamFatalError`, `ChangeStreamHistoryLost`.
const LOST: [i32; 4] = [136, 260, 280, 286];

/// What stands where a token should is none.
const NO_TOKEN: i32 = 9;

/// Where a stream begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// After what the token stands for, an invalidation too.
    After(Document),
    At(Timestamp),
}

#[derive(Debug)]
pub enum ChangeError {
    /// The changes behind the token can no longer be had.
    Lost(String),
    Other(Error),
}

impl From<Error> for ChangeError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// An open change stream.
pub struct Changes {
    client: Client,
    cursor: RawBatchCursor,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

/// What one reply of the server had.
#[derive(Debug)]
pub struct ChangeBatch {
    pub found: Found,
    /// Where a stream goes on after this batch, also when the batch is empty.
    pub token: Option<Document>,
}

impl Changes {
    /// # Errors
    /// `Lost` when the stream cannot begin there any more.
    pub async fn open(
        client: &Client,
        collection: &str,
        start: &Start,
        full_document: &str,
        batch_size: u32,
    ) -> Result<Self, ChangeError> {
        let mut stage = doc! {"fullDocument": full_document};
        match start {
            Start::Now => {}
            Start::After(token) => drop(stage.insert("startAfter", token.clone())),
            Start::At(time) => drop(stage.insert("startAtOperationTime", *time)),
        }
        // What was changed stands in the document too; twice, it might be more than a reply takes.
        let pipeline = [doc! {"$changeStream": stage}, doc! {"$project": {"updateDescription": 0}}];
        let collection = client.collection(collection);
        let watch = collection.aggregate(pipeline).batch_size(batch_size).max_await_time(AWAIT);
        let opened = client.awaited(WHAT, watch.batch()).await?;
        let cursor = opened.map_err(|error| match (start, told(&error)) {
            (Start::After(_), ChangeError::Other(said)) if code_of(&error) == NO_TOKEN => {
                ChangeError::Lost(said.to_string())
            }
            (_, told) => told,
        })?;
        Ok(Self { client: client.clone(), cursor })
    }

    /// The next reply, which may be empty. `None` when the server has closed the stream.
    ///
    /// # Errors
    /// `Lost` when the stream has fallen too far behind.
    pub async fn next(&mut self) -> Result<Option<ChangeBatch>, ChangeError> {
        let Some(batch) = self.client.awaited(WHAT, self.cursor.next()).await? else { return Ok(None) };
        let batch = batch.map_err(|error| told(&error))?;
        let token = token_of(batch.as_raw_document());
        Ok(Some(ChangeBatch { found: Found(batch), token }))
    }
}

fn told(error: &mongodb::error::Error) -> ChangeError {
    let said = of_mongo(WHAT, error);
    if LOST.contains(&code_of(error)) { ChangeError::Lost(said.to_string()) } else { ChangeError::Other(said) }
}

fn token_of(reply: &RawDocument) -> Option<Document> {
    let cursor = reply.get_document("cursor").ok()?;
    match cursor.get("postBatchResumeToken").ok()?? {
        RawBsonRef::Document(token) => Document::try_from(token).ok(),
        _ => None,
    }
}

/// The cluster's time that a token stands for, where its form is known: a key string that begins with a timestamp.
#[must_use]
pub fn time_of(token: &Document) -> Option<Timestamp> {
    let Some(Bson::String(data)) = token.get("_data") else { return None };
    let number = |from: usize| u32::from_str_radix(data.get(from..from + 8)?, 16).ok();
    data.starts_with("82").then_some(())?;
    Some(Timestamp { time: number(2)?, increment: number(10)? })
}
