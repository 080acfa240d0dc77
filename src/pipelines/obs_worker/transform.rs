//! Tasks from messages, and notices of their end.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::config::Config;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileTask {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) dest_bucket: String,
    pub(super) dest_key: String,
    pub(super) size: Option<u64>,
    pub(super) e_tag: Option<String>,
}

/// What a task need not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fallbacks<'a> {
    pub(super) source_bucket: Option<&'a str>,
    pub(super) dest_bucket: Option<&'a str>,
    pub(super) output_suffix: &'a str,
}

impl<'a> Fallbacks<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        Self {
            source_bucket: config.source_bucket.as_deref(),
            dest_bucket: config.dest_bucket.as_deref(),
            output_suffix: &config.output_suffix,
        }
    }
}

/// Why a message is no task; with what is known of it, if it has a key.
pub(super) type NoTask = (String, Option<Box<FileTask>>);

impl FileTask {
    /// Empty strings count as absent.
    pub(super) fn read(message: Option<&[u8]>, fallbacks: Fallbacks<'_>) -> Result<Self, NoTask> {
        let value: Value = match message.map(serde_json::from_slice) {
            None => return Err(("The task is empty".to_owned(), None)),
            Some(Err(error)) => return Err((format!("The task is not JSON: {error}"), None)),
            Some(Ok(value)) => value,
        };
        let Value::Object(fields) = value else {
            return Err(("The task is JSON, but not an object".to_owned(), None));
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(key) = text("key") else {
            return Err(("The task has no key".to_owned(), None));
        };
        let bucket = text("bucket").or(fallbacks.source_bucket);
        let dest_bucket = text("dest_bucket").or(fallbacks.dest_bucket).or(bucket);
        let dest_key = text("dest_key").map_or_else(|| format!("{key}{}", fallbacks.output_suffix), str::to_owned);
        let task = Self {
            bucket: bucket.unwrap_or_default().to_owned(),
            key: key.to_owned(),
            dest_bucket: dest_bucket.unwrap_or_default().to_owned(),
            dest_key,
            size: fields.get("size").and_then(Value::as_u64),
            e_tag: text("etag").map(|e_tag| e_tag.trim_matches('"').to_owned()),
        };
        let is_text = |name: &&&str| fields.get(**name).is_none_or(|value| value.is_string() || value.is_null());
        if let Some(name) = ["bucket", "dest_bucket", "dest_key"].iter().find(|name| !is_text(name)) {
            return Err((format!("The task's {name} is not text"), Some(task.into())));
        }
        if task.bucket.is_empty() {
            return Err(("The task names no bucket, and OBS_SOURCE_BUCKET is not set".to_owned(), Some(task.into())));
        }
        if task.bucket == task.dest_bucket && task.key == task.dest_key {
            return Err(("The result would replace its source".to_owned(), Some(task.into())));
        }
        Ok(task)
    }
}

/// How a task ended, for its notice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) worker_type: &'static str,
    pub(super) input_size: u64,
    pub(super) output_size: u64,
    pub(super) error: Option<&'a str>,
}

/// The notice of the contract, its fields in order.
pub(super) fn notice(task: &FileTask, ending: Ending<'_>, now: DateTime<Utc>) -> Vec<u8> {
    let mut notice = Map::from_iter([
        ("timestamp".to_owned(), json!(time_text(now))),
        ("worker_type".to_owned(), json!(ending.worker_type)),
        ("status".to_owned(), json!(if ending.error.is_some() { "failed" } else { "success" })),
        ("source".to_owned(), json!({"bucket": task.bucket, "key": task.key})),
        ("destination".to_owned(), json!({"bucket": task.dest_bucket, "key": task.dest_key})),
        (
            "file_info".to_owned(),
            json!({
                "input_size": ending.input_size,
                "output_size": ending.output_size,
                "input_size_formatted": size_text(ending.input_size),
                "output_size_formatted": size_text(ending.output_size),
            }),
        ),
    ]);
    if let Some(error) = ending.error {
        notice.insert("error".to_owned(), json!(error));
    }
    Value::Object(notice).to_string().into_bytes()
}

/// RFC 3339, UTC, microseconds.
pub(super) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// `0 B`, else one decimal and a unit of 1024.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        return "0 B".to_owned();
    }
    let mut size = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TB")
}

/// By the ending of a result's name.
pub(super) fn content_type(key: &str) -> &'static str {
    let ending = key.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending.to_ascii_lowercase().as_str() {
        "json" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "csv" => "text/csv",
        "txt" | "log" => "text/plain",
        "xml" => "application/xml",
        "html" => "text/html",
        "parquet" => "application/vnd.apache.parquet",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FALLBACKS: Fallbacks<'static> =
        Fallbacks { source_bucket: Some("in"), dest_bucket: Some("out"), output_suffix: ".parsed.json" };

    #[test]
    fn what_a_task_leaves_out_comes_from_the_settings() {
        let task = FileTask::read(Some(br#"{"key": "a/b.csv", "bucket": "", "etag": "\"x\""}"#), FALLBACKS).unwrap();
        assert_eq!((task.bucket.as_str(), task.dest_bucket.as_str()), ("in", "out"));
        assert_eq!((task.dest_key.as_str(), task.e_tag.as_deref()), ("a/b.csv.parsed.json", Some("x")));
    }

    #[test]
    fn what_is_no_task_says_why() {
        for (message, reason) in [
            (Some(&b"{"[..]), "The task is not JSON"),
            (Some(b"[]"), "The task is JSON, but not an object"),
            (Some(br#"{"key": ""}"#), "The task has no key"),
            (Some(br#"{"key": 5}"#), "The task has no key"),
            (Some(br#"{"key": "a", "dest_key": "a", "dest_bucket": "in"}"#), "The result would replace its source"),
            (None, "The task is empty"),
        ] {
            let (found, _) = FileTask::read(message, FALLBACKS).unwrap_err();
            assert!(found.starts_with(reason), "{found}");
        }
    }

    #[test]
    fn sizes_read_as_in_the_contract() {
        let sizes = [0, 512, 1024, 1536, 5 << 20, 3 << 40].map(size_text);
        assert_eq!(sizes, ["0 B", "512.0 B", "1.0 KB", "1.5 KB", "5.0 MB", "3.0 TB"]);
    }
}
