//! Text to typed values: which type a column of text has, and a cell's JSON form in it.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

use crate::config::ColumnType;

/// The narrowest types that a column's cells have been seen to fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    const INT: u8 = 1;
    const FLOAT: u8 = 2;
    const BOOL: u8 = 4;
    const TIME: u8 = 8;
    const TEXT: u8 = 16;

    /// Takes account of a cell of CSV text; empty cells tell nothing.
    pub fn see_cell(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        self.0 |= if is_int(cell) {
            Self::INT
        } else if is_float(cell) {
            Self::FLOAT
        } else if boolean(cell).is_some() {
            Self::BOOL
        } else if timestamp(cell).is_some() {
            Self::TIME
        } else {
            Self::TEXT
        };
    }

    pub fn see_number(&mut self, text: &str) {
        self.0 |= if is_int(text) { Self::INT } else { Self::FLOAT };
    }

    pub fn see_bool(&mut self) {
        self.0 |= Self::BOOL;
    }

    /// A JSON string: a time in RFC 3339, or just text.
    pub fn see_text(&mut self, text: &str) {
        self.0 |= if rfc3339(text).is_some() { Self::TIME } else { Self::TEXT };
    }

    pub fn see_nested(&mut self) {
        self.0 |= Self::TEXT;
    }

    /// The type that holds them all.
    #[must_use]
    pub fn column_type(self) -> ColumnType {
        match self.0 {
            Self::INT => ColumnType::Int64,
            both if both & !(Self::INT | Self::FLOAT) == 0 && both != 0 => ColumnType::Float64,
            Self::BOOL => ColumnType::Boolean,
            Self::TIME => ColumnType::Timestamp,
            _ => ColumnType::String,
        }
    }
}

/// A whole number as JSON writes it, within 64 bits: `007` and `+7` are text.
#[must_use]
pub fn is_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = digits == "0" || (!digits.starts_with('0') && !digits.is_empty());
    is_canonical && digits.bytes().all(|byte| byte.is_ascii_digit()) && text != "-0" && text.parse::<i64>().is_ok()
}

/// A JSON number that a 64-bit float can hold.
#[must_use]
pub fn is_float(text: &str) -> bool {
    let Some(first) = text.strip_prefix('-').unwrap_or(text).bytes().next() else { return false };
    first.is_ascii_digit()
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|raw| raw.get() == text)
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// An instant: RFC 3339, ISO with a blank, or `1/31/2018 22:56`; without an offset it is UTC.
#[must_use]
pub fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    if let Some(instant) = rfc3339(text) {
        return Some(instant);
    }
    if !text.as_bytes().first()?.is_ascii_digit() || !text.contains(':') {
        return None;
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|naive| naive.and_utc())
}

#[must_use]
pub fn rfc3339(text: &str) -> Option<DateTime<Utc>> {
    let is_candidate = text.len() >= 20 && text.as_bytes()[0].is_ascii_digit() && text.as_bytes()[4] == b'-';
    is_candidate.then(|| DateTime::parse_from_rfc3339(text).ok()).flatten().map(|instant| instant.with_timezone(&Utc))
}

/// The cell as JSON in the column's type, or `None` when it does not fit. An empty cell is `null`, but in text.
#[must_use]
pub fn cell_json(cell: &str, column: ColumnType, out: &mut Vec<u8>, ascii: bool) -> Option<()> {
    if column == ColumnType::String {
        super::json::quote_into(out, cell, ascii);
        return Some(());
    }
    if cell.is_empty() {
        out.extend_from_slice(b"null");
        return Some(());
    }
    match column {
        ColumnType::Int64 if is_int(cell) => out.extend_from_slice(cell.as_bytes()),
        ColumnType::Float64 if is_float(cell) => out.extend_from_slice(cell.as_bytes()),
        ColumnType::Boolean => out.extend_from_slice(if boolean(cell)? { b"true" } else { b"false" }),
        ColumnType::Timestamp => {
            let text = timestamp(cell)?.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        _ => return None,
    }
    Some(())
}
