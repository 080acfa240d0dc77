//! Instants as text, in UTC.

use chrono::{DateTime, Datelike, Timelike};

/// The digits of an instant in the years 1 to 9999: `2026-01-31T22:56:00.123`.
pub(super) struct Clock([u8; 23]);

impl Clock {
    pub(super) fn of_millis(millis: i64) -> Option<Self> {
        let time = DateTime::from_timestamp_millis(millis).filter(|time| (1..=9999).contains(&time.year()))?;
        let mut digits = *b"0000-00-00T00:00:00.000";
        let mut put = |at: usize, width: usize, mut number: u32| {
            for place in digits[at..at + width].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, time.year().unsigned_abs());
        put(5, 2, time.month());
        put(8, 2, time.day());
        put(11, 2, time.hour());
        put(14, 2, time.minute());
        put(17, 2, time.second());
        put(20, 3, time.timestamp_subsec_millis());
        Some(Self(digits))
    }

    /// `2026-01-31T22:56:00.123Z`.
    pub(super) fn iso(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        out.push(b'Z');
    }

    /// The same; milliseconds only where there are some.
    pub(super) fn short_iso(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.has_millis() { &self.0 } else { &self.0[..19] });
        out.push(b'Z');
    }

    /// As Python's `str` of a datetime: `2026-01-31 22:56:00.123000`.
    pub(super) fn python(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[..10]);
        out.push(b' ');
        out.extend_from_slice(&self.0[11..19]);
        if self.has_millis() {
            out.extend_from_slice(&self.0[19..]);
            out.extend_from_slice(b"000");
        }
    }

    fn has_millis(&self) -> bool {
        self.0[20..] != *b"000"
    }
}
