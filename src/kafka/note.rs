//! What is written beside a committed offset: where an unfinished cut ends, and the sink's note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::error::{Error, Kind, Result};

const MARK: &str = "pc1";

/// A broker keeps 4,096 bytes unless `offset.metadata.max.bytes` says otherwise.
const LIMIT: usize = 4096;

/// `pc1;e=<last offset of the cut, or nothing>;n=<note>`.
pub(super) fn encode(end: Option<i64>, note: &str) -> Result<String> {
    let end = end.map(|end| end.to_string()).unwrap_or_default();
    let packed = zstd::bulk::compress(note.as_bytes(), 9).map_err(|error| Error::io("Cannot pack a note", error))?;
    let text = format!("{MARK};e={end};n={}", STANDARD_NO_PAD.encode(packed));
    if text.len() > LIMIT {
        return Err(Error::new(
            Kind::Capacity,
            format!("The columns need {} bytes beside the offset, a broker keeps {LIMIT}", text.len()),
        )
        .hint("The messages have too many different fields for one table; split the topic, or nest the fields."));
    }
    Ok(text)
}

/// `(end, note)`; both empty where nothing of ours is written.
///
/// # Errors
/// When something of ours is there and cannot be read.
pub(super) fn decode(text: &str) -> Result<(Option<i64>, String)> {
    let Some(rest) = text.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(";e=")) else {
        return Ok((None, String::new()));
    };
    let unreadable =
        || Error::new(Kind::DataLoss, format!("Cannot read what is written beside the committed offset: {text:?}"));
    let (end, note) = rest.split_once(";n=").ok_or_else(unreadable)?;
    let end = if end.is_empty() { None } else { Some(end.parse().map_err(|_| unreadable())?) };
    let packed = STANDARD_NO_PAD.decode(note).map_err(|_| unreadable())?;
    let note = zstd::bulk::decompress(&packed, 1 << 20).map_err(|_| unreadable())?;
    Ok((end, String::from_utf8(note).map_err(|_| unreadable())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_note_reads_back(end in prop::option::of(0..i64::MAX), note in ".{0,200}") {
            prop_assert_eq!(decode(&encode(end, &note).unwrap()).unwrap(), (end, note));
        }
    }

    #[test]
    fn notes_of_others_are_no_cut() {
        assert_eq!(decode("").unwrap(), (None, String::new()));
        assert_eq!(decode("some other program").unwrap(), (None, String::new()));
        assert!(decode("pc1;e=x;n=").is_err());
    }
}
