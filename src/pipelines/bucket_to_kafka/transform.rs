//! Objects to tasks.

use chrono::{DateTime, SecondsFormat, Utc};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::Config;
use crate::error::{Error, Result};
use crate::store::Listed;

/// The task of the contract, its fields in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_bucket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    #[serde(default = "now")]
    pub generated_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// What else the caller has put in.
    #[serde(flatten)]
    pub others: serde_json::Map<String, Value>,
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Task {
    pub(super) fn of(found: Listed, bucket: &str, config: &Config) -> Self {
        Self {
            key: found.key,
            bucket: Some(bucket.to_owned()),
            dest_bucket: config.dest_bucket.clone(),
            dest_key: config.dest_key.clone(),
            size: Some(found.size),
            etag: found.e_tag,
            last_modified: Some(found.last_modified.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            generated_at: now(),
            metadata: None,
            others: serde_json::Map::new(),
        }
    }

    /// The same for the same work: what has been sent is told by it.
    pub(super) fn identity(&self) -> String {
        serde_json::json!([self.bucket, self.key, self.dest_bucket, self.dest_key]).to_string()
    }
}

/// Which objects become tasks.
#[derive(Debug)]
pub(super) struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
    since: Option<DateTime<Utc>>,
}

impl Filter {
    /// # Errors
    /// Names a glob that cannot be read.
    pub(super) fn new(config: &Config) -> Result<Self> {
        let include = (!config.include.is_empty()).then(|| globs(&config.include)).transpose()?;
        Ok(Self { include, exclude: globs(&config.exclude)?, since: config.since })
    }

    pub(super) fn takes(&self, found: &Listed) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.is_match(&found.key))
            && !self.exclude.is_match(&found.key)
            && self.since.is_none_or(|since| found.last_modified >= since)
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet> {
    let unreadable = |error: globset::Error| Error::settings(format!("Cannot read a glob: {error}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(unreadable)?);
    }
    set.build().map_err(unreadable)
}

/// A key that stands for a folder: it holds nothing.
pub(super) fn is_directory(found: &Listed) -> bool {
    found.key.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str) -> Listed {
        Listed { key: key.to_owned(), size: 3, e_tag: Some("x".to_owned()), last_modified: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn a_task_has_the_fields_of_the_contract_in_order() {
        let task = Task::of(listed("a/b.csv"), "in", &Config::default());
        let text = serde_json::to_string(&task).unwrap();
        let head = r#"{"key":"a/b.csv","bucket":"in","size":3,"etag":"x","last_modified":"1970-01-01T00:00:00Z","generated_at":"#;
        assert!(text.starts_with(head), "{text}");
        let back: Task = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn globs_are_over_whole_keys() {
        let config =
            Config { include: vec!["**/*.csv".to_owned()], exclude: vec!["tmp/**".to_owned()], ..Config::default() };
        let filter = Filter::new(&config).unwrap();
        let taken = ["a/b.csv", "c.csv", "a/b.json", "tmp/x.csv"].map(|key| filter.takes(&listed(key)));
        assert_eq!(taken, [true, true, false, false]);
        assert!(Filter::new(&Config { include: vec!["[".to_owned()], ..Config::default() }).is_err());
        let later = Config { since: Some(Utc::now()), ..Config::default() };
        assert!(!Filter::new(&later).unwrap().takes(&listed("a")));
    }
}
