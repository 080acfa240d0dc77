//! All objects of a bucket under a prefix, in the order of their keys, several folders at a time.

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::list::PaginatedListOptions;
use object_store::{Extensions, ObjectStore};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::client::{Place, of_store};
use super::transfer::unquoted;
use super::wire::Body;
use crate::error::{Error, Result};

/// An object as a listing has it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    pub e_tag: Option<String>,
    pub last_modified: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<Folder>,
    #[serde(default)]
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: DateTime<Utc>,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Folder {
    prefix: String,
}

impl From<Contents> for Listed {
    fn from(found: Contents) -> Self {
        let e_tag = found.e_tag.as_deref().map(unquoted);
        Self { key: found.key, size: found.size, e_tag, last_modified: found.last_modified }
    }
}

/// A page, or a folder whose pages come in its place.
enum Part {
    Objects(Vec<Listed>),
    Folder(String),
}

/// Pages that are fetched ahead of one folder.
const AHEAD: usize = 4;

/// Folders of folders are taken apart down to this depth, while there are few.
const DEPTH: usize = 3;

/// The objects whose keys begin with `prefix`, a page at a time, in the order of their keys.
///
/// # Errors
/// In the stream: when the bucket is not there, may not be listed, or the store does not come back.
pub fn list(place: &Place, prefix: &str, at_once: usize) -> impl Stream<Item = Result<Vec<Listed>>> + Send + use<> {
    let (to, pages) = mpsc::channel(AHEAD);
    let (place, prefix) = (place.clone(), prefix.to_owned());
    tokio::spawn(async move {
        if place.is_local() {
            let found = local(&place, &prefix).await;
            let _ = to.send(found).await;
            return;
        }
        let folders = match apart(&place, &prefix, at_once).await {
            Ok(folders) => folders,
            Err(error) => return drop(to.send(Err(error)).await),
        };
        let streams = folders.into_iter().map(|part| {
            let place = place.clone();
            async move {
                match part {
                    Part::Objects(objects) => futures::stream::iter([Ok(objects)]).left_stream(),
                    Part::Folder(folder) => all_pages(place, folder).right_stream(),
                }
            }
        });
        // The first pages of the next folders are on their way while this one is read.
        let ordered = futures::stream::iter(streams).buffered(at_once).flatten();
        tokio::pin!(ordered);
        while let Some(page) = ordered.next().await {
            let is_over = page.is_err();
            if to.send(page).await.is_err() || is_over {
                return;
            }
        }
    });
    ReceiverStream::new(pages)
}

/// The folders below `prefix`, with the pages of objects between them, in order.
async fn apart(place: &Place, prefix: &str, at_once: usize) -> Result<Vec<Part>> {
    let mut parts = vec![Part::Folder(prefix.to_owned())];
    for _ in 0..DEPTH {
        let folders = parts.iter().filter(|part| matches!(part, Part::Folder(_))).count();
        if folders == 0 || (folders >= at_once && folders > 1) || at_once == 1 {
            break;
        }
        let level = futures::stream::iter(parts.into_iter().map(|part| async {
            match part {
                Part::Folder(folder) => one_level(place, &folder).await,
                objects @ Part::Objects(_) => Ok(vec![objects]),
            }
        }));
        parts = level.buffered(at_once).try_collect::<Vec<_>>().await?.into_iter().flatten().collect();
    }
    Ok(parts)
}

/// The objects and folders directly below `folder`. A folder with more than a page of either is left as it is.
async fn one_level(place: &Place, folder: &str) -> Result<Vec<Part>> {
    let page = page(place, folder, true, None).await?;
    if page.next_continuation_token.is_some() || page.common_prefixes.is_empty() {
        return Ok(vec![Part::Folder(folder.to_owned())]);
    }
    let mut parts: Vec<(String, Part)> =
        page.common_prefixes.into_iter().map(|found| (found.prefix.clone(), Part::Folder(found.prefix))).collect();
    for found in page.contents {
        parts.push((found.key.clone(), Part::Objects(vec![found.into()])));
    }
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// Fetches its pages one after the other, ahead of who reads them.
fn all_pages(place: Place, folder: String) -> impl Stream<Item = Result<Vec<Listed>>> + Send {
    let (to, pages) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut token = None;
        loop {
            let found = page(&place, &folder, false, token.take()).await.map(|mut page| {
                token = page.next_continuation_token.take();
                page.contents.into_iter().map(Listed::from).collect()
            });
            let is_over = found.is_err() || token.is_none();
            if to.send(found).await.is_err() || is_over {
                return;
            }
        }
    });
    ReceiverStream::new(pages)
}

async fn page(place: &Place, prefix: &str, is_level: bool, page_token: Option<String>) -> Result<Page> {
    let what = || format!("Cannot list {}", place.url(prefix));
    let Some(lister) = place.lister() else { return Err(Error::internal("This store has no pages")) };
    let body = Body::default();
    let mut extensions = Extensions::new();
    extensions.insert(body.clone());
    let options = PaginatedListOptions {
        delimiter: is_level.then_some("/".into()),
        page_token,
        extensions,
        ..Default::default()
    };
    lister.list_paginated(Some(prefix), options).await.map_err(|error| of_store(what(), error))?;
    let text = body.take().ok_or_else(|| Error::internal("A page of a listing has no body"))?;
    quick_xml::de::from_reader(text.as_ref())
        .map_err(|error| Error::new(crate::error::Kind::Unavailable, format!("{}: {error}", what())))
}

/// Whether the bucket can be listed at all.
///
/// # Errors
/// When it is not there, does not let us in, or the store does not answer.
pub async fn list_some(place: &Place) -> Result<()> {
    if place.is_local() {
        return Ok(());
    }
    page(place, "pipeline_core_is_the_bucket_there", false, None).await.map(drop)
}

async fn local(place: &Place, prefix: &str) -> Result<Vec<Listed>> {
    let root = place.path("")?;
    let found: Vec<_> = place
        .store
        .list(Some(&root))
        .try_collect()
        .await
        .map_err(|error| of_store(format!("Cannot list {}", place.url(prefix)), error))?;
    let mut listed: Vec<Listed> = found
        .into_iter()
        .filter_map(|meta| {
            let key = meta.location.as_ref().strip_prefix(root.as_ref())?.trim_start_matches('/').to_owned();
            let e_tag = meta.e_tag.as_deref().map(unquoted);
            key.starts_with(prefix).then_some(Listed { key, size: meta.size, e_tag, last_modified: meta.last_modified })
        })
        .collect();
    listed.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(listed)
}
