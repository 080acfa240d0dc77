//! Which letters are meant, and reasons without what differs from one letter to the next.

use super::config::Config;
use crate::kafka::Letter;

/// Which letters are meant.
#[derive(Debug)]
pub(super) struct Choice {
    /// In small letters.
    reason: Option<String>,
    key: Option<String>,
    /// Milliseconds since 1970.
    since: Option<i64>,
}

impl Choice {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            reason: config.reason.as_ref().map(|reason| reason.to_lowercase()),
            key: config.key.clone(),
            since: config.since.map(|since| since.timestamp_millis()),
        }
    }

    pub(super) fn takes(&self, letter: &Letter) -> bool {
        self.reason.as_ref().is_none_or(|reason| letter.reason.to_lowercase().contains(reason.as_str()))
            && self.key.as_ref().is_none_or(|key| letter.key.as_deref() == Some(key.as_bytes()))
            && self.since.is_none_or(|since| letter.time.is_some_and(|time| time >= since))
    }
}

/// Before a number that tells what has happened: an SQLSTATE.
const CODES: &str = "PostgreSQL ";

/// A reason without its numbers and quoted values, so that the same trouble counts as one.
pub(super) fn fold(reason: &str) -> String {
    let mut folded = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let is_within_word = folded.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_');
        let taken = if first.is_ascii_digit() && !is_within_word && !folded.ends_with(CODES) {
            let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            let is_number = rest[..word].bytes().all(|letter| letter.is_ascii_digit());
            folded.push_str(if is_number { "N" } else { &rest[..word] });
            word
        } else if let Some(length) = quoted(rest).filter(|_| !is_within_word) {
            folded.extend([first, '…', first]);
            length
        } else {
            folded.push(first);
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    folded
}

/// How long the quoted value is that the text begins with, with its quotes.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'))?;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_differ_by_more_than_their_numbers_and_values() {
        for (reason, folded) in [
            ("The row has 3 cells, the header 21", "The row has N cells, the header N"),
            (r#"$.emp_dob: "2020-13-45" is no date"#, r#"$.emp_dob: "…" is no date"#),
            (r#"$.a[12].utf8: "say \"5\"" is not, 7"#, r#"$.a[N].utf8: "…" is not, N"#),
            ("PostgreSQL 23514: 5 is too small", "PostgreSQL 23514: N is too small"),
            ("it doesn't fit, it's 22P02", "it doesn't fit, it's 22P02"),
            ("an open \"quote of 5", "an open \"quote of N"),
            ("…5é6 at 12.50", "…5é6 at N.N"),
            ("", ""),
        ] {
            assert_eq!(fold(reason), folded);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_reason_can_be_folded(reason in "\\PC{0,40}") {
            let folded = fold(&reason);
            proptest::prop_assert_eq!(folded.is_empty(), reason.is_empty());
        }
    }
}
