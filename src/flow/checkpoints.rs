//! A home for the progress of sources that have none of their own.

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fault::fault;

/// Loads and saves one small blob.
pub trait Checkpoints: Send {
    /// What was saved last, or `None` at the first run.
    fn load(&mut self) -> impl Future<Output = Result<Option<String>>> + Send;

    /// Replaces what was saved; after a crash the old or the new is there, whole.
    fn save(&mut self, blob: &str) -> impl Future<Output = Result<()>> + Send;
}

/// A file that is replaced atomically; the generation before it is kept beside it as `<name>.previous`.
#[derive(Debug)]
pub struct FileCheckpoints {
    path: PathBuf,
}

impl FileCheckpoints {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn read(path: &Path) -> Result<Option<String>> {
        match std::fs::read_to_string(path) {
            Ok(blob) => Ok(Some(blob)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unread(path, error)),
        }
    }

    fn previous(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".previous");
        name.into()
    }

    /// The last generation and the one before it, where they are there: for who can tell whether one is damaged.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn generations(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for path in [&self.path, &self.previous()] {
            match std::fs::read(path) {
                Ok(bytes) => found.push(String::from_utf8_lossy(&bytes).into_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unread(path, error)),
            }
        }
        Ok(found)
    }

    fn replace(&self, blob: &str) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut staged = tempfile::NamedTempFile::new_in(folder)?;
        staged.write_all(blob.as_bytes())?;
        staged.as_file().sync_all()?;
        match std::fs::rename(&self.path, self.previous()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fault("in_checkpoint");
        staged.persist(&self.path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

fn unread(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("Cannot read the checkpoint {}", path.display()), error)
}

impl Checkpoints for FileCheckpoints {
    async fn load(&mut self) -> Result<Option<String>> {
        match Self::read(&self.path)? {
            Some(blob) => Ok(Some(blob)),
            None => Self::read(&self.previous()),
        }
    }

    async fn save(&mut self, blob: &str) -> Result<()> {
        self.replace(blob)
            .map_err(|error| Error::io(format!("Cannot save the checkpoint {}", self.path.display()), error))
    }
}
