//! Whole objects to files and back, streamed; what comes over is compared with what the store says of it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use object_store::{Attribute, Attributes, GetOptions, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::client::{Place, of_store};
use crate::error::{Error, Kind, Result};

/// The largest object that is put in one request, and the size of the parts of larger ones.
const PART: usize = 8 * 1024 * 1024;

/// Parts of one object that are on their way at once.
const PARTS: usize = 4;

/// What a download may hold in memory.
const CHUNKS: usize = 256 * 1024;

/// Memory for transfers, shared by all that go on at once.
#[derive(Debug, Clone)]
pub struct Budget {
    kibibytes: Arc<Semaphore>,
    all: u32,
    /// Buffers that were used: pages that the process has already.
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Small ones cost nothing to make.
const WORTH_KEEPING: usize = 64 * 1024;
const KEPT: usize = 16;

/// A buffer on its way to a store, then back.
struct Lent {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
    _held: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut kept = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.capacity() >= WORTH_KEEPING && kept.len() < KEPT {
            kept.push(bytes);
        }
    }
}

impl Budget {
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let all = u32::try_from(bytes / 1024).unwrap_or(u32::MAX / 16).max(1);
        Self { kibibytes: Arc::new(Semaphore::new(all as usize)), all, buffers: Arc::default() }
    }

    /// The next `size` bytes of a file, counted as long as they are held anywhere.
    async fn read(&self, input: &mut std::fs::File, size: usize) -> Result<std::io::Result<Bytes>> {
        let held = self.take(size).await?;
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = kept.filter(|_| size >= WORTH_KEEPING).unwrap_or_default();
        bytes.clear();
        bytes.reserve(size);
        let read = input.take(size as u64).read_to_end(&mut bytes);
        let lent = Lent { bytes, home: self.buffers.clone(), _held: held };
        Ok(read.map(|_| Bytes::from_owner(lent)))
    }

    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.all);
        let permit = self.kibibytes.clone().acquire_many_owned(wanted).await;
        permit.map_err(|error| Error::internal(error.to_string()))
    }
}

/// An object that has been brought over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub size: u64,
    /// Without its quotes.
    pub e_tag: Option<String>,
}

/// Writes the object `key` to a file, over what is in it.
///
/// # Errors
/// When it is not there, may not be read, does not come over whole, or the disk is full.
pub async fn fetch(place: &Place, key: &str, file: &FilePath, budget: &Budget) -> Result<Fetched> {
    let _held = budget.take(CHUNKS).await?;
    let (fetched, wrong) = fetch_once(place, key, file).await?;
    let Some(wrong) = wrong else { return Ok(fetched) };
    // The same sum twice says that the ETag is none.
    match fetch_once(place, key, file).await? {
        (fetched, None) => Ok(fetched),
        (fetched, Some(again)) if again == wrong => {
            place.doubt_etags();
            Ok(fetched)
        }
        _ => Err(Error::new(Kind::Unavailable, format!("Cannot read {}: its MD5 sum is not its ETag", place.url(key)))),
    }
}

/// With the MD5 sum of what came over, if it is not the one that the `ETag` gives.
async fn fetch_once(place: &Place, key: &str, file: &FilePath) -> Result<(Fetched, Option<[u8; 16]>)> {
    let what = || format!("Cannot read {}", place.url(key));
    let path = place.exact(key)?;
    let answer = place.store.get_opts(&path, GetOptions::default()).await.map_err(|error| of_store(what(), error))?;
    let size = answer.meta.size;
    let e_tag = answer.meta.e_tag.as_deref().map(unquoted);
    let on_disk = |error| Error::io(format!("Cannot write {}", file.display()), error);
    let mut out = std::fs::File::options().write(true).create(true).truncate(false).open(file).map_err(on_disk)?;
    let old_size = out.metadata().map_err(on_disk)?.len();
    let expected = e_tag.as_deref().and_then(md5_of).filter(|_| !place.has_other_etags());
    let mut sum = expected.map(|_| Md5::new());
    let mut written = 0;
    let mut chunks = answer.into_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| of_store(what(), error))?;
        written += chunk.len() as u64;
        if let Some(sum) = &mut sum {
            sum.update(&chunk);
        }
        out.write_all(&chunk).map_err(on_disk)?;
    }
    if old_size > written {
        out.set_len(written).map_err(on_disk)?;
    }
    if written != size {
        return Err(Error::new(Kind::Unavailable, format!("{}: {written} of {size} bytes came over", what())));
    }
    let found: Option<[u8; 16]> = sum.map(|sum| sum.finalize().into());
    Ok((Fetched { size, e_tag }, found.filter(|found| Some(*found) != expected)))
}

/// An `ETag` that has the form of an MD5 sum.
fn md5_of(e_tag: &str) -> Option<[u8; 16]> {
    let bytes = (e_tag.len() == 32).then_some(e_tag)?;
    let mut sum = [0; 16];
    for (at, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(bytes.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(sum)
}

/// An `ETag` as stores list it and as they answer, the same for both.
#[must_use]
pub fn unquoted(e_tag: &str) -> String {
    e_tag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Puts a file under `key`, visible whole or not at all, replacing what is there.
///
/// # Errors
/// When it may not be written, or the store does not come back.
pub async fn store(
    place: &Place,
    key: &str,
    file: &FilePath,
    content_type: &'static str,
    metadata: &[(&'static str, String)],
    budget: &Budget,
) -> Result<u64> {
    let path = place.exact(key)?;
    let of = |error| of_store(format!("Cannot write {}", place.url(key)), error);
    let on_disk = |error| Error::io(format!("Cannot read {}", file.display()), error);
    let mut input = std::fs::File::open(file).map_err(on_disk)?;
    let size = input.metadata().map_err(on_disk)?.len();
    let attributes = if place.is_local() { Attributes::new() } else { attributes(content_type, metadata) };
    if size <= PART as u64 {
        let bytes = budget.read(&mut input, usize::try_from(size).unwrap_or(PART)).await?.map_err(on_disk)?;
        let options = PutOptions { attributes, ..PutOptions::default() };
        place.store.put_opts(&path, bytes.into(), options).await.map_err(of)?;
        return Ok(size);
    }
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let mut upload = place.store.put_multipart_opts(&path, options).await.map_err(of)?;
    let mut parts: JoinSet<object_store::Result<()>> = JoinSet::new();
    let sent = async {
        loop {
            while parts.len() >= PARTS {
                landed(parts.join_next().await).map_err(of)?;
            }
            let part = budget.read(&mut input, PART).await?.map_err(on_disk)?;
            if part.is_empty() {
                break;
            }
            parts.spawn(upload.put_part(PutPayload::from(part)));
        }
        while !parts.is_empty() {
            landed(parts.join_next().await).map_err(of)?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = sent {
        parts.shutdown().await;
        let _ = upload.abort().await;
        return Err(error);
    }
    upload.complete().await.map_err(of)?;
    Ok(size)
}

fn landed(joined: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> object_store::Result<()> {
    match joined {
        Some(Ok(landed)) => landed,
        Some(Err(source)) => Err(object_store::Error::JoinError { source }),
        None => Ok(()),
    }
}

fn attributes(content_type: &'static str, metadata: &[(&'static str, String)]) -> Attributes {
    let mut attributes = Attributes::from_iter([(Attribute::ContentType, content_type)]);
    for (name, value) in metadata {
        attributes.insert(Attribute::Metadata((*name).into()), header_text(value).into());
    }
    attributes
}

/// All metadata of an object together may have 2 KB.
const LONGEST: usize = 1024;

/// Text as a header may hold it: percent-encoded beyond plain ASCII, and cut where it is too long.
fn header_text(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if text.len() + 3 > LONGEST {
            break;
        }
        match byte {
            b'!'..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

/// What a store says of the object `key`.
#[derive(Debug, Clone)]
pub struct Looked {
    pub size: u64,
    pub e_tag: Option<String>,
    pub last_modified: chrono::DateTime<chrono::Utc>,
}

/// # Errors
/// `NotFound` when it is not there.
pub async fn look(place: &Place, key: &str) -> Result<Looked> {
    let path = place.exact(key)?;
    let found = place.store.head(&path).await;
    let found = found.map_err(|error| of_store(format!("Cannot look at {}", place.url(key)), error))?;
    let e_tag = found.e_tag.as_deref().map(unquoted);
    Ok(Looked { size: found.size, e_tag, last_modified: found.last_modified })
}

/// Whether the bucket answers at all, by looking for an object that need not be there.
///
/// # Errors
/// When the store is away, there is no such bucket, or it does not let us in.
pub async fn reach(place: &Place) -> Result<()> {
    match look(place, "pipeline_core_is_the_store_there").await {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// The object `key` put under another one, whole, in memory: the least that a transfer can be.
///
/// # Errors
/// As `fetch` and `store`.
#[cfg(feature = "failpoints")]
pub async fn relay(source: &Place, key: &str, target: &Place, dest_key: &str) -> Result<u64> {
    let of = |error| of_store(format!("Cannot relay {key}"), error);
    let bytes = async { source.store.get(&source.exact(key)?).await.map_err(of)?.bytes().await.map_err(of) }.await?;
    let size = bytes.len() as u64;
    target.store.put(&target.exact(dest_key)?, bytes.into()).await.map_err(of)?;
    Ok(size)
}
