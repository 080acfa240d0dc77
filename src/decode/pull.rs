//! JSON read field by field, with the path to whatever does not fit.
//!
//! Nothing is built: strings without escapes are borrowed, numbers keep their text. Every byte is checked, also of
//! what is skipped.

use std::borrow::Cow;

use super::json::Value;

/// What does not fit, and where: `$.orderLines.orderLine[0].sku`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// From the value that is being read down to the one that does not fit.
    steps: String,
    pub reason: String,
}

/// Boxed: what succeeds carries no room for what fails.
pub type Outcome<T> = Result<T, Box<Bad>>;

impl Bad {
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Box<Self> {
        Box::new(Self { steps: String::new(), reason: reason.into() })
    }

    /// The same, seen from the object or array around it.
    #[must_use]
    pub fn within(mut self: Box<Self>, step: &str) -> Box<Self> {
        self.steps.insert_str(0, step);
        self
    }

    /// The `JSONPath` from the whole document.
    #[must_use]
    pub fn path(&self) -> String {
        format!("${}", self.steps)
    }
}

/// The name of a field.
#[derive(Debug)]
pub enum Key<'a> {
    Likely,
    Named(Cow<'a, str>),
}

/// So deep may values nest, as in `serde_json`.
const DEPTH: u8 = 127;

/// A place in a document.
#[derive(Debug, Clone)]
pub struct Pull<'a> {
    text: &'a str,
    at: usize,
    /// There is no control character in the whole document, so none in a string.
    is_plain: bool,
    depth: u8,
}

impl<'a> Pull<'a> {
    /// # Errors
    /// When the bytes are not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Outcome<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Bad::new(format!("The document is not UTF-8 after byte {}", error.valid_up_to())))?;
        let is_plain = bytes.iter().fold(0, |found, byte| found | u8::from(*byte < b' ')) == 0;
        Ok(Self { text, at: 0, is_plain, depth: 0 })
    }

    /// The text between two places.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// The byte that the next value begins with, and moves there.
    ///
    /// # Errors
    /// At the end.
    #[inline]
    pub fn peek(&mut self) -> Outcome<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.broken("it ends too early")),
            }
        }
    }

    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes back to a place where it was before.
    pub fn rewind(&mut self, position: usize) {
        self.at = position;
        self.depth = 0;
    }

    /// # Errors
    /// When something follows.
    pub fn end(&mut self) -> Outcome<()> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(self.broken("something follows its end")),
        }
    }

    /// Calls `field` for each field of an object, in order; it must read or skip the value.
    ///
    /// # Errors
    /// When there is no object, or `field` fails.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Outcome<()>) -> Outcome<()> {
        let mut is_first = true;
        self.begin_object()?;
        while let Some(key) = self.next_key(&mut is_first, "")? {
            let Key::Named(key) = key else { continue };
            field(self, &key).map_err(|bad| bad.within(&format!(".{key}")))?;
        }
        Ok(())
    }

    /// Enters an object, whose fields `next_key` gives.
    ///
    /// # Errors
    /// When there is no object.
    #[inline]
    pub fn begin_object(&mut self) -> Outcome<()> {
        if self.peek()? != b'{' {
            return Err(self.other_than("an object"));
        }
        self.enter()
    }

    /// The name of the next field, or `None` after the last; its value must be read or skipped before the next call.
    /// The name that is likely is compared first.
    ///
    /// # Errors
    /// When it is not JSON.
    #[inline]
    pub fn next_key(&mut self, is_first: &mut bool, likely: &str) -> Outcome<Option<Key<'a>>> {
        match (self.peek()?, *is_first) {
            (b'}', _) => {
                self.leave();
                return Ok(None);
            }
            (b',', false) => {
                self.at += 1;
                if self.peek()? != b'"' {
                    return Err(self.broken("a name is due"));
                }
            }
            (b'"', true) => *is_first = false,
            (_, true) => return Err(self.broken("a name is due")),
            (_, false) => return Err(self.broken("a comma is due")),
        }
        let rest = &self.text.as_bytes()[self.at + 1..];
        if rest.len() > likely.len() + 1
            && !likely.is_empty()
            && rest.starts_with(likely.as_bytes())
            && rest[likely.len()] == b'"'
            && rest[likely.len() + 1] == b':'
        {
            self.at += likely.len() + 3;
            return Ok(Some(Key::Likely));
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(self.broken("a colon is due"));
        }
        self.at += 1;
        Ok(Some(Key::Named(key)))
    }

    /// Calls `item` for each item of an array, with its number.
    ///
    /// # Errors
    /// When there is no array, or `item` fails.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self, usize) -> Outcome<()>) -> Outcome<()> {
        if self.peek()? != b'[' {
            return Err(self.other_than("an array"));
        }
        self.enter()?;
        if self.peek()? == b']' {
            self.leave();
            return Ok(());
        }
        for number in 0.. {
            item(self, number).map_err(|bad| bad.within(&format!("[{number}]")))?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.leave();
                    return Ok(());
                }
                _ => return Err(self.broken("a comma is due")),
            }
        }
        Ok(())
    }

    /// One value; an object or an array as its text.
    ///
    /// # Errors
    /// When it is not JSON.
    #[inline]
    pub fn value(&mut self) -> Outcome<Value<'a>> {
        match self.peek()? {
            b'"' => self.string().map(Value::Text),
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            b'{' | b'[' => self.skip().map(Value::Nested),
            _ => Err(self.broken("a value is due")),
        }
    }

    /// Passes over one value and gives its text.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn skip(&mut self) -> Outcome<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'{' => self.object(|pull, _| pull.skip().map(drop))?,
            b'[' => self.array(|pull, _| pull.skip().map(drop))?,
            _ => drop(self.value()?),
        }
        Ok(self.since(start))
    }

    /// Takes a `null`, if it is one.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn take_null(&mut self) -> Outcome<bool> {
        if self.peek()? != b'n' {
            return Ok(false);
        }
        self.word("null", true)
    }

    fn enter(&mut self) -> Outcome<()> {
        if self.depth == DEPTH {
            return Err(self.broken("it nests too deep"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
    }

    fn word<T>(&mut self, word: &str, meaning: T) -> Outcome<T> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.broken("a value is due"));
        }
        self.at += word.len();
        Ok(meaning)
    }

    /// A string that begins here.
    ///
    /// # Errors
    /// When it has no end, or holds what a string may not.
    #[inline]
    pub fn string(&mut self) -> Outcome<Cow<'a, str>> {
        let start = self.at + 1;
        let rest = &self.text.as_bytes()[start..];
        match quote_or_escape(rest) {
            Some(length) if rest[length] == b'"' => {
                let text = &self.text[start..start + length];
                if !self.is_plain && text.bytes().any(|byte| byte < b' ') {
                    return Err(self.broken("a string holds a control character"));
                }
                self.at = start + length + 1;
                Ok(Cow::Borrowed(text))
            }
            Some(length) => self.escaped(length),
            None => Err(self.broken("a string has no end")),
        }
    }

    fn escaped(&mut self, first: usize) -> Outcome<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1 + first;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(self.broken("a string has no end")),
            }
        }
        let text = serde_json::from_str(&self.text[self.at..=end])
            .map_err(|error| self.broken(&format!("a string is wrong ({error})")))?;
        self.at = end + 1;
        Ok(Cow::Owned(text))
    }

    #[inline]
    fn number(&mut self) -> Outcome<&'a str> {
        let bytes = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let sign = usize::from(bytes[0] == b'-');
        let whole = digits(sign);
        let mut length = sign + whole;
        let mut is_well = whole == 1 || (whole > 1 && bytes[sign] != b'0');
        if bytes.get(length) == Some(&b'.') {
            let fraction = digits(length + 1);
            is_well &= fraction > 0;
            length += 1 + fraction;
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            let power = digits(length + 1 + signed);
            is_well &= power > 0;
            length += 1 + signed + power;
        }
        if !is_well {
            return Err(self.broken("a number is wrong"));
        }
        let start = self.at;
        self.at += length;
        Ok(self.since(start))
    }

    #[expect(clippy::unnecessary_box_returns, reason = "what an `Outcome` holds")]
    fn broken(&self, what: &str) -> Box<Bad> {
        Bad::new(format!("The document is not JSON: {what}, at byte {}", self.at))
    }

    #[expect(clippy::unnecessary_box_returns, reason = "what an `Outcome` holds")]
    fn other_than(&mut self, due: &str) -> Box<Bad> {
        let found = match self.value() {
            Ok(Value::Null) => "null",
            Ok(Value::Bool(_)) => "a boolean",
            Ok(Value::Number(_)) => "a number",
            Ok(Value::Text(_)) => "a string",
            Ok(Value::Nested(text)) if text.starts_with('[') => "an array",
            Ok(Value::Nested(_)) => "an object",
            Err(bad) => return bad,
        };
        Bad::new(format!("It is {found} where {due} is due"))
    }
}

/// Where the first quote or backslash is. Most strings are short, so the first bytes are looked at by eights.
#[inline]
fn quote_or_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    for (number, word) in bytes.chunks_exact(8).take(4).enumerate() {
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let skipped = bytes.len().min(32) / 8 * 8;
    memchr::memchr2(b'"', b'\\', &bytes[skipped..]).map(|found| skipped + found)
}
