//! One JSON object to its fields, without a tree in between.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value of a field. Numbers and nested values keep their text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An array or an object.
    Nested(&'a str),
}

/// Calls `visit` for each field of the object in order.
///
/// # Errors
/// Why the bytes are not one JSON object, fit for a dead letter.
pub fn object<'a>(bytes: &'a [u8], visit: impl FnMut(Cow<'a, str>, Value<'a>)) -> Result<(), String> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte != b'{') && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        return Err("The value is JSON, but not an object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    (&mut deserializer)
        .deserialize_map(Fields(visit))
        .and_then(|()| deserializer.end())
        .map_err(|error| format!("The value is not JSON: {error}"))
}

/// The same for the message that comes a million times: an object of strings, nothing escaped, whose fields are
/// those that `names` gives (quoted, in this order; some may be left out). False when it is any other: then `visit`
/// may have been called for its beginning, and [`object`] must be asked.
pub fn known_object<'a, 'n>(
    bytes: &'a [u8],
    names: impl Iterator<Item = &'n [u8]>,
    mut visit: impl FnMut(usize, &'a str),
) -> bool {
    // Nothing below a blank: neither line breaks between the fields nor what a string may not hold.
    if bytes.iter().fold(0, |found, byte| found | u8::from(*byte < b' ')) != 0 {
        return false;
    }
    let Some(mut rest) = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix('{')) else { return false };
    for (at, name) in names.enumerate() {
        let Some(tail) = rest.as_bytes().strip_prefix(name) else { continue };
        let Some(tail) = tail.strip_prefix(b":") else { return false };
        let Some(tail) = tail.strip_prefix(b" ").unwrap_or(tail).strip_prefix(b"\"") else { return false };
        let start = rest.len() - tail.len();
        let Some(end) = memchr::memchr2(b'"', b'\\', tail).filter(|end| tail[*end] == b'"') else { return false };
        visit(at, &rest[start..start + end]);
        rest = &rest[start + end + 1..];
        match rest.as_bytes() {
            [b',', b' ', ..] => rest = &rest[2..],
            [b',', ..] => rest = &rest[1..],
            [b'}'] => return true,
            _ => return false,
        }
    }
    false
}

struct Fields<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, Value<'de>)> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key_seed(Text)? {
            let raw: &'de RawValue = map.next_value()?;
            let value = value(raw.get()).map_err(serde::de::Error::custom)?;
            (self.0)(name, value);
        }
        Ok(())
    }
}

fn value(raw: &str) -> Result<Value<'_>, serde_json::Error> {
    Ok(match raw.as_bytes()[0] {
        b'"' if memchr::memchr(b'\\', raw.as_bytes()).is_none() => Value::Text(Cow::Borrowed(&raw[1..raw.len() - 1])),
        b'"' => Value::Text(Cow::Owned(serde_json::from_str(raw)?)),
        b'n' => Value::Null,
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'{' | b'[' => Value::Nested(raw),
        _ => Value::Number(raw),
    })
}

/// Text, borrowed where nothing is escaped.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Appends `text` as a JSON string, quotes included.
///
/// With `ascii`, letters beyond ASCII become `\uXXXX` as Python's `json.dumps` writes them.
pub fn quote_into(out: &mut Vec<u8>, text: &str, ascii: bool) {
    out.push(b'"');
    escape_into(out, text, ascii);
    out.push(b'"');
}

/// Appends `text` escaped for the inside of a JSON string.
pub fn escape_into(out: &mut Vec<u8>, text: &str, ascii: bool) {
    if ascii {
        return escape_as_ascii(out, text);
    }
    let mut rest = text.as_bytes();
    loop {
        let (clean, special) = rest.split_at(clean(rest));
        out.extend_from_slice(clean);
        let Some((first, after)) = special.split_first() else { return };
        escape_letter(out, char::from(*first));
        rest = after;
    }
}

fn escape_as_ascii(out: &mut Vec<u8>, text: &str) {
    let mut clean = 0;
    for (at, letter) in text.char_indices() {
        if !(' '..='~').contains(&letter) || matches!(letter, '"' | '\\') {
            out.extend_from_slice(&text.as_bytes()[clean..at]);
            clean = at + letter.len_utf8();
            escape_letter(out, letter);
        }
    }
    out.extend_from_slice(&text.as_bytes()[clean..]);
}

fn escape_letter(out: &mut Vec<u8>, letter: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match letter {
        '"' | '\\' => letter as u8,
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        _ => {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let [a, b, c, d] = [12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift & 15)]);
                out.extend_from_slice(&[b'\\', b'u', a, b, c, d]);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes stand before the first that a JSON string must escape.
fn clean(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let (quote, slash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
        // The top bit of a byte that is below a blank, or is one of the two; bytes above the first may be marked too.
        let marked = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash);
        if marked & (ONES * 0x80) != 0 {
            return at * 8 + (marked & (ONES * 0x80)).trailing_zeros() as usize / 8;
        }
    }
    let special = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
    bytes.len() - rest.len() + special.unwrap_or(rest.len())
}

/// True when the bytes are ASCII that a JSON string holds unescaped.
#[must_use]
pub fn is_plain(bytes: &[u8]) -> bool {
    // No early exit: the compiler makes vector code of it.
    bytes.iter().fold(0u8, |found, byte| {
        found | u8::from(*byte < 0x20) | u8::from(*byte >= 0x7f) | u8::from(*byte == b'"') | u8::from(*byte == b'\\')
    }) == 0
}
