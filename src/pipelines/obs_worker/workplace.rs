//! The work folders: each worker has one of its own below them, held by a lock, that the next one finds when it dies.
//!
//! Names of files are ours: no key leads out of the folder, and no two tasks meet in it.

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Bytes of a key's last part that stay in a file's name.
const LONGEST: usize = 100;

/// Spares beyond these are not worth their disk.
const SPARES: usize = 64;
const LARGEST_SPARE: u64 = 4 * 1024 * 1024;

/// More workers than that do not share a folder.
const SEATS: usize = 10_000;

/// A worker's own folders.
#[derive(Debug)]
pub(super) struct Workplace {
    downloads: PathBuf,
    uploads: PathBuf,
    seat: usize,
    /// Held as long as the worker lives.
    _lock: File,
    /// Input files that have done their service: a file system makes a new one much more slowly than it fills an old one.
    spares: Mutex<Vec<PathBuf>>,
    /// The same after a crash: the transaction that the former owner left open is ended by it.
    pub(super) id: String,
}

/// The files of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    kept_input: PathBuf,
    kept_output: PathBuf,
}

impl Workplace {
    pub(super) fn take(downloads: &Path, uploads: &Path) -> Result<Self> {
        let absolute = |path: &Path| -> Result<PathBuf> {
            let of = |error| Error::io(format!("Cannot make the work folder {}", path.display()), error);
            std::fs::create_dir_all(path).map_err(of)?;
            path.canonicalize().map_err(of)
        };
        let (downloads, uploads) = (absolute(downloads)?, absolute(uploads)?);
        let mut taken = None;
        for seat in 0..SEATS {
            let is_left = taken.is_some() && !seat_folder(&downloads, seat).exists();
            if is_left {
                break;
            }
            let Some(lock) = lock(&seat_folder(&downloads, seat))? else { continue };
            empty(&seat_folder(&downloads, seat));
            empty(&output_folder(&uploads, seat));
            if taken.is_none() {
                taken = Some((seat, lock));
            }
        }
        let Some((seat, lock)) = taken else { return Err(Error::settings("The work folder is full of workers")) };
        let of = |error| Error::io(format!("Cannot use the work folder {}", downloads.display()), error);
        std::fs::create_dir_all(output_folder(&uploads, seat)).map_err(of)?;
        let id = id(&seat_folder(&downloads, seat)).map_err(of)?;
        Ok(Self { downloads, uploads, seat, _lock: lock, spares: Mutex::default(), id })
    }

    /// Puts a spare file in the place of an attempt's input, if there is one.
    pub(super) fn reuse(&self, files: &Files) {
        let mut spares = self.spares();
        spares.retain(|spare| *spare != files.input);
        if let Some(spare) = spares.pop() {
            let _ = std::fs::rename(spare, &files.input);
        }
    }

    /// Takes an attempt's files away. An input that nothing else refers to is kept for another.
    pub(super) fn clear(&self, files: &Files) {
        let _ = std::fs::remove_file(&files.output);
        let is_ours = std::fs::symlink_metadata(&files.input)
            .is_ok_and(|there| there.is_file() && there.nlink() == 1 && there.len() <= LARGEST_SPARE);
        let mut spares = self.spares();
        if !is_ours || spares.len() >= SPARES {
            drop(spares);
            let _ = std::fs::remove_file(&files.input);
            return;
        }
        spares.push(files.input.clone());
    }

    fn spares(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names for an attempt at a task of a topic.
    pub(super) fn files(&self, topic: &str, task: &str, key: &str, dest_key: &str) -> Files {
        let (input, output) = (format!("{task}-{}", safe(key)), format!("{task}-{}", safe(dest_key)));
        Files {
            input: seat_folder(&self.downloads, self.seat).join(&input),
            output: output_folder(&self.uploads, self.seat).join(&output),
            kept_input: self.downloads.join(format!("{topic}-{input}")),
            kept_output: self.uploads.join(format!("{topic}-{output}")),
        }
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(output_folder(&self.uploads, self.seat));
        let _ = std::fs::remove_dir_all(seat_folder(&self.downloads, self.seat));
    }
}

impl Files {
    /// Puts them where a person finds them.
    pub(super) fn keep(&self) {
        for (from, to) in [(&self.input, &self.kept_input), (&self.output, &self.kept_output)] {
            let _ = std::fs::rename(from, to);
        }
    }
}

fn seat_folder(downloads: &Path, seat: usize) -> PathBuf {
    downloads.join(format!(".worker-{seat}"))
}

fn output_folder(uploads: &Path, seat: usize) -> PathBuf {
    uploads.join(format!(".worker-{seat}-output"))
}

/// The folder's lock, or `None` where another worker lives in it.
fn lock(folder: &Path) -> Result<Option<File>> {
    let of = |error| Error::io(format!("Cannot use the work folder {}", folder.display()), error);
    loop {
        std::fs::create_dir_all(folder).map_err(of)?;
        let path = folder.join("lock");
        let file = match File::create(&path) {
            Ok(file) => file,
            // Its owner is just leaving and takes the folder away.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(of(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(of(error)),
        }
        let ours = file.metadata().map_err(of)?.ino();
        if std::fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
            return Ok(Some(file));
        }
    }
}

/// Removes what a worker that died has left.
fn empty(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name() != "lock" && entry.file_name() != "id" {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn id(folder: &Path) -> std::io::Result<String> {
    let path = folder.join("id");
    if let Ok(id) = std::fs::read_to_string(&path)
        && id.len() == 32
    {
        return Ok(id);
    }
    let random = || RandomState::new().hash_one(std::process::id());
    let id = format!("{:016x}{:016x}", random(), random());
    let mut staged = tempfile::NamedTempFile::new_in(folder)?;
    staged.write_all(id.as_bytes())?;
    staged.persist(&path)?;
    Ok(id)
}

/// The last part of a key, of letters that no file system minds, its ending kept.
fn safe(key: &str) -> String {
    let name = key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if name.len() <= LONGEST { name } else { name[name.len() - LONGEST..].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_and_found_again_when_it_died() {
        let folder = tempfile::tempdir().unwrap();
        let take = || Workplace::take(folder.path(), folder.path()).unwrap();
        let (one, other) = (take(), take());
        assert_ne!(one.seat, other.seat);
        assert_ne!(one.id, other.id);
        let left = one.files("topic", "0-1-1", "../../x/..", "/abs/y.json").input;
        assert_eq!(left.parent(), Some(seat_folder(&folder.path().canonicalize().unwrap(), 0).as_path()));
        std::fs::write(&left, "half").unwrap();
        let id = one.id.clone();
        let Workplace { _lock: lock, .. } = &one;
        lock.unlock().unwrap();
        std::mem::forget(one);
        let successor = take();
        assert_eq!((successor.seat, &successor.id), (0, &id));
        assert!(!left.exists());
        drop((successor, other));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(safe("a/b c/d\u{e9}%2F.csv"), "d__2F.csv");
        assert_eq!(safe(".."), "..");
        let long = safe(&format!("{}.parquet", "k".repeat(1000)));
        assert_eq!(long.len(), LONGEST);
        assert!(long.ends_with(".parquet"));
    }
}
