//! A value as JSON.

use super::decimal::decimal;
use super::elements::{Elements, Raw};
use super::problem::{Outcome, Problem};
use super::times::Clock;
use super::values::utf8;
use super::{kind, numbers};
use crate::decode::json::quote_into;

/// How the types that JSON has not are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Extended JSON v2, which keeps every type.
    Canonical,
    /// Extended JSON v2 with numbers and dates that people can read.
    Relaxed,
    /// JSON without types of `MongoDB`.
    Plain,
}

/// So deep may values nest; `MongoDB` itself stores 180 levels.
const DEPTH: u16 = 1000;

/// Writes values at the end of `out`.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    form: Form,
    /// As Python's `json.dumps`: ASCII, with blanks between.
    is_python: bool,
    depth: u16,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, form: Form) -> Self {
        Self { out, form, is_python: false, depth: 0 }
    }

    /// The plain form as Python's `json.dumps` writes it.
    pub(super) fn python(out: &'o mut Vec<u8>) -> Self {
        Self { out, form: Form::Plain, is_python: true, depth: 0 }
    }

    pub(super) fn object(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.enter()?;
        let mut elements = Elements::of(bytes)?;
        let mut is_first = true;
        self.put(b"{");
        while let Some((name, raw)) = elements.next()? {
            self.comma(&mut is_first);
            self.name(name)?;
            self.put(if self.is_python { b": " } else { b":" });
            self.value(raw).map_err(|problem| problem.within(name))?;
        }
        self.put(b"}");
        self.depth -= 1;
        Ok(())
    }

    #[inline]
    fn name(&mut self, name: &[u8]) -> Outcome<()> {
        if name.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
            self.put(b"\"");
            self.put(name);
            self.put(b"\"");
        } else if let Ok(name) = utf8(name) {
            self.quote(name);
        } else {
            return Err(Problem::new("The name is not UTF-8").within(name));
        }
        Ok(())
    }

    fn array(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.enter()?;
        let mut elements = Elements::of(bytes)?;
        let mut is_first = true;
        self.put(b"[");
        while let Some((name, raw)) = elements.next()? {
            self.comma(&mut is_first);
            self.value(raw).map_err(|problem| problem.within(name))?;
        }
        self.put(b"]");
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn value(&mut self, raw: Raw<'_>) -> Outcome<()> {
        match raw.kind {
            kind::TEXT => self.quote(raw.text()?),
            kind::OBJECT => self.object(raw.bytes)?,
            kind::ARRAY => self.array(raw.bytes)?,
            kind::BOOL => self.put(if raw.bool()? { b"true" } else { b"false" }),
            kind::NULL => self.put(b"null"),
            kind::INT | kind::LONG | kind::DOUBLE => self.number(raw)?,
            _ if self.form == Form::Plain => self.plain(raw)?,
            kind::CODE_WITH_SCOPE => {
                let (code, scope) = raw.code_with_scope()?;
                self.put(b"{\"$code\":");
                self.quote(code);
                self.put(b",\"$scope\":");
                self.object(scope).map_err(|problem| problem.within(b"$scope"))?;
                self.put(b"}");
            }
            _ => self.extended(raw)?,
        }
        Ok(())
    }

    fn number(&mut self, raw: Raw<'_>) -> Outcome<()> {
        let is_canonical = self.form == Form::Canonical;
        match raw.kind {
            kind::INT if is_canonical => {
                let number = raw.int()?;
                self.named(b"{\"$numberInt\":\"", |out| numbers::integer(number, out));
            }
            kind::INT => numbers::integer(raw.int()?, self.out),
            kind::LONG if is_canonical => {
                let number = raw.long()?;
                self.named(b"{\"$numberLong\":\"", |out| numbers::integer(number, out));
            }
            kind::LONG => numbers::integer(raw.long()?, self.out),
            _ => {
                let number = raw.double()?;
                match numbers::unbounded(number) {
                    Some(name) if self.form == Form::Plain => self.quote(name),
                    Some(name) => self.named(b"{\"$numberDouble\":\"", |out| out.extend_from_slice(name.as_bytes())),
                    None if is_canonical => self.named(b"{\"$numberDouble\":\"", |out| numbers::double(number, out)),
                    None => numbers::double(number, self.out),
                }
            }
        }
        Ok(())
    }

    /// Types that JSON has not, in the plain form.
    fn plain(&mut self, raw: Raw<'_>) -> Outcome<()> {
        match raw.kind {
            kind::OBJECT_ID => {
                let id: [u8; 12] = raw.fixed()?;
                self.within(b"\"", |out| numbers::hex(&id, out), b"\"");
            }
            kind::DATE => {
                let millis = raw.long()?;
                match Clock::of_millis(millis) {
                    Some(clock) => self.within(b"\"", |out| clock.iso(out), b"\""),
                    None => numbers::integer(millis, self.out),
                }
            }
            kind::TIMESTAMP => {
                let (seconds, _) = raw.timestamp()?;
                if let Some(clock) = Clock::of_millis(i64::from(seconds) * 1000) {
                    self.within(b"\"", |out| clock.short_iso(out), b"\"");
                }
            }
            kind::DECIMAL => {
                let number = raw.fixed()?;
                self.within(b"\"", |out| decimal(number, out), b"\"");
            }
            kind::BINARY => {
                let (_, bytes) = raw.binary()?;
                let uuid = raw.uuid();
                let write = |out: &mut Vec<u8>| match uuid {
                    Some(uuid) => numbers::uuid(uuid, out),
                    None => numbers::base64(bytes, out),
                };
                self.within(b"\"", write, b"\"");
            }
            kind::REGEX => {
                let (pattern, options) = raw.regex()?;
                self.quote(&format!("/{pattern}/{options}"));
            }
            kind::DB_POINTER => {
                let (_, id) = raw.db_pointer()?;
                self.within(b"\"", |out| numbers::hex(&id, out), b"\"");
            }
            kind::CODE | kind::SYMBOL => self.quote(raw.text()?),
            kind::CODE_WITH_SCOPE => self.quote(raw.code_with_scope()?.0),
            kind::UNDEFINED => self.put(b"null"),
            kind::MIN_KEY => self.put(b"\"MinKey\""),
            kind::MAX_KEY => self.put(b"\"MaxKey\""),
            kind => return Err(unknown(kind)),
        }
        Ok(())
    }

    /// The same in both forms of extended JSON, but for dates.
    /// Source: <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>.
    fn extended(&mut self, raw: Raw<'_>) -> Outcome<()> {
        match raw.kind {
            kind::OBJECT_ID => {
                let id: [u8; 12] = raw.fixed()?;
                self.named(b"{\"$oid\":\"", |out| numbers::hex(&id, out));
            }
            kind::DATE => {
                let millis = raw.long()?;
                let clock = if self.form == Form::Relaxed && millis >= 0 { Clock::of_millis(millis) } else { None };
                match clock {
                    Some(clock) => self.named(b"{\"$date\":\"", |out| clock.short_iso(out)),
                    None => {
                        self.within(b"{\"$date\":{\"$numberLong\":\"", |out| numbers::integer(millis, out), b"\"}}");
                    }
                }
            }
            kind::TIMESTAMP => {
                let (seconds, number) = raw.timestamp()?;
                self.within(b"{\"$timestamp\":{\"t\":", |out| numbers::integer(seconds, out), b"");
                self.within(b",\"i\":", |out| numbers::integer(number, out), b"}}");
            }
            kind::DECIMAL => {
                let number = raw.fixed()?;
                self.named(b"{\"$numberDecimal\":\"", |out| decimal(number, out));
            }
            kind::BINARY => {
                let (subtype, bytes) = raw.binary()?;
                self.within(b"{\"$binary\":{\"base64\":\"", |out| numbers::base64(bytes, out), b"\"");
                self.within(b",\"subType\":\"", |out| numbers::hex(&[subtype], out), b"\"}}");
            }
            kind::REGEX => {
                let (pattern, options) = raw.regex()?;
                self.put(b"{\"$regularExpression\":{\"pattern\":");
                self.quote(pattern);
                self.put(b",\"options\":");
                self.quote(&options);
                self.put(b"}}");
            }
            kind::DB_POINTER => {
                let (name, id) = raw.db_pointer()?;
                self.put(b"{\"$dbPointer\":{\"$ref\":");
                self.quote(name);
                self.within(b",\"$id\":{\"$oid\":\"", |out| numbers::hex(&id, out), b"\"}}}");
            }
            kind::CODE => self.tagged(b"{\"$code\":", raw.text()?),
            kind::SYMBOL => self.tagged(b"{\"$symbol\":", raw.text()?),
            kind::UNDEFINED => self.put(b"{\"$undefined\":true}"),
            kind::MIN_KEY => self.put(b"{\"$minKey\":1}"),
            kind::MAX_KEY => self.put(b"{\"$maxKey\":1}"),
            kind => return Err(unknown(kind)),
        }
        Ok(())
    }

    fn enter(&mut self) -> Outcome<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Problem::new(format!("It nests deeper than {DEPTH} levels")));
        }
        Ok(())
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn quote(&mut self, text: &str) {
        quote_into(self.out, text, self.is_python);
    }

    fn comma(&mut self, is_first: &mut bool) {
        if *is_first {
            *is_first = false;
        } else {
            self.put(if self.is_python { b", " } else { b"," });
        }
    }

    /// `before` opens an object and a string, which hold nothing else.
    fn named(&mut self, before: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.within(before, write, b"\"}");
    }

    fn tagged(&mut self, before: &[u8], text: &str) {
        self.put(before);
        self.quote(text);
        self.put(b"}");
    }

    fn within(&mut self, before: &[u8], write: impl FnOnce(&mut Vec<u8>), after: &[u8]) {
        self.put(before);
        write(self.out);
        self.put(after);
    }
}

fn unknown(kind: u8) -> Problem {
    Problem::new(format!("There is no type 0x{kind:02x}"))
}
