//! Names of the objects that hold a topic's rows: `orders_20261121_014559_supply-chain-orders-3_S-E.parquet`,
//! with S and E, the first and last offset they account for, in 19 digits so that names sort as offsets do.

use chrono::{DateTime, Utc};

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The contract's word at the front.
    pub name: String,
    /// When the cut was made, UTC: `YYYYMMDD_HHMMSS`.
    pub stamp: String,
    pub topic: String,
    pub partition: i32,
    pub first: i64,
    pub last: i64,
    pub extension: &'static str,
}

const EXTENSIONS: [&str; 2] = ["parquet", "json"];

impl ObjectName {
    #[must_use]
    pub fn stamp(now: DateTime<Utc>) -> String {
        now.format("%Y%m%d_%H%M%S").to_string()
    }

    #[must_use]
    pub fn file_name(&self) -> String {
        let Self { name, stamp, topic, partition, first, last, extension } = self;
        format!("{name}_{stamp}_{topic}-{partition}_{first:019}-{last:019}.{extension}")
    }

    /// Reads a file name that begins with `name`; `None` for any other file.
    #[must_use]
    pub fn parse(file_name: &str, name: &str) -> Option<Self> {
        let (stem, extension) = file_name.rsplit_once('.')?;
        let extension = *EXTENSIONS.iter().find(|known| **known == extension)?;
        let rest = stem.strip_prefix(name)?.strip_prefix('_')?;
        let (stamp, rest) = rest.split_at_checked(15)?;
        let is_stamp =
            stamp.bytes().enumerate().all(|(at, byte)| if at == 8 { byte == b'_' } else { byte.is_ascii_digit() });
        let (topic, range) = rest.strip_prefix('_')?.rsplit_once('_')?;
        let (topic, partition) = topic.rsplit_once('-')?;
        let (first, last) = range.split_once('-')?;
        Some(Self {
            name: name.to_owned(),
            stamp: is_stamp.then(|| stamp.to_owned())?,
            topic: topic.to_owned(),
            partition: partition.parse().ok()?,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            extension,
        })
    }
}

/// A `column=value` folder as Hive writes it; a null has a name of its own.
#[must_use]
pub fn hive_segment(column: &str, value: Option<&str>) -> String {
    let value = match value {
        None | Some("") => "__HIVE_DEFAULT_PARTITION__".to_owned(),
        Some(value) => escaped(value),
    };
    format!("{}={value}", escaped(column))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if letter.is_alphanumeric() || "-_.,+ ()".contains(letter) {
            out.push(letter);
        } else {
            let mut bytes = [0; 4];
            out.extend(
                letter
                    .encode_utf8(&mut bytes)
                    .bytes()
                    .flat_map(|byte| [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]].map(char::from)),
            );
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_reads_back(topic in "[a-zA-Z0-9._-]{1,40}", partition in 0..9999i32, first in 0..i64::MAX, rows in 0..9999i64) {
            let name = ObjectName {
                name: "orders".to_owned(), stamp: "20261121_014559".to_owned(), topic, partition, first,
                last: first.saturating_add(rows), extension: "parquet",
            };
            prop_assert_eq!(ObjectName::parse(&name.file_name(), "orders"), Some(name));
        }
    }

    #[test]
    fn other_files_are_passed_over() {
        for other in ["orders_20240101_120000.parquet", "readme.txt", "orders_x", "orders_20240101_120000_t-0_1-2.csv"]
        {
            assert_eq!(ObjectName::parse(other, "orders"), None, "{other}");
        }
        assert_eq!(hive_segment("date", Some("2026-11-21")), "date=2026-11-21");
        assert_eq!(hive_segment("a/b", Some("c=d")), "a%2Fb=c%3Dd");
    }
}
