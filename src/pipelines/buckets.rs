//! The buckets that tasks name, each opened once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::config;
use crate::error::{Error, Result};
use crate::store::Place;

/// Where a bucket is that is named without its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    Obs,
    S3,
    Gs,
    File,
}

#[derive(Debug)]
pub(crate) struct Buckets {
    scheme: Scheme,
    settings: config::Store,
    open: Mutex<HashMap<String, Place>>,
}

impl Buckets {
    pub(crate) fn new(scheme: Scheme, settings: &config::Store) -> Self {
        Self { scheme, settings: settings.clone(), open: Mutex::default() }
    }

    /// A bucket that the user has set, which may be a folder.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn trust(&self, bucket: &str) -> Result<Place> {
        if !bucket.starts_with("file://") {
            return self.open(bucket);
        }
        let place = Place::open(bucket, &self.settings)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(open.entry(bucket.to_owned()).or_insert(place).clone())
    }

    /// A bucket by its name or URL. What a task names is never a folder of this machine, unless all buckets are folders.
    ///
    /// # Errors
    /// When it is no name of a bucket, or a setting that it needs is missing.
    pub(crate) fn open(&self, bucket: &str) -> Result<Place> {
        if let Some(place) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(bucket) {
            return Ok(place.clone());
        }
        let name = match bucket.split_once("://") {
            Some(("obs" | "s3" | "s3a" | "gs" | "gcs", name)) => name.trim_end_matches('/'),
            Some(_) if self.scheme != Scheme::File => return Err(not_a_bucket(bucket)),
            _ => bucket,
        };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if self.scheme != Scheme::File && (name.is_empty() || !name.chars().all(is_name)) {
            return Err(not_a_bucket(bucket));
        }
        let url = match self.scheme {
            _ if bucket.contains("://") => bucket.to_owned(),
            Scheme::Obs => format!("obs://{name}"),
            Scheme::S3 => format!("s3://{name}"),
            Scheme::Gs => format!("gs://{name}"),
            Scheme::File => name.to_owned(),
        };
        let place = Place::open(&url, &self.settings)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(open.entry(bucket.to_owned()).or_insert(place).clone())
    }
}

fn not_a_bucket(bucket: &str) -> Error {
    Error::settings(format!("{bucket:?} is not the name of a bucket"))
}
