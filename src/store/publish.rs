//! Making a finished file visible, whole and once.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions};
use tokio_util::sync::CancellationToken;

use super::client::{Place, of_store};
use super::file::{Finished, Format};
use super::footer::{Footer, read_footer};
use super::probe::Guarantee;
use crate::error::{Error, Kind, Result};
use crate::retry::patiently;

/// The largest object that is put in one request, and the size of the parts of larger ones.
const PART: u64 = 8 * 1024 * 1024;

/// Publishes the file under `name`; returns its size, and logs it. Where the same file is there already, that is
/// success: a former owner of the cut wrote it, or a reply was lost.
///
/// # Errors
/// `Conflict` when another file has the name; `Unavailable` when the store does not come back.
pub async fn publish(
    place: &Place,
    name: &str,
    file: Finished,
    footer: &Footer,
    guarantee: Guarantee,
    stop: &CancellationToken,
) -> Result<u64> {
    let path = place.path(name)?;
    let format = file.format;
    let spool = std::sync::Arc::new(tokio::sync::Mutex::new(file.spool));
    patiently(&format!("Writing {}", place.url(name)), stop, || {
        let (spool, path) = (spool.clone(), path.clone());
        async move {
            let mut spool = spool.lock().await;
            let size = spool.seek(SeekFrom::End(0)).and_then(|size| spool.rewind().map(|()| size));
            let size = size.map_err(|error| Error::io("Cannot read a spilled file", error))?;
            let written = if let Some(target) = place.local_path(name) {
                link(&target, &mut *spool)
            } else if guarantee == Guarantee::CreateOnly && size <= PART {
                put(place, &path, &mut *spool, size, format, PutMode::Create).await
            } else {
                match place.store.head(&path).await {
                    Ok(_) => Err(Error::new(Kind::Conflict, "It is there")),
                    Err(object_store::Error::NotFound { .. }) if size <= PART => {
                        put(place, &path, &mut *spool, size, format, PutMode::Overwrite).await
                    }
                    Err(object_store::Error::NotFound { .. }) => put_parts(place, &path, &mut *spool, format).await,
                    Err(error) => Err(of_store(format!("Cannot look at {}", place.url(name)), error)),
                }
            };
            match written {
                Err(error) if Guarantee::is_taken(&error) => compare(place, name, &path, size, footer, format).await?,
                other => {
                    other?;
                    tracing::info!(object = place.url(name), rows = footer.rows, bytes = size, "wrote an object");
                }
            }
            Ok(size)
        }
    })
    .await
}

/// Somebody was here first: the same file, or another one?
async fn compare(place: &Place, name: &str, path: &Path, size: u64, footer: &Footer, format: Format) -> Result<()> {
    let url = place.url(name);
    let there = match place.store.head(path).await {
        Ok(meta) => meta.size,
        // S3 answers 409 to a create that raced another request, and then nothing may have landed.
        Err(object_store::Error::NotFound { .. }) => {
            return Err(Error::new(Kind::Unavailable, format!("{url} was refused, but nothing is there")));
        }
        Err(error) => return Err(of_store(format!("Cannot look at {url}"), error)),
    };
    let is_same = match format {
        Format::Parquet => read_footer(place, path, there).await? == *footer,
        Format::Json => there == size,
    };
    if is_same {
        tracing::info!(url, "the object is there already, with the same rows");
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, format!("{url} is there already, with other rows"))
        .hint("Something outside this consumer group writes to the same place: give each group a folder of its own."))
}

fn attributes(format: Format) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, format.content_type())])
}

async fn put(
    place: &Place,
    path: &Path,
    spool: &mut (impl Read + Send),
    size: u64,
    format: Format,
    mode: PutMode,
) -> Result<()> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    spool.read_to_end(&mut bytes).map_err(|error| Error::io("Cannot read a spilled file", error))?;
    let options = PutOptions { mode, attributes: attributes(format), ..PutOptions::default() };
    let put = place.store.put_opts(path, Bytes::from(bytes).into(), options).await;
    put.map(drop).map_err(|error| of_store(format!("Cannot write {path}"), error))
}

/// A large object in parts, one after the other: one part is in memory, and nothing is visible until the last.
async fn put_parts(place: &Place, path: &Path, spool: &mut (impl Read + Send), format: Format) -> Result<()> {
    let of = |error| of_store(format!("Cannot write {path}"), error);
    let options = PutMultipartOptions { attributes: attributes(format), ..PutMultipartOptions::default() };
    let mut upload = place.store.put_multipart_opts(path, options).await.map_err(of)?;
    loop {
        let mut part = Vec::new();
        let read = spool.by_ref().take(PART).read_to_end(&mut part);
        read.map_err(|error| Error::io("Cannot read a spilled file", error))?;
        if part.is_empty() {
            break;
        }
        if let Err(error) = upload.put_part(Bytes::from(part).into()).await {
            let _ = upload.abort().await;
            return Err(of(error));
        }
    }
    upload.complete().await.map(drop).map_err(of)
}

/// Staged under a hidden name that readers pass over, then linked: visible whole, and never over another file.
fn link(target: &FilePath, spool: &mut impl Read) -> Result<()> {
    let folder = target.parent().unwrap_or(target);
    let mut linked = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut staged = tempfile::Builder::new().prefix(".pc-").permissions(permissions()).tempfile_in(folder)?;
        std::io::copy(spool, &mut staged)?;
        staged.as_file().sync_all()?;
        staged.persist_noclobber(target).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    linked().map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::new(Kind::Conflict, "It is there"),
        _ => Error::io(format!("Cannot write {}", target.display()), error),
    })
}

/// Readable as other new files are: the process's umask is applied to it.
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}
