//! Half-open windows of time, and how they are cut into smaller ones.

use chrono::{DateTime, SecondsFormat, Utc};

/// From `start` to before `end`; whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// Parts of one cut.
const MOST_PARTS: i64 = 64;

/// A window as long as that is cut at whole seconds.
const COARSE_MILLIS: i64 = 4_000;

const SECOND: i64 = 1_000;

impl Window {
    /// Whether it can be cut.
    pub(super) fn is_divisible(&self) -> bool {
        self.millis() > 1
    }

    fn millis(&self) -> i64 {
        (self.end - self.start).num_milliseconds()
    }

    /// As many parts as are needed for parts of `most` orders, were they spread evenly: two at least, each of a
    /// millisecond at least. The window must be divisible.
    pub(super) fn split(&self, orders: u64, most: u64) -> Vec<Self> {
        let parts = i64::try_from(orders.div_ceil(most.max(1))).unwrap_or(MOST_PARTS).clamp(2, MOST_PARTS);
        let (first, length) = (self.start.timestamp_millis(), self.millis());
        let step = if length >= COARSE_MILLIS { SECOND } else { 1 };
        let bounds = (1..parts).map(|part| (first + length * part / parts).div_euclid(step) * step);
        let mut windows = Vec::new();
        let mut start = self.start;
        for end in bounds.filter_map(DateTime::from_timestamp_millis) {
            if end > start {
                windows.push(Self { start, end });
                start = end;
            }
        }
        windows.push(Self { start, end: self.end });
        windows
    }

    /// Whether an order of this date, which the API gave for this window, is surely another window's: the API takes
    /// both ends in, and perhaps whole seconds of them.
    pub(super) fn is_next_door(&self, date: i64) -> bool {
        let (start, end) = (self.start.timestamp_millis(), self.end.timestamp_millis());
        let is_after = date >= end && date < end.div_euclid(SECOND) * SECOND + SECOND;
        let is_before = date < start && date >= start.div_euclid(SECOND) * SECOND;
        is_after || is_before
    }

    /// Whether it is an instant of the window, in milliseconds since 1970.
    #[must_use]
    pub fn holds(&self, date: i64) -> bool {
        (self.start.timestamp_millis()..self.end.timestamp_millis()).contains(&date)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", written(self.start), written(self.end))
    }
}

/// As the API reads it: seconds, with milliseconds only where there are some.
#[must_use]
pub fn written(instant: DateTime<Utc>) -> String {
    let is_whole = instant.timestamp_subsec_millis() == 0;
    instant.to_rfc3339_opts(if is_whole { SecondsFormat::Secs } else { SecondsFormat::Millis }, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(start: i64, length: i64) -> Window {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        Window { start: at(start), end: at(start + length) }
    }

    proptest! {
        #[test]
        fn the_parts_cover_a_window_exactly_once(
            start in 1_600_000_000_000_i64..1_800_000_000_000,
            length in 2_i64..15_552_000_000,
            orders in 1_u64..200_000,
            most in 1_u64..10_000,
        ) {
            let whole = window(start, length);
            let parts = whole.split(orders, most);
            prop_assert!(parts.len() >= 2);
            prop_assert!(parts.len() <= 64);
            prop_assert_eq!(parts[0].start, whole.start);
            prop_assert_eq!(parts[parts.len() - 1].end, whole.end);
            prop_assert!(parts.iter().all(|part| part.start < part.end));
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let is_whole = |part: &Window| part.start.timestamp_subsec_millis() == 0;
            prop_assert!(length < COARSE_MILLIS || parts[1..].iter().all(is_whole));
        }

        #[test]
        fn splitting_ends_at_a_millisecond(start in 0_i64..10_000, length in 2_i64..20_000, orders in 0_u64..9) {
            let mut open = vec![window(start, length)];
            let mut atoms = 0;
            while let Some(next) = open.pop() {
                if next.is_divisible() { open.extend(next.split(orders, 1)); } else { atoms += 1; }
            }
            prop_assert_eq!(atoms, length);
        }
    }

    #[test]
    fn bounds_are_written_with_milliseconds_only_where_there_are_some() {
        let window = window(1_763_719_200_000, 250);
        assert_eq!(window.to_string(), "2025-11-21T10:00:00Z to 2025-11-21T10:00:00.250Z");
    }

    #[test]
    fn an_order_at_a_border_belongs_to_one_window() {
        let (first, second) = (window(10_000, 500), window(10_500, 500));
        for date in 10_000..11_000 {
            assert_eq!(u8::from(first.holds(date)) + u8::from(second.holds(date)), 1);
            assert_eq!(first.is_next_door(date), !first.holds(date));
        }
        let hour = window(3_600_000, 3_600_000);
        assert!(hour.is_next_door(7_200_000));
        assert!(!hour.is_next_door(3_599_999));
        assert!(!hour.is_next_door(7_201_000));
    }
}
