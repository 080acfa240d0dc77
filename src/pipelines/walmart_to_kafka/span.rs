//! The span of time that a run is about.

use chrono::{DateTime, LocalResult, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::config::Config;
use crate::error::{Error, Result};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: DateTime<Utc>,
    /// Not included; never later than now.
    pub(super) end: DateTime<Utc>,
    /// The same for the same work: an interrupted run of it is resumed.
    pub(super) work: Value,
}

impl Span {
    /// # Errors
    /// When the dates or hours are not to be understood.
    pub(super) fn of(config: &Config, now: DateTime<Utc>) -> Result<Self> {
        let (start, end, asked) = match (&config.start_date, &config.end_date, config.hours) {
            (Some(first), Some(last), None) => {
                let (start, end) = days(first, last, &config.timezone)?;
                (start, end.min(now), json!(["days", first, last, config.timezone]))
            }
            (None, None, hours) => {
                let hours = hours.unwrap_or(1);
                (now - TimeDelta::hours(hours.into()), now, json!(["hours", hours]))
            }
            (_, _, Some(_)) => {
                return Err(Error::settings("Both hours and dates are set")
                    .hint("Use --hours, or --start-date and --end-date."));
            }
            _ => return Err(Error::settings("A start date needs an end date").hint("Use --start-date and --end-date.")),
        };
        if start >= end {
            return Err(Error::settings("The days asked for are still to come, or there are none")
                .hint("Use hours of 1 or more, or a start date that has begun."));
        }
        let asked = if config.follow { json!("follow") } else { asked };
        let work = json!([config.walmart.account_tag, config.topic, config.modified, config.ship_node_type, asked]);
        Ok(Self { start, end, work })
    }
}

/// From the first moment of the first day to the first moment after the last.
fn days(first: &str, last: &str, timezone: &str) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let zone: Tz = timezone.parse().map_err(|_| {
        Error::settings(format!("There is no time zone {timezone:?}")).hint("Use a name like America/Los_Angeles.")
    })?;
    let (first, last) = (day(first)?, day(last)?);
    if last < first {
        return Err(Error::settings(format!("The end date {last} is before the start date {first}")));
    }
    let after = last.succ_opt().ok_or_else(|| Error::settings(format!("There is no day after {last}")))?;
    Ok((beginning(first, zone)?, beginning(after, zone)?))
}

fn day(text: &str) -> Result<NaiveDate> {
    let form = if text.contains('-') { "%Y-%m-%d" } else { "%Y%m%d" };
    NaiveDate::parse_from_str(text, form)
        .map_err(|_| Error::settings(format!("{text:?} is no date")).hint("Write it as YYYY-MM-DD or YYYYMMDD."))
}

/// The first moment of a day: where midnight is skipped, the one after the gap; where it comes twice, the first.
fn beginning(day: NaiveDate, zone: Tz) -> Result<DateTime<Utc>> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let found = (0..=24 * 4).find_map(|quarter| {
        match zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarter))) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Some(instant.to_utc()),
            LocalResult::None => None,
        }
    });
    found.ok_or_else(|| Error::settings(format!("There is no {day} in {zone}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn hours(first: &str, last: &str, zone: &str) -> i64 {
        let (start, end) = days(first, last, zone).unwrap();
        (end - start).num_hours()
    }

    #[test]
    fn a_day_is_a_day_of_the_zone() {
        let day = days("2025-11-11", "20251111", "America/Los_Angeles").unwrap();
        assert_eq!(day, (at("2025-11-11T08:00:00Z"), at("2025-11-12T08:00:00Z")));
        assert_eq!(hours("2025-11-02", "2025-11-02", "America/Los_Angeles"), 25);
        assert_eq!(hours("2025-03-09", "2025-03-09", "America/Los_Angeles"), 23);
        assert_eq!(hours("2025-11-01", "2025-11-03", "America/Los_Angeles"), 73);
        assert_eq!(hours("2025-11-02", "2025-11-02", "UTC"), 24);
    }

    #[test]
    fn a_midnight_that_is_skipped_is_the_moment_after_the_gap() {
        // Lebanon's clocks go from 00:00 to 01:00.
        assert_eq!(days("2025-03-30", "2025-03-30", "Asia/Beirut").unwrap().0, at("2025-03-29T22:00:00Z"));
        assert_eq!(hours("2025-03-30", "2025-03-30", "Asia/Beirut"), 23);
    }

    #[test]
    fn neighbouring_days_touch() {
        let mut day = NaiveDate::from_ymd_opt(2025, 1, 1).unwrap();
        for _ in 0..365 {
            let next = day.succ_opt().unwrap();
            let (first, second) = (day.to_string(), next.to_string());
            let zone = "America/Los_Angeles";
            assert_eq!(days(&first, &first, zone).unwrap().1, days(&second, &second, zone).unwrap().0);
            day = next;
        }
    }

    #[test]
    fn a_span_ends_now_at_the_latest() {
        let now = at("2025-11-11T20:00:00Z");
        let dates = |first: &str, last: &str| Config {
            start_date: Some(first.to_owned()),
            end_date: Some(last.to_owned()),
            ..Config::default()
        };
        assert_eq!(Span::of(&dates("2025-11-11", "2025-11-11"), now).unwrap().end, now);
        assert!(Span::of(&dates("2025-11-12", "2025-11-12"), now).is_err());
        assert!(Span::of(&dates("2025-11-11", "2025-11-10"), now).is_err());
        assert!(Span::of(&dates("2025-02-30", "2025-03-01"), now).is_err());
        assert!(Span::of(&Config { hours: Some(2), ..dates("2025-11-11", "2025-11-11") }, now).is_err());
        assert!(Span::of(&Config { start_date: Some("2025-11-11".to_owned()), ..Config::default() }, now).is_err());
        assert!(Span::of(&Config { hours: Some(0), ..Config::default() }, now).is_err());
        assert_eq!(Span::of(&Config::default(), now).unwrap().start, at("2025-11-11T19:00:00Z"));
    }
}
