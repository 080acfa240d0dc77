//! What a store really honours, found out before anything is trusted to it.

use std::path::Path;

use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::client::{Place, of_store};
use crate::error::{Error, Kind, Result};

/// What was proven of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// An object that is there is not replaced by a create.
    CreateOnly,
    /// The store ignores or refuses the condition; the logged cut alone keeps writers apart.
    Overwrites,
}

/// Creates a small object twice under `prefix`: the second must be refused and the first still be there.
///
/// # Errors
/// When nothing can be written there at all.
pub async fn probe(place: &Place, prefix: &str) -> Result<Guarantee> {
    if let Some(folder) = place.local_path(prefix) {
        probe_folder(&folder)?;
        return Ok(Guarantee::CreateOnly);
    }
    let what = || format!("Cannot write to {}", place.url(prefix));
    let nonce = format!("{}-{}", std::process::id(), chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default());
    let path = place.path(&format!("{}_pipeline_core_probe/{nonce}", slashed(prefix)))?;
    let create = |text: &'static str| {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        place.store.put_opts(&path, PutPayload::from_static(text.as_bytes()), options)
    };
    let refused = match create("first").await {
        Ok(_) => matches!(create("second").await, Err(object_store::Error::AlreadyExists { .. })),
        // The condition itself is refused, or nothing can be written: a plain put tells which.
        Err(error) => {
            let plain = place.store.put(&path, PutPayload::from_static(b"first")).await;
            plain.map_err(|_| of_store(what(), error))?;
            false
        }
    };
    let kept = async { place.store.get(&path).await?.bytes().await }.await.map_err(|error| of_store(what(), error))?;
    if let Err(error) = place.store.delete(&path).await {
        let error = of_store("Cannot delete the probe object", error);
        tracing::warn!(%error, "the probe object stays; rows are not affected");
    }
    Ok(if refused && kept.as_ref() == b"first" { Guarantee::CreateOnly } else { Guarantee::Overwrites })
}

/// A local file system links atomically; only whether it lets us write must be found out.
fn probe_folder(folder: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::with_prefix_in(".pc-", folder));
    made.map(drop).map_err(|error| Error::io(format!("Cannot write to {}", folder.display()), error))
}

fn slashed(prefix: &str) -> String {
    let trimmed = prefix.trim_matches('/');
    if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") }
}

impl Guarantee {
    /// True for errors that say "somebody was here first".
    pub(super) fn is_taken(error: &Error) -> bool {
        error.kind() == Kind::Conflict
    }
}
