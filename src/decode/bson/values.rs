//! What the bytes of a value say.

use std::borrow::Cow;

use super::elements::{Raw, cstring, length, text};
use super::kind;
use super::problem::{Outcome, Problem};

const OLD_BINARY: u8 = 2;
pub(super) const UUID: u8 = 4;

impl<'a> Raw<'a> {
    pub(super) fn fixed<const N: usize>(self) -> Outcome<[u8; N]> {
        self.bytes.try_into().map_err(|_| Problem::new("The document is broken: a value has not its length"))
    }

    pub(super) fn int(self) -> Outcome<i32> {
        self.fixed().map(i32::from_le_bytes)
    }

    /// Of a long and of a date.
    pub(super) fn long(self) -> Outcome<i64> {
        self.fixed().map(i64::from_le_bytes)
    }

    pub(super) fn double(self) -> Outcome<f64> {
        self.fixed().map(f64::from_le_bytes)
    }

    pub(super) fn bool(self) -> Outcome<bool> {
        match self.bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Problem::new("The document is broken: a boolean is neither 0 nor 1")),
        }
    }

    /// Of a text, a symbol and code without a scope.
    pub(super) fn text(self) -> Outcome<&'a str> {
        text(self.bytes).and_then(utf8)
    }

    /// Seconds since 1970, and the number of the operation within that second.
    pub(super) fn timestamp(self) -> Outcome<(u32, u32)> {
        let [i0, i1, i2, i3, t0, t1, t2, t3] = self.fixed()?;
        Ok((u32::from_le_bytes([t0, t1, t2, t3]), u32::from_le_bytes([i0, i1, i2, i3])))
    }

    /// The subtype and the bytes.
    pub(super) fn binary(self) -> Outcome<(u8, &'a [u8])> {
        let broken = || Problem::new("The document is broken: the length of a binary is wrong");
        let [_, _, _, _, subtype, bytes @ ..] = self.bytes else { return Err(broken()) };
        if length(self.bytes) != Some(bytes.len()) {
            return Err(broken());
        }
        match (*subtype, bytes) {
            // It has its length twice.
            (OLD_BINARY, [_, _, _, _, inner @ ..]) if length(bytes) == Some(inner.len()) => Ok((OLD_BINARY, inner)),
            (OLD_BINARY, _) => Err(broken()),
            (subtype, bytes) => Ok((subtype, bytes)),
        }
    }

    pub(super) fn uuid(self) -> Option<[u8; 16]> {
        match self.binary() {
            Ok((UUID, bytes)) if self.kind == kind::BINARY => bytes.try_into().ok(),
            _ => None,
        }
    }

    /// The pattern and the options, these in the order of the alphabet.
    pub(super) fn regex(self) -> Outcome<(&'a str, Cow<'a, str>)> {
        let broken = || Problem::new("The document is broken: a regular expression has no end");
        let (pattern, rest) = cstring(self.bytes).ok_or_else(broken)?;
        let (options, rest) = cstring(rest).ok_or_else(broken)?;
        if !rest.is_empty() {
            return Err(broken());
        }
        let (pattern, options) = (utf8(pattern)?, utf8(options)?);
        if options.chars().is_sorted() {
            return Ok((pattern, Cow::Borrowed(options)));
        }
        let mut sorted: Vec<char> = options.chars().collect();
        sorted.sort_unstable();
        Ok((pattern, sorted.into_iter().collect()))
    }

    /// The collection's name and the id.
    pub(super) fn db_pointer(self) -> Outcome<(&'a str, [u8; 12])> {
        let (name, id) = self
            .bytes
            .split_last_chunk()
            .ok_or_else(|| Problem::new("The document is broken: a pointer is too short"))?;
        Ok((text(name).and_then(utf8)?, *id))
    }

    /// The code and the document that is its scope.
    pub(super) fn code_with_scope(self) -> Outcome<(&'a str, &'a [u8])> {
        let parts = self.bytes.get(4..).and_then(|rest| rest.split_at_checked(length(rest)? + 4));
        match parts {
            Some((code, scope)) if length(self.bytes) == Some(self.bytes.len()) => {
                Ok((text(code).and_then(utf8)?, scope))
            }
            _ => Err(Problem::new("The document is broken: the length of code with a scope is wrong")),
        }
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| Problem::new(format!("The text is not UTF-8 after byte {}", error.valid_up_to())))
}
