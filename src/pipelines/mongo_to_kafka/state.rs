//! What a run remembers for the next, and where: a file, and with transactions a topic too.

use std::fs::File;
use std::path::PathBuf;

use bson::{Bson, Document, Timestamp, oid::ObjectId};
use chrono::{SecondsFormat, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::class::Class;
use super::config::{Config, Mode};
use super::extended;
use super::scan::{Marks, Place};
use crate::error::{Error, Kind, Result};
use crate::flow::{Checkpoints, FileCheckpoints};

const FORMAT: u32 = 1;

/// What is kept of a collection on a topic in one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State<P> {
    format: u32,
    /// Raised by `cursor set` and `cursor reset`: what is older counts no more.
    pub(super) edition: u64,
    /// Raised whenever it is saved.
    pub(super) serial: u64,
    /// `None` where a user has set it and not said of which.
    pub(super) database: Option<String>,
    collection: String,
    field: String,
    #[serde(default)]
    filter: Option<String>,
    pub(super) saved_at: String,
    pub(super) progress: P,
}

/// How far the cursor mode has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CursorProgress {
    #[serde(flatten)]
    pub(super) marks: Pair,
    /// Of a full run that is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) full: Option<Pair>,
}

/// By the field, and for what has no order in it by the id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) ordered: Marks,
    #[serde(default)]
    pub(super) rest: Marks,
}

/// How far the stream mode has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StreamProgress {
    /// Where the stream goes on.
    pub(super) token: Option<Token>,
    /// What has to be read before it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reading: Option<Reading>,
}

/// A place in the changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Token {
    /// As the server gave it; none where only the time is known.
    #[serde(with = "token", default)]
    pub(super) token: Option<Document>,
    /// Of the cluster, as (seconds, increment).
    pub(super) time: Option<(u32, u32)>,
}

/// Documents that are read themselves: all of them, or those of a gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// Of the gap, as seconds since 1970; `None` in a snapshot.
    pub(super) gap: Option<(u32, u32)>,
    /// By the cursor's field, not by the id.
    pub(super) by_field: bool,
    pub(super) marks: Pair,
}

impl Reading {
    /// Of all documents.
    pub(super) fn whole() -> Self {
        Self { gap: None, by_field: false, marks: Pair::default() }
    }
}

mod token {
    use super::{Bson, Document, extended};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(token: &Option<Document>, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written(#[serde(with = "extended")] Bson);
        token.clone().map(|token| Written(Bson::Document(token))).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Document>, D::Error> {
        #[derive(Deserialize)]
        struct Written(#[serde(with = "extended")] Bson);
        let found = Option::<Written>::deserialize(deserializer)?;
        Ok(found.and_then(|Written(token)| token.as_document().cloned()))
    }
}

/// What a mode keeps.
pub(super) trait Progress: Clone + Default + Send + Sync + Serialize + DeserializeOwned {
    const FILE: &'static str;
    /// The place is one in the order of the cursor's field.
    const BY_FIELD: bool;

    /// What the original's cursor file says.
    fn of_original(id: ObjectId) -> Option<Self>;
}

impl Progress for CursorProgress {
    const FILE: &'static str = "cursor.db";
    const BY_FIELD: bool = true;

    fn of_original(id: ObjectId) -> Option<Self> {
        Some(Self::at(Class::ObjectId, Bson::ObjectId(id)))
    }
}

impl CursorProgress {
    /// Behind everything with that value.
    pub(super) fn at(class: Class, value: Bson) -> Self {
        let lows = [(class, Place { value, id: None })].into();
        let ordered = Marks { lows, ..Marks::default() };
        Self { marks: Pair { ordered, rest: Marks::default() }, full: None }
    }
}

impl Progress for StreamProgress {
    const FILE: &'static str = "stream.db";
    const BY_FIELD: bool = false;

    fn of_original(_id: ObjectId) -> Option<Self> {
        None
    }
}

impl<P: Progress> State<P> {
    pub(super) fn new(config: &Config, database: &str, progress: P) -> Self {
        Self {
            format: FORMAT,
            edition: 0,
            serial: 0,
            database: Some(database.to_owned()),
            collection: config.collection.clone(),
            field: config.cursor_field.clone(),
            filter: config.filter.clone(),
            saved_at: String::new(),
            progress,
        }
    }

    /// Later than `other`.
    pub(super) fn is_newer(&self, other: &Self) -> bool {
        (self.edition, self.serial) > (other.edition, other.serial)
    }

    pub(super) fn next(&mut self, progress: P) -> Result<String> {
        self.serial += 1;
        self.saved_at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        self.progress = progress;
        serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))
    }

    /// Whether it tells of what is to be read now.
    pub(super) fn check(&self, config: &Config, database: &str) -> Result<()> {
        let differs = |what: &str, then: &str, now: &str| {
            (then != now).then(|| {
                Error::new(Kind::Conflict, format!("The cursor was written for {what} {then:?}, not {now:?}")).hint(
                    "Use `cursor reset` to begin again, or another topic: a cursor belongs to one topic and collection.",
                )
            })
        };
        let filter = |filter: &Option<String>| filter.clone().unwrap_or_default();
        let then = self.database.as_deref().unwrap_or(database);
        let found = differs("the database", then, database)
            .or_else(|| differs("the collection", &self.collection, &config.collection))
            .or_else(|| differs("the field", &self.field, &config.cursor_field).filter(|_| P::BY_FIELD))
            .or_else(|| differs("the filter", &filter(&self.filter), &filter(&config.filter)));
        found.map_or(Ok(()), Err)
    }
}

/// The folder of a topic and collection; nobody else writes there as long as this is held.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    _lock: Option<File>,
}

/// What a file said.
#[derive(Debug)]
pub(super) struct Remembered<P> {
    pub(super) state: State<P>,
    /// The original wrote it.
    pub(super) is_original: bool,
}

impl Home {
    /// For who only looks.
    pub(super) fn look(config: &Config) -> Self {
        let folder = PathBuf::from(&config.runtime_dir).join("cursors").join(&config.topic).join(&config.collection);
        Self { folder, _lock: None }
    }

    /// # Errors
    /// `Conflict` when another run holds it.
    pub(super) fn hold(config: &Config) -> Result<Self> {
        let home = Self::look(config);
        let path = home.folder.join("lock");
        let failed = |error| Error::io(format!("Cannot lock {}", path.display()), error);
        std::fs::create_dir_all(&home.folder).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: Some(lock), ..home }),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(Error::new(Kind::Conflict, format!("Another run has the cursor in {}", home.folder.display()))
                    .hint("Let it end, or stop it; this one has sent nothing."))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(super) fn file<P: Progress>(&self) -> PathBuf {
        self.folder.join(P::FILE)
    }

    /// What was saved last, or before that where the file is damaged.
    pub(super) fn load<P: Progress>(&self, config: &Config, database: &str) -> Result<Option<Remembered<P>>> {
        let path = self.file::<P>();
        let generations = FileCheckpoints::new(path.clone()).generations()?;
        let is_empty = |text: &String| matches!(text.trim(), "" | "None");
        for (age, text) in generations.iter().enumerate().filter(|(_, text)| !is_empty(text)) {
            if age > 0 {
                tracing::warn!(file = %path.display(), "the cursor file cannot be read; the one before it counts");
            }
            if let Some(found) = parse(text, config, database) {
                return Ok(Some(found));
            }
        }
        if generations.iter().all(is_empty) {
            if !generations.is_empty() {
                tracing::warn!(file = %path.display(), "the cursor file says nothing: everything is sent from the beginning");
            }
            return Ok(None);
        }
        Err(Error::settings(format!("The cursor file {} cannot be read", path.display()))
            .hint("Use `cursor set` to say where to go on, or `cursor reset` to begin again."))
    }

    pub(super) async fn save<P: Progress>(&self, blob: &str) -> Result<()> {
        FileCheckpoints::new(self.file::<P>()).save(blob).await
    }
}

fn parse<P: Progress>(text: &str, config: &Config, database: &str) -> Option<Remembered<P>> {
    if let Ok(state) = serde_json::from_str::<State<P>>(text) {
        return (state.format == FORMAT).then_some(Remembered { state, is_original: false });
    }
    let id = ObjectId::parse_str(text.lines().last()?.trim()).ok()?;
    let field = Config { cursor_field: "_id".to_owned(), filter: None, ..config.clone() };
    let state = State::new(&field, database, P::of_original(id)?);
    Some(Remembered { state, is_original: true })
}

/// Names what a run does, for its transactions.
pub(super) fn work(config: &Config, database: &str) -> String {
    let Config { topic, collection, .. } = config;
    let mode = match config.mode {
        Mode::Cursor => "",
        Mode::Stream => ".stream",
    };
    format!("pipeline_core.mongo.{topic}.{database}.{collection}{mode}")
}

impl Token {
    pub(super) fn of(token: Option<Document>, time: Option<Timestamp>) -> Self {
        Self { token, time: time.map(|time| (time.time, time.increment)) }
    }

    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.time.map(|(time, increment)| Timestamp { time, increment })
    }
}
