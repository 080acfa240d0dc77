//! How fast to ask: one limiter for all requests of a client.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::HeaderMap;

use crate::error::{Error, Kind, Result};

/// After so many refusals one after the other a request is given up.
const MOST_REFUSALS: u32 = 30;

/// Longer than that nobody waits for the API.
const MOST_WAIT: Duration = Duration::from_secs(3600);

/// How long the first request after a pause is left alone, until its answer says how many more may go.
const PROBE: Duration = Duration::from_millis(250);

/// A clock that is further off than that is not ours: the API's own is taken.
const SKEW_SECONDS: i64 = 5;

#[derive(Debug)]
pub(super) struct Pace {
    interval: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the API says is left, and when there is more.
    tokens: Option<(u64, Instant)>,
    /// How many requests have been sent.
    sent: u64,
    /// How many of them have not been answered.
    in_flight: u64,
    /// The request that went first after a pause, until something is known again.
    probe: Option<u64>,
    /// Nobody may go before.
    not_before: Instant,
}

/// A request that may be sent; dropped once it is answered.
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    claim: Claim,
}

#[derive(Debug, PartialEq)]
struct Claim {
    /// Counted from 1.
    number: u64,
    /// How many others were on their way when it was sent.
    beside: u64,
}

impl Turn<'_> {
    /// Learns from the answer what is left.
    pub(super) fn note(&self, headers: &HeaderMap) {
        self.pace.note(headers, &self.claim);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pace.state().in_flight -= 1;
    }
}

impl Pace {
    /// # Errors
    /// When the rate is no rate.
    pub(super) fn new(max_requests_per_second: Option<f64>) -> Result<Self> {
        let interval = match max_requests_per_second {
            Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
                return Err(Error::settings("max_requests_per_second must be more than 0"));
            }
            rate => rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()),
        };
        Ok(Self {
            interval,
            state: Mutex::new(State { tokens: None, sent: 0, in_flight: 0, probe: None, not_before: Instant::now() }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the next request may be sent.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            match self.claim(Instant::now()) {
                Ok(claim) => return Turn { pace: self, claim },
                Err(until) => tokio::time::sleep_until(until.into()).await,
            }
        }
    }

    /// Takes the turn, or says when to ask again.
    fn claim(&self, now: Instant) -> Result<Claim, Instant> {
        let mut state = self.state();
        if now < state.not_before {
            return Err(state.not_before);
        }
        let number = state.sent + 1;
        match state.tokens {
            Some((0, replenished)) if now < replenished => return Err(replenished),
            Some((0, _)) => {
                state.tokens = Some((0, now + PROBE));
                state.probe = Some(number);
            }
            Some((left, replenished)) => state.tokens = Some((left - 1, replenished)),
            None => {}
        }
        if let Some(interval) = self.interval {
            state.not_before = now + interval;
        }
        let beside = state.in_flight;
        state.sent = number;
        state.in_flight += 1;
        Ok(Claim { number, beside })
    }

    fn note(&self, headers: &HeaderMap, claim: &Claim) {
        let count = text(headers, "x-current-token-count").and_then(|count| count.parse::<f64>().ok());
        let mut state = self.state();
        if let (Some(count), Some(wait)) = (count, replenishment(headers)) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "A float is cut to its range")]
            let left = count as u64;
            // Not counted in that answer, perhaps: those that were on their way with it, and all that were sent after it.
            let open = claim.beside + state.sent - claim.number;
            state.tokens = Some((left.saturating_sub(open), Instant::now() + wait.min(MOST_WAIT)));
            state.probe = None;
        } else if state.probe == Some(claim.number) {
            state.tokens = None;
            state.probe = None;
        }
    }

    /// Makes everybody wait after the `nth` refusal of a request, counted from 0.
    ///
    /// # Errors
    /// When the API wants nobody to ask for too long.
    pub(super) fn refuse(&self, headers: &HeaderMap, nth: u32) -> Result<()> {
        let told = retry_after(headers).or_else(|| replenishment(headers));
        let own = match told {
            Some(_) => Duration::from_millis(50 << nth.min(6)),
            None => Duration::from_secs(1 << nth.min(5)),
        };
        let wait = told.unwrap_or_default().max(own);
        if wait > MOST_WAIT || nth >= MOST_REFUSALS {
            let message = format!("Walmart wants no more requests for {} s", wait.as_secs());
            return Err(Error::new(Kind::Capacity, message)
                .hint("Nothing is lost: run the same command again later, or set max_requests_per_second lower."));
        }
        tracing::info!(pause_seconds = wait.as_secs_f64(), "Walmart asks for a pause (429)");
        let mut state = self.state();
        state.not_before = state.not_before.max(Instant::now() + wait);
        // One goes first: its answer says whether the others may follow.
        state.tokens = Some((0, state.not_before));
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, "retry-after")?;
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => Some(until(DateTime::parse_from_rfc2822(text).ok()?.to_utc(), headers)),
    }
}

/// How long until there is more to take.
fn replenishment(headers: &HeaderMap) -> Option<Duration> {
    Some(until(instant(text(headers, "x-next-replenishment-time")?)?, headers))
}

/// Epoch milliseconds, epoch seconds, or ISO 8601; without a zone it is UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(number) = text.parse::<f64>() {
        let millis = if number < 1e11 { number * 1000.0 } else { number };
        #[expect(clippy::cast_possible_truncation, reason = "A float is cut to its range")]
        return DateTime::from_timestamp_millis(millis.ceil() as i64);
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    let naive = text.replacen(' ', "T", 1);
    NaiveDateTime::parse_from_str(&naive, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|naive| naive.and_utc())
}

/// How long until `at`, by the API's clock where ours is off.
fn until(at: DateTime<Utc>, headers: &HeaderMap) -> Duration {
    let ours = Utc::now();
    let theirs = text(headers, "date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let now = theirs.map_or(ours, |theirs| theirs.to_utc());
    let now = if (now - ours).num_seconds().abs() > SKEW_SECONDS { now } else { ours };
    (at - now).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&'static str, String)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_replenishment_is_read_in_each_form() {
        let at = DateTime::parse_from_rfc3339("2025-11-21T10:00:00.250Z").unwrap().to_utc();
        for text in
            ["1763719200250", "2025-11-21T10:00:00.250Z", "2025-11-21T05:00:00.250-05:00", "2025-11-21 10:00:00.250"]
        {
            assert_eq!(instant(text), Some(at), "{text}");
        }
        assert_eq!(instant("1763719200").unwrap().timestamp(), 1_763_719_200);
        assert_eq!(instant("soon"), None);
    }

    #[test]
    fn retry_after_comes_first_and_holds_everybody() {
        let pace = Pace::new(None).unwrap();
        let soon = (Utc::now().timestamp_millis() + 90_000).to_string();
        let told = headers(&[("retry-after", "7".to_owned()), ("x-next-replenishment-time", soon)]);
        pace.refuse(&told, 0).unwrap();
        let wait = pace.claim(Instant::now()).unwrap_err() - Instant::now();
        assert!(wait > Duration::from_secs(6) && wait <= Duration::from_secs(7), "{wait:?}");
    }

    #[test]
    fn an_empty_bucket_is_waited_for_and_one_goes_first() {
        let pace = Pace::new(None).unwrap();
        let at = Utc::now().timestamp_millis() + 5_000;
        let now = Instant::now();
        let first = Turn { pace: &pace, claim: pace.claim(now).unwrap() };
        first.note(&headers(&[("x-current-token-count", "1".into()), ("x-next-replenishment-time", at.to_string())]));
        drop(first);
        assert!(pace.claim(now).is_ok());
        let until = pace.claim(now).unwrap_err();
        assert!(until > now + Duration::from_secs(4));
        assert!(pace.claim(until).is_ok());
        assert_eq!(pace.claim(until), Err(until + PROBE));
    }

    #[test]
    fn an_answer_counts_nothing_that_was_sent_after_it() {
        let pace = Pace::new(None).unwrap();
        let now = Instant::now();
        let [first, second, third] = [0; 3].map(|_| Turn { pace: &pace, claim: pace.claim(now).unwrap() });
        let at = (Utc::now().timestamp_millis() + 5_000).to_string();
        let left = |count: &str| {
            headers(&[("x-current-token-count", count.to_owned()), ("x-next-replenishment-time", at.clone())])
        };
        third.note(&left("2"));
        assert!(pace.claim(now).is_err(), "the first two may still be counted");
        drop((second, third));
        first.note(&left("4"));
        assert!(pace.claim(now).is_ok(), "two were sent after it");
        assert!(pace.claim(now).is_ok());
        assert!(pace.claim(now).is_err());
    }

    #[test]
    fn an_answer_that_comes_late_does_not_count_what_was_answered_meanwhile() {
        let pace = Pace::new(None).unwrap();
        let now = Instant::now();
        let [first, second, third] = [0; 3].map(|_| Turn { pace: &pace, claim: pace.claim(now).unwrap() });
        drop((first, second));
        let at = (Utc::now().timestamp_millis() + 5_000).to_string();
        // The API took the third one first.
        third.note(&headers(&[("x-current-token-count", "3".to_owned()), ("x-next-replenishment-time", at)]));
        assert!(pace.claim(now).is_ok());
        assert!(pace.claim(now).is_err());
    }

    #[test]
    fn after_a_refusal_one_goes_first_until_it_is_answered() {
        let pace = Pace::new(None).unwrap();
        pace.refuse(&headers(&[("retry-after", "1".to_owned())]), 0).unwrap();
        let until = pace.claim(Instant::now()).unwrap_err();
        let first = Turn { pace: &pace, claim: pace.claim(until).unwrap() };
        assert_eq!(pace.claim(until), Err(until + PROBE));
        first.note(&HeaderMap::new());
        assert!(pace.claim(until).is_ok() && pace.claim(until).is_ok(), "an API that counts nothing");
    }

    #[test]
    fn a_rate_spaces_requests() {
        let pace = Pace::new(Some(4.0)).unwrap();
        let now = Instant::now();
        assert!(pace.claim(now).is_ok());
        assert_eq!(pace.claim(now), Err(now + Duration::from_millis(250)));
        assert!(Pace::new(Some(0.0)).is_err());
    }

    #[test]
    fn an_api_that_wants_nobody_for_too_long_is_given_up() {
        let pace = Pace::new(None).unwrap();
        assert!(pace.refuse(&headers(&[("retry-after", "86400".to_owned())]), 0).is_err());
        assert!(pace.refuse(&HeaderMap::new(), MOST_REFUSALS).is_err());
    }

    #[test]
    fn a_clock_that_is_off_does_not_matter() {
        let theirs = Utc::now() + chrono::Duration::hours(1);
        let date = theirs.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let wait = until(theirs + chrono::Duration::seconds(10), &headers(&[("date", date)]));
        assert!(wait >= Duration::from_secs(9) && wait <= Duration::from_secs(12), "{wait:?}");
    }
}
