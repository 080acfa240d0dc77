//! Files to read: a path, a glob or a URL, plain, gzip or zstd.

use std::path::Path as FilePath;
use std::pin::Pin;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::BytesMut;
use futures::TryStreamExt;
use globset::GlobBuilder;
use object_store::{GetOptions, GetRange, ObjectStoreExt};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncSeekExt, BufReader};
use tokio_util::io::StreamReader;

use super::client::{Place, of_store};
use crate::config;
use crate::error::{Error, Kind, Result};

const BUFFER: usize = 512 * 1024;

/// Expands paths, globs and URLs to files, in order; each pattern sorted by name.
///
/// # Errors
/// When one of them names nothing.
pub async fn find(patterns: &[String], settings: &config::Store) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for pattern in patterns {
        if !has_glob(pattern) || FilePath::new(pattern).exists() {
            if !pattern.contains("://") && FilePath::new(pattern).is_dir() {
                return Err(Error::settings(format!("{pattern} is a folder"))
                    .hint(format!("Name its files, e.g. {}/*.csv.", pattern.trim_end_matches('/'))));
            }
            if !pattern.contains("://") && !FilePath::new(pattern).is_file() {
                return Err(Error::new(Kind::NotFound, format!("There is no file {pattern}")).hint("Check the path."));
            }
            files.push(pattern.clone());
            continue;
        }
        let (folder, rest) = split_at_glob(pattern);
        let glob = GlobBuilder::new(rest).literal_separator(true).build();
        let glob = glob
            .map_err(|error| Error::settings(format!("Cannot read the glob {pattern:?}: {error}")))?
            .compile_matcher();
        let is_url = folder.contains("://");
        if !is_url && !FilePath::new(if folder.is_empty() { "." } else { folder }).is_dir() {
            return Err(nothing(pattern));
        }
        let place = Place::open(if folder.is_empty() { "." } else { folder }, settings)?;
        let root = place.root.clone();
        let listing = place.store.list(Some(&root)).try_collect::<Vec<_>>().await;
        let listing = listing.map_err(|error| of_store(format!("Cannot list {folder}"), error))?;
        let mut found: Vec<String> =
            listing
                .iter()
                .filter_map(|meta| meta.location.as_ref().strip_prefix(root.as_ref()))
                .map(|path| path.trim_start_matches('/'))
                .filter(|path| glob.is_match(path))
                .map(|path| {
                    if folder.is_empty() { path.to_owned() } else { format!("{}/{path}", folder.trim_end_matches('/')) }
                })
                .collect();
        if found.is_empty() {
            return Err(nothing(pattern));
        }
        found.sort_unstable();
        files.append(&mut found);
    }
    Ok(files)
}

/// Bytes of all files, where that is known without asking a store or decompressing.
#[must_use]
pub fn total_size(files: &[String]) -> Option<u64> {
    let size = |file: &String| match Codec::of(file) {
        Codec::Plain => std::fs::metadata(file).ok().map(|meta| meta.len()),
        _ => None,
    };
    files.iter().map(size).sum()
}

fn nothing(pattern: &str) -> Error {
    Error::new(Kind::NotFound, format!("No file matches {pattern:?}"))
        .hint("Quote the glob, and check the folder before its first star.")
}

fn has_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

fn split_at_glob(pattern: &str) -> (&str, &str) {
    let star = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    pattern[..star].rfind('/').map_or(("", pattern), |slash| (&pattern[..=slash], &pattern[slash + 1..]))
}

/// A file that is open for reading, decompressed.
pub struct Input {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    buffer: BytesMut,
    is_at_end: bool,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("is_at_end", &self.is_at_end).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens a file at a position in its decompressed content.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub async fn open(url: &str, position: u64, settings: &config::Store) -> Result<Self> {
        let codec = Codec::of(url);
        let start = if codec == Codec::Plain { position } else { 0 };
        let raw = if url.contains("://") { remote(url, start, settings).await? } else { local(url, start).await? };
        let reader: Pin<Box<dyn AsyncRead + Send>> = match codec {
            Codec::Plain => Box::pin(raw),
            Codec::Gzip => Box::pin(multi(GzipDecoder::new(raw), GzipDecoder::multiple_members)),
            Codec::Zstd => Box::pin(multi(ZstdDecoder::new(raw), ZstdDecoder::multiple_members)),
        };
        let mut input = Self { reader, buffer: BytesMut::new(), is_at_end: false };
        if codec != Codec::Plain {
            input.skip(url, position).await?;
        }
        Ok(input)
    }

    async fn skip(&mut self, url: &str, bytes: u64) -> Result<()> {
        let skipped = tokio::io::copy(&mut (&mut self.reader).take(bytes), &mut tokio::io::sink()).await;
        let skipped = skipped.map_err(|error| broken(url, error))?;
        if skipped < bytes {
            return Err(Error::new(Kind::DataLoss, format!("{url} is shorter than it was"))
                .hint("Run without --resume to send it from its beginning."));
        }
        Ok(())
    }

    /// Whether the last piece was the last there is.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// The next piece. Cancel-safe.
    ///
    /// # Errors
    /// When the file is cut off or cannot be decompressed.
    pub async fn piece(&mut self, url: &str) -> Result<BytesMut> {
        while self.buffer.len() < BUFFER {
            self.buffer.reserve(BUFFER);
            let read = self.reader.read_buf(&mut self.buffer).await.map_err(|error| broken(url, error))?;
            if read == 0 {
                self.is_at_end = true;
                break;
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }
}

fn multi<D>(mut decoder: D, switch: fn(&mut D, bool)) -> D {
    switch(&mut decoder, true);
    decoder
}

fn broken(url: &str, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::InvalidData | Io::UnexpectedEof | Io::InvalidInput => {
            Error::new(Kind::DataLoss, format!("{url} is damaged or cut off: {error}"))
                .hint("Rows before the damage have been sent; mend the file and run again with --resume.")
        }
        _ => Error::io(format!("Cannot read {url}"), error),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Zstd,
}

impl Codec {
    fn of(url: &str) -> Self {
        match FilePath::new(url).extension().and_then(|extension| extension.to_str()) {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

type Raw = Pin<Box<dyn AsyncBufRead + Send>>;

async fn local(path: &str, start: u64) -> Result<Raw> {
    let open = async {
        let mut file = tokio::fs::File::open(path).await?;
        let meta = file.metadata().await?;
        if meta.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        file.set_max_buf_size(BUFFER);
        if start > 0 {
            file.seek(std::io::SeekFrom::Start(start)).await?;
        }
        Ok((file, meta.len()))
    };
    let (file, size) = open.await.map_err(|error| Error::io(format!("Cannot read {path}"), error))?;
    check_length(path, size, start)?;
    Ok(Box::pin(BufReader::with_capacity(BUFFER, file)))
}

async fn remote(url: &str, start: u64, settings: &config::Store) -> Result<Raw> {
    let (folder, file) = url.rsplit_once('/').filter(|(_, file)| !file.is_empty()).ok_or_else(|| {
        Error::settings(format!("{url:?} names a folder")).hint("Name a file, or use a glob such as folder/*.csv.")
    })?;
    let place = Place::open(folder, settings)?;
    let path = place.path(file)?;
    let of = |error| of_store(format!("Cannot read {url}"), error);
    let size = place.store.head(&path).await.map_err(of)?.size;
    check_length(url, size, start)?;
    if start == size {
        return Ok(Box::pin(BufReader::new(tokio::io::empty())));
    }
    let options = GetOptions { range: (start > 0).then_some(GetRange::Offset(start)), ..GetOptions::default() };
    let answer = place.store.get_opts(&path, options).await.map_err(of)?;
    let stream = answer.into_stream().map_err(std::io::Error::other);
    Ok(Box::pin(StreamReader::new(stream)))
}

fn check_length(url: &str, size: u64, start: u64) -> Result<()> {
    if size >= start {
        return Ok(());
    }
    Err(Error::new(Kind::DataLoss, format!("{url} has {size} bytes, but {start} were sent of it before"))
        .hint("The file was replaced: run without --resume to send it from its beginning."))
}
