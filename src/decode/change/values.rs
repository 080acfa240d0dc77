//! A value of a message to the text of a cell.

use std::fmt::Write;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, TimeDelta};

use super::kinds::Kind;
use super::plan::Column;
use super::rows::Rows;
use crate::decode::json::Value;
use crate::decode::pull::{Bad, Outcome};

/// What Debezium sends for a large value that did not change.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// What the original program sends for a date that is NULL.
const NONE: &str = "None";

type Cell = Option<Range<usize>>;

impl Column {
    /// The text that the server reads as this value; `None` is NULL.
    pub(super) fn cell(&self, value: Option<&Value<'_>>, rows: &mut Rows) -> Outcome<Cell> {
        let value = value.ok_or_else(super::missing)?;
        let cell = match (value, &self.kind) {
            (Value::Null, _) => None,
            (Value::Text(text), _) if text.contains('\0') => return Err(Bad::new("The text holds U+0000")),
            (Value::Text(text), _) if text == UNAVAILABLE => {
                return Err(Bad::new("Debezium has left the value out: set REPLICA IDENTITY FULL"));
            }
            (Value::Text(text), Kind::Text(most)) => {
                fits(text, *most)?;
                Some(rows.add_text(text))
            }
            (Value::Number(text), Kind::Int { min, max }) => Some(int(text, *min, *max, rows)?),
            (Value::Text(text), Kind::Int { min, max }) => Some(int(text.trim(), *min, *max, rows)?),
            (Value::Text(text), Kind::Date) if text == NONE => None,
            (Value::Text(text), Kind::Date) => {
                date(text)?;
                Some(rows.add_text(text))
            }
            (Value::Number(text), Kind::Date) => Some(rows.add_text(&days(text)?)),
            (Value::Number(text), Kind::Timestamp) => Some(rows.add_text(&micros(text)?)),
            (Value::Number(text), Kind::Numeric | Kind::Float) => Some(rows.add_text(text)),
            (Value::Text(text), Kind::Numeric | Kind::Float) => {
                number(text)?;
                Some(rows.add_text(text))
            }
            (Value::Bool(value), Kind::Bool) => Some(rows.add_text(if *value { "true" } else { "false" })),
            (Value::Text(text), Kind::Bool | Kind::Timestamp | Kind::Other(_)) => Some(rows.add_text(text)),
            (value, Kind::Json) => Some(json(value, rows)),
            (value, kind) => {
                return Err(Bad::new(format!("It is {} where {} is due", name(value), due(kind))));
            }
        };
        if cell.is_none() && self.is_required {
            return Err(Bad::new("It is null, and the column must not be"));
        }
        Ok(cell)
    }
}

/// The number of the change.
pub(super) fn id(value: Option<&Value<'_>>) -> Outcome<i64> {
    let text = match value {
        Some(Value::Number(text)) => *text,
        Some(Value::Text(text)) => text.trim(),
        Some(other) => return Err(Bad::new(format!("It is {} where an integer is due", name(other)))),
        None => return Err(super::missing()),
    };
    let id = integer(text)?;
    if id < 1 << super::GENERATION {
        Ok(id)
    } else {
        Err(Bad::new(format!("{} is too large for the number of a change", shown(text))))
    }
}

fn integer(text: &str) -> Outcome<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Bad::new(format!("{} is no integer", shown(text))));
    }
    text.parse().map_err(|_| Bad::new(format!("{} is out of range", shown(text))))
}

fn int(text: &str, min: i64, max: i64, rows: &mut Rows) -> Outcome<Range<usize>> {
    let number = integer(text)?;
    if number < min || number > max {
        return Err(Bad::new(format!("{} is out of range", shown(text))));
    }
    Ok(rows.add_text(itoa::Buffer::new().format(number)))
}

fn fits(text: &str, most: Option<usize>) -> Outcome<()> {
    let Some(most) = most else { return Ok(()) };
    if text.len() <= most {
        return Ok(());
    }
    let length = text.chars().count();
    // As the server: blanks past the end do not count.
    if length > most && text.chars().skip(most).any(|sign| sign != ' ') {
        return Err(Bad::new(format!("The text is too long: {length} characters, the column takes {most}")));
    }
    Ok(())
}

fn date(text: &str) -> Outcome<()> {
    if matches!(text, "infinity" | "-infinity") {
        return Ok(());
    }
    let (day, is_before_christ) = match text.strip_suffix(" BC") {
        Some(day) => (day, true),
        None => (text, false),
    };
    let mut parts = day.split('-');
    let mut part = |digits: std::ops::RangeInclusive<usize>| {
        let part = parts.next().filter(|part| digits.contains(&part.len()))?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i32>().ok())?
    };
    let (year, month, day) = (part(4..=7), part(2..=2), part(2..=2));
    let is_valid = parts.next().is_none()
        && year.zip(month).zip(day).is_some_and(|((year, month), day)| {
            // Past what chrono counts the calendar repeats itself every 400 years.
            let alike = if is_before_christ { 1 - year } else { year }.rem_euclid(400) + 400;
            let is_day = NaiveDate::from_ymd_opt(alike, month.cast_unsigned(), day.cast_unsigned()).is_some();
            is_day && (1..=if is_before_christ { 4713 } else { 5_874_897 }).contains(&year)
        });
    if is_valid { Ok(()) } else { Err(Bad::new(format!("{} is no date", shown(text)))) }
}

fn days(text: &str) -> Outcome<String> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let date = TimeDelta::try_days(integer(text)?).and_then(|days| epoch.checked_add_signed(days));
    date.map(|date| date.format("%Y-%m-%d").to_string())
        .ok_or_else(|| Bad::new(format!("{} is no day since 1970", shown(text))))
}

fn micros(text: &str) -> Outcome<String> {
    DateTime::from_timestamp_micros(integer(text)?)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string())
        .ok_or_else(|| Bad::new(format!("{} is no microsecond since 1970", shown(text))))
}

fn number(text: &str) -> Outcome<()> {
    let trimmed = text.trim();
    let is_special = ["nan", "infinity", "-infinity"].contains(&trimmed.to_ascii_lowercase().as_str());
    let has_digit = trimmed.bytes().any(|byte| byte.is_ascii_digit());
    if is_special || (has_digit && trimmed.parse::<f64>().is_ok()) {
        Ok(())
    } else {
        Err(Bad::new(format!("{} is no number", shown(text))))
    }
}

fn json(value: &Value<'_>, rows: &mut Rows) -> Range<usize> {
    match value {
        Value::Null => rows.add_text("null"),
        Value::Bool(value) => rows.add_text(if *value { "true" } else { "false" }),
        Value::Number(text) | Value::Nested(text) => rows.add_text(text),
        Value::Text(text) => rows.add_text(&serde_json::Value::from(text.as_ref()).to_string()),
    }
}

/// What a value is, for a reason.
pub(super) fn name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::Text(_) => "a string",
        Value::Nested(text) if text.starts_with('[') => "an array",
        Value::Nested(_) => "an object",
    }
}

fn due(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int { .. } => "an integer",
        Kind::Text(_) | Kind::Other(_) => "a string",
        Kind::Date => "a date",
        Kind::Timestamp => "a time",
        Kind::Numeric | Kind::Float => "a number",
        Kind::Bool => "a boolean",
        Kind::Json => "JSON",
    }
}

/// A text in quotes, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::from("\"");
    for sign in text.chars().take(40) {
        let _ = write!(shown, "{}", sign.escape_debug());
    }
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown.push('"');
    shown
}
