//! `cursor show | set | reset`: what is remembered, for people.

use bson::{Bson, Timestamp, oid::ObjectId};
use serde::Serialize;
use serde_json::{Value, json};

use super::class::Class;
use super::config::{Config, Mode};
use super::state::{CursorProgress, Home, Progress, Remembered, State, StreamProgress, Token, work};
use crate::config::Mongodb;
use crate::error::{Error, Result};
use crate::kafka::TransactionLog;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Show,
    Set,
    Reset,
}

impl Action {
    /// # Errors
    /// When there is no such action.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "show" => Ok(Self::Show),
            "set" => Ok(Self::Set),
            "reset" => Ok(Self::Reset),
            other => Err(Error::settings(format!("A cursor can be shown, set or reset, not {other:?}"))),
        }
    }
}

/// What is remembered of a collection on a topic.
#[derive(Debug, Serialize)]
pub struct CursorReport {
    pub file: String,
    pub mode: Mode,
    pub field: String,
    /// Extended JSON, of each type that the field has.
    pub position: Value,
    /// Documents remembered ahead of it.
    pub window: usize,
    pub token: Option<String>,
    /// RFC 3339: of the change that the token stands for.
    pub last_change: Option<String>,
    /// What is still to be read before the changes.
    pub snapshot: Option<&'static str>,
    pub saved_at: Option<String>,
    /// The original wrote it.
    pub original_format: bool,
}

/// Shows what is remembered, or says what shall be.
///
/// # Errors
/// When another run holds it, or the value cannot be read.
pub async fn cursor(config: &Config, action: Action, value: Option<&str>) -> Result<CursorReport> {
    super::check_settings(config)?;
    match config.mode {
        Mode::Cursor => act::<CursorProgress>(config, action, value).await,
        Mode::Stream => act::<StreamProgress>(config, action, value).await,
    }
}

async fn act<P: Told>(config: &Config, action: Action, value: Option<&str>) -> Result<CursorReport> {
    let database = database(&config.mongodb);
    let home = if action == Action::Show { Home::look(config) } else { Home::hold(config)? };
    let file = home.file::<P>().display().to_string();
    let progress = match (action, value) {
        (Action::Show, _) => {
            let mut found = home.load::<P>(config, &database)?;
            if config.exactly_once {
                found = newest(config, &database, found)?;
            }
            return Ok(told(config, file, found));
        }
        (Action::Reset, _) => P::default(),
        (Action::Set, None) => return Err(Error::settings("No value is named")),
        (Action::Set, Some(value)) => P::parse(value)?,
    };
    // A file that cannot be read, or tells of something else, is what this is for.
    let before = home.load::<P>(config, &database).ok().flatten().map(|found| found.state);
    let mut state = State::new(config, &database, P::default());
    if database == Mongodb::default().database {
        state.database = before.as_ref().and_then(|before| before.database.clone());
    }
    state.edition = (before.map_or(0, |before| before.edition) + 1)
        .max(u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default());
    let blob = state.next(progress)?;
    home.save::<P>(&blob).await?;
    Ok(told(config, file, Some(Remembered { state, is_original: false })))
}

/// The file, or what stands on the topic where that is newer.
fn newest<P: Told>(config: &Config, database: &str, found: Option<Remembered<P>>) -> Result<Option<Remembered<P>>> {
    let (mut logged, name) = (None, format!("{}/state", work(config, database)));
    TransactionLog::look(&config.kafka, &format!("{}_position", config.topic), |key, value| {
        if key == name {
            logged = value.and_then(|value| serde_json::from_str::<State<P>>(value).ok());
        }
    })?;
    let is_newer = |logged: &State<P>| found.as_ref().is_none_or(|found| logged.is_newer(&found.state));
    match logged.filter(is_newer) {
        Some(state) => Ok(Some(Remembered { state, is_original: false })),
        None => Ok(found),
    }
}

/// By the settings alone: no server is asked.
fn database(settings: &Mongodb) -> String {
    crate::mongo::database_name(settings)
}

fn told<P: Told>(config: &Config, file: String, found: Option<Remembered<P>>) -> CursorReport {
    let mut report = CursorReport {
        file,
        mode: config.mode,
        field: config.cursor_field.clone(),
        position: Value::Null,
        window: 0,
        token: None,
        last_change: None,
        snapshot: None,
        saved_at: None,
        original_format: found.as_ref().is_some_and(|found| found.is_original),
    };
    if let Some(Remembered { state, .. }) = found {
        report.saved_at = Some(state.saved_at.clone()).filter(|at| !at.is_empty());
        state.progress.tell(&mut report);
    }
    report
}

/// What people say and are told of it.
trait Told: Progress {
    fn parse(value: &str) -> Result<Self>;
    fn tell(&self, report: &mut CursorReport);
}

fn value_of(text: &str) -> Result<Bson> {
    if let Ok(id) = ObjectId::parse_str(text.trim()) {
        return Ok(Bson::ObjectId(id));
    }
    let wrong = |said: String| {
        Error::settings(format!("The value {text:?} cannot be read: {said}"))
            .hint(r#"Use 24 hex digits, or extended JSON such as {"$date": "2026-01-01T00:00:00Z"}."#)
    };
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    Bson::try_from(value).map_err(|error| wrong(error.to_string()))
}

impl Told for CursorProgress {
    fn parse(value: &str) -> Result<Self> {
        let value = value_of(value)?;
        let raw = bson::RawBson::try_from(value.clone()).map_err(|error| Error::settings(error.to_string()))?;
        let class = Class::of(Some(raw.as_raw_bson_ref()))
            .ok_or_else(|| Error::settings("Nothing is greater than this value"))?;
        Ok(Self::at(class, value))
    }

    fn tell(&self, report: &mut CursorReport) {
        report.position = position(&serde_json::to_value(self).unwrap_or_default());
        report.window = self.marks.ordered.seen.len() + self.marks.rest.seen.len();
        report.snapshot = self.full.as_ref().map(|_| "a full run is not over");
    }
}

impl Told for StreamProgress {
    fn parse(value: &str) -> Result<Self> {
        let token = match value_of(value)? {
            Bson::Document(token) => Token::of(Some(token), None),
            Bson::Timestamp(time) => Token::of(None, Some(time)),
            Bson::DateTime(date) => {
                let time = u32::try_from(date.timestamp_millis() / 1000).unwrap_or_default();
                Token::of(None, Some(Timestamp { time, increment: 0 }))
            }
            _ => return Err(Error::settings("A stream goes on after a token, a timestamp or a date")),
        };
        Ok(Self { token: Some(token), reading: None })
    }

    fn tell(&self, report: &mut CursorReport) {
        let Some(token) = &self.token else { return };
        report.token = token.token.as_ref().and_then(|token| token.get_str("_data").ok()).map(str::to_owned);
        report.last_change = token.time.and_then(|(seconds, _)| {
            let time = chrono::DateTime::from_timestamp(i64::from(seconds), 0)?;
            Some(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        });
        report.snapshot = self.reading.as_ref().map(|reading| match reading.gap {
            Some(_) => "a gap is not read over",
            None => "a snapshot is not over",
        });
        report.position =
            self.reading.as_ref().map_or(Value::Null, |reading| position(&json!({"ordered": reading.marks.ordered})));
    }
}

/// The values that stand in what is remembered, by their types; the value alone where there is one.
pub(super) fn position(progress: &Value) -> Value {
    let Some(lows) = progress["ordered"]["lows"].as_object() else { return Value::Null };
    let mut values = lows.iter().map(|(class, place)| (class.clone(), place["value"].clone()));
    match lows.len() {
        0 => Value::Null,
        1 => values.next().map_or(Value::Null, |(_, value)| value),
        _ => Value::Object(values.collect()),
    }
}
