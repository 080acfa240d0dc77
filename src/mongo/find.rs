//! Documents of a collection, batch by batch as the server sends them, without a copy of each.

use bson::Document;
use futures::StreamExt;
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::RawBatch;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::{Client, of_mongo};
use crate::error::{Error, Kind, Result};

/// What is asked of a collection.
#[derive(Debug, Clone)]
pub struct Query {
    pub collection: String,
    pub filter: Document,
    pub sort: Document,
    pub batch_size: u32,
}

/// One reply of the server.
#[derive(Debug)]
pub struct Found(pub(super) RawBatch);

impl Found {
    /// The bytes of each document.
    ///
    /// # Errors
    /// When the reply makes no sense.
    pub fn documents(&self) -> Result<Vec<&[u8]>> {
        let array = self.0.doc_slices().map_err(|error| of_mongo("A reply", &error))?;
        let wrong = |_| Error::new(Kind::Unavailable, "MongoDB sent a batch that cannot be read");
        let mut documents = Vec::new();
        for element in array {
            match element.map_err(wrong)? {
                bson::RawBsonRef::Document(document) => documents.push(document.as_bytes()),
                _ => return Err(Error::internal("MongoDB sent something that is no document")),
            }
        }
        Ok(documents)
    }

    /// Bytes of the reply.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.as_raw_document().as_bytes().len()
    }
}

/// Batches that are read ahead, one while another is worked on.
#[derive(Debug)]
pub struct Batches {
    found: mpsc::Receiver<Result<Found>>,
    task: JoinHandle<()>,
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Batches {
    #[must_use]
    pub fn read(client: &Client, query: Query) -> Self {
        let (give, found) = mpsc::channel(1);
        let client = client.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = read(&client, query, &give).await {
                let _ = give.send(Err(error)).await;
            }
        });
        Self { found, task }
    }

    /// `None` when all have been read. Cancel-safe.
    ///
    /// # Errors
    /// What the server or the network said: the same query may be asked again when it is transient.
    pub async fn next(&mut self) -> Option<Result<Found>> {
        self.found.recv().await
    }
}

async fn read(client: &Client, query: Query, give: &mpsc::Sender<Result<Found>>) -> Result<()> {
    let collection = client.collection(&query.collection);
    let find = collection.find(query.filter).sort(query.sort).batch_size(query.batch_size).allow_disk_use(true);
    // What a failover could undo is not read.
    let find = find.read_concern(ReadConcern::majority());
    let mut cursor = client.awaited("find", find.batch()).await?.map_err(|error| of_mongo("find", &error))?;
    loop {
        match client.awaited("getMore", cursor.next()).await? {
            None => return Ok(()),
            Some(batch) => {
                let batch = batch.map_err(|error| of_mongo("getMore", &error))?;
                if give.send(Ok(Found(batch))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
