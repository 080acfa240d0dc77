//! The encodings of text files, among those that keep ASCII as it is.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    /// ISO-8859-1 proper: every byte is the code point of the same number.
    Latin1,
    Other(&'static Encoding),
}

impl Charset {
    /// Reads a setting: `auto` is `None`.
    ///
    /// # Errors
    /// Names the setting when nothing is known by that label.
    pub fn parse(label: &str) -> Result<Option<Self>> {
        let plain = label.trim().to_ascii_lowercase().replace('_', "-");
        match plain.as_str() {
            "auto" => return Ok(None),
            "utf-8" | "utf8" | "utf-8-sig" => return Ok(Some(Self::Utf8)),
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "l1" => return Ok(Some(Self::Latin1)),
            _ => {}
        }
        let label = plain.strip_prefix("cp125").map_or_else(|| plain.clone(), |page| format!("windows-125{page}"));
        match Encoding::for_label(label.as_bytes()) {
            Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE || !encoding.is_ascii_compatible() => {
                Err(Error::settings(format!("Encoding {label} cannot be read row by row"))
                    .hint("Convert the file to UTF-8 first, e.g. with iconv."))
            }
            Some(encoding) if encoding == UTF_8 => Ok(Some(Self::Utf8)),
            Some(encoding) => Ok(Some(Self::Other(encoding))),
            None => Err(Error::settings(format!("Unknown encoding {label:?}"))
                .hint("Use auto, utf-8, latin-1, windows-1252, gbk, shift_jis or another WHATWG name.")),
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Latin1 => "iso-8859-1",
            Self::Other(encoding) => encoding.name(),
        }
    }

    /// The text of these bytes, or `None` when they are not valid in this encoding.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Latin1 => Some(encoding_rs::mem::decode_latin1(bytes)),
            Self::Other(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }
}

/// Tells UTF-8 from ISO-8859-1 by the first letters beyond ASCII that come.
///
/// Text in ISO-8859-1 is next to never valid UTF-8; a UTF-8 file with a few broken bytes still has more sound
/// sequences than broken ones.
#[derive(Debug, Default)]
pub struct Guess {
    /// A sequence that the end of the last piece cut in two.
    cut: Vec<u8>,
}

impl Guess {
    /// What the next piece of the file tells; `None` while it has been ASCII only.
    pub fn see(&mut self, piece: &[u8], is_last: bool) -> Option<Charset> {
        if self.cut.is_empty() && piece.is_ascii() {
            return None;
        }
        let mut bytes = std::mem::take(&mut self.cut);
        bytes.extend_from_slice(piece);
        let (mut sound, mut broken, mut cut) = (0usize, 0usize, 0usize);
        for chunk in bytes.utf8_chunks() {
            sound += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
            broken += chunk.invalid().len();
            cut = chunk.invalid().len();
        }
        let is_cut = !is_last && bytes.utf8_chunks().last().is_some_and(|last| is_beginning(last.invalid()));
        if is_cut {
            broken -= cut;
        }
        match (sound, broken) {
            (0, 0) => {
                self.cut = bytes[bytes.len() - cut..].to_vec();
                None
            }
            (sound, broken) if sound > broken => Some(Charset::Utf8),
            _ => Some(Charset::Latin1),
        }
    }
}

/// Whether more bytes could make it a sound sequence.
fn is_beginning(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::{Charset, Guess};

    #[test]
    fn a_guess_waits_for_the_first_letter_that_tells() {
        let guess = |pieces: &[&[u8]]| {
            let mut guess = Guess::default();
            let last = pieces.len() - 1;
            pieces.iter().enumerate().find_map(|(at, piece)| guess.see(piece, at == last))
        };
        assert_eq!(guess(&[b"plain ASCII, no clue"]), None);
        assert_eq!(guess(&["Bogot\u{e1}".as_bytes()]), Some(Charset::Utf8));
        assert_eq!(guess(&[b"Bogot\xe1, S\xe3o Paulo"]), Some(Charset::Latin1));
        assert_eq!(guess(&[b"cut in two: \xc3", b"\xa1"]), Some(Charset::Utf8));
        assert_eq!(guess(&[b"cut in two: \xe2", b"\x82", b"\xac"]), Some(Charset::Utf8));
        assert_eq!(guess(&[b"ends in \xe9"]), Some(Charset::Latin1));
    }

    #[test]
    fn latin_1_is_not_windows_1252() {
        let latin = Charset::parse("ISO-8859-1").unwrap().unwrap();
        assert_eq!(latin.decode(b"\x80\xe1").unwrap(), "\u{80}\u{e1}");
        let windows = Charset::parse("cp1252").unwrap().unwrap();
        assert_eq!(windows.decode(b"\x80").unwrap(), "\u{20ac}");
        assert!(Charset::parse("utf-16").is_err());
        assert!(Charset::parse("klingon").is_err());
    }
}
