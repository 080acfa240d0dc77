//! The elements of a document, taken from its bytes one after the other. Lengths are checked before they are used.

use super::kind;
use super::problem::{Outcome, Problem};

/// A value as it stands in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    /// One of [`kind`].
    pub kind: u8,
    pub bytes: &'a [u8],
}

impl Raw<'_> {
    #[must_use]
    pub fn is_null(self) -> bool {
        matches!(self.kind, kind::NULL | kind::UNDEFINED)
    }
}

/// What is left of a document.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(super) fn of(document: &'a [u8]) -> Outcome<Self> {
        match document {
            [_, _, _, _, rest @ .., 0] if length(document) == Some(document.len()) => Ok(Self { rest }),
            _ => Err(Problem::new("The document is broken: its length is wrong")),
        }
    }

    /// The next name and value; names are bytes that nobody has looked at.
    #[inline]
    pub(super) fn next(&mut self) -> Outcome<Option<(&'a [u8], Raw<'a>)>> {
        let Some((&kind, rest)) = self.rest.split_first() else { return Ok(None) };
        let Some((name, rest)) = cstring(rest) else {
            return Err(Problem::new("The document is broken: a name has no end"));
        };
        match size(kind, rest).and_then(|size| rest.split_at_checked(size)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(Some((name, Raw { kind, bytes })))
            }
            None => Err(misfit(kind).within(name)),
        }
    }
}

#[cold]
fn misfit(kind: u8) -> Problem {
    Problem::new(match kind::name(kind) {
        "of an unknown type" => format!("The document is broken: there is no type 0x{kind:02x}"),
        name => format!("The document is broken: {name} is longer than what is left"),
    })
}

/// So many bytes a value of that type has that begins here.
#[inline]
fn size(kind: u8, rest: &[u8]) -> Option<usize> {
    Some(match kind {
        kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::LONG => 8,
        kind::TEXT | kind::CODE | kind::SYMBOL => length(rest)? + 4,
        kind::OBJECT | kind::ARRAY | kind::CODE_WITH_SCOPE => length(rest)?,
        kind::INT => 4,
        kind::BOOL => 1,
        kind::OBJECT_ID => 12,
        kind::UNDEFINED | kind::NULL | kind::MAX_KEY | kind::MIN_KEY => 0,
        kind::BINARY => length(rest)? + 5,
        kind::DECIMAL => 16,
        kind::DB_POINTER => length(rest)? + 4 + 12,
        kind::REGEX => {
            let (_, options) = cstring(rest)?;
            let (_, after) = cstring(options)?;
            rest.len() - after.len()
        }
        _ => return None,
    })
}

#[inline]
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*bytes.first_chunk()?)).ok()
}

/// Up to the next zero byte, and what follows it.
#[inline]
pub(super) fn cstring(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The bytes of a text that has its length before it.
#[inline]
pub(super) fn text(bytes: &[u8]) -> Outcome<&[u8]> {
    match bytes {
        [_, _, _, _, text @ .., 0] if length(bytes).is_some_and(|length| length + 4 == bytes.len()) => Ok(text),
        _ => Err(Problem::new("The document is broken: the length of a text is wrong")),
    }
}
