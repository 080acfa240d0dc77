//! When a run ends by itself.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// What was there when the run began.
    End,
    /// Only when it is asked to stop.
    Stopped,
    Elapsed(Duration),
    Rows(u64),
}

impl Until {
    /// Reads `end`, `stopped`, a duration like `90s`, `10m`, `1h30m`, or a count like `500000rows`.
    ///
    /// # Errors
    /// Says which forms there are.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "end" => return Ok(Self::End),
            "stopped" => return Ok(Self::Stopped),
            _ => {}
        }
        let rows = text.strip_suffix("rows").and_then(|count| count.trim().parse().ok());
        let duration = || parse_duration(text).map(Self::Elapsed);
        rows.map(Self::Rows).or_else(duration).ok_or_else(|| {
            Error::settings(format!("Cannot read until={text:?}"))
                .hint("Use end, stopped, a duration such as 90s, 10m or 1h30m, or a count such as 500000rows.")
        })
    }

    /// The moment to stop at, counted from now.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Elapsed(duration) => Some(duration),
            _ => None,
        }
    }

    #[must_use]
    pub fn rows(self) -> Option<u64> {
        match self {
            Self::Rows(rows) => Some(rows),
            _ => None,
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = tail;
    }
    (!total.is_zero()).then_some(total)
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
