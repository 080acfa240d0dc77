//! Lists as Python writes them, or as JSON: strings, numbers, `None`, `True` and `False`, lists and tuples of these.
//!
//! Strict, and nothing is ever evaluated: what is accepted means what `ast.literal_eval` says of it; comments, other
//! bases, bytes, sets, dicts and operators are refused.

/// A value of Python's, as far as lists of plain values need it.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    None,
    Bool(bool),
    /// Its digits, as `str()` gives them.
    Int(String),
    Float(f64),
    Text(String),
    List(Vec<Self>),
}

/// Deeper lists are refused.
const DEEPEST: usize = 64;

/// Longer numbers are refused by Python, too.
const MOST_DIGITS: usize = 4300;

impl Literal {
    /// Reads text: as Python where it is Python, else as JSON.
    ///
    /// # Errors
    /// Says what is wrong and where, as Python sees it.
    pub fn read(text: &str) -> Result<Self, String> {
        let python = read_python(text);
        let Err(reason) = python else { return python };
        serde_json::from_str(text).ok().and_then(|value| of_json(value, 0)).ok_or(reason)
    }

    /// What `str()` makes of it; nothing of `None`.
    ///
    /// # Errors
    /// When it is a list.
    pub fn text(self) -> Result<Option<String>, String> {
        match self {
            Self::None => Ok(None),
            Self::Bool(is_so) => Ok(Some(if is_so { "True" } else { "False" }.to_owned())),
            Self::Int(digits) => Ok(Some(digits)),
            Self::Float(number) => Ok(Some(float_text(number))),
            Self::Text(text) => Ok(Some(text)),
            Self::List(_) => Err("is a list itself".to_owned()),
        }
    }
}

fn read_python(text: &str) -> Result<Literal, String> {
    let mut reader = Reader { text, at: 0 };
    // Python strips these, and no line breaks, before it looks.
    reader.skip(|sign| matches!(sign, ' ' | '\t'));
    let value = reader.value(0)?;
    reader.blanks();
    if reader.at < text.len() { Err(reader.wrong("nothing more")) } else { Ok(value) }
}

fn of_json(value: serde_json::Value, depth: usize) -> Option<Literal> {
    use serde_json::Value;
    Some(match value {
        Value::Null => Literal::None,
        Value::Bool(is_so) => Literal::Bool(is_so),
        Value::Number(number) if number.is_f64() => Literal::Float(number.as_f64()?),
        Value::Number(number) => Literal::Int(number.to_string()),
        Value::String(text) => Literal::Text(text),
        Value::Array(items) if depth < DEEPEST => {
            Literal::List(items.into_iter().map(|item| of_json(item, depth + 1)).collect::<Option<_>>()?)
        }
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// Python's `repr`: the fewest digits that come back as the same number, with an exponent below 1e-4 and from 1e16 on.
fn float_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if number == 0.0 || (-4..16).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let sign = self.peek()?;
        self.at += sign.len_utf8();
        Some(sign)
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_skipped) {
            self.take();
        }
    }

    fn blanks(&mut self) {
        self.skip(|sign| matches!(sign, ' ' | '\t' | '\n'));
    }

    fn wrong(&self, wanted: &str) -> String {
        let place = self.text[..self.at].chars().count() + 1;
        format!("is no list of plain values: {wanted} is expected at character {place}")
    }

    fn value(&mut self, depth: usize) -> Result<Literal, String> {
        match self.peek() {
            Some('[' | '(') if depth < DEEPEST => self.list(depth),
            Some('\'' | '"') => self.strings(depth),
            Some('0'..='9' | '.' | '+' | '-') => self.number(),
            Some(sign) if sign.is_ascii_alphabetic() => self.word(depth),
            _ => Err(self.wrong("a value")),
        }
    }

    fn word(&mut self, depth: usize) -> Result<Literal, String> {
        for (word, value) in [("None", Literal::None), ("True", Literal::Bool(true)), ("False", Literal::Bool(false))] {
            if self.rest().starts_with(word) && self.rest()[word.len()..].chars().next().is_none_or(is_delimiter) {
                self.at += word.len();
                return Ok(value);
            }
        }
        if self.at_string() { self.strings(depth) } else { Err(self.wrong("a value")) }
    }

    fn list(&mut self, depth: usize) -> Result<Literal, String> {
        let close = if self.take() == Some('[') { ']' } else { ')' };
        let mut items = Vec::new();
        let mut has_comma = false;
        loop {
            self.blanks();
            if self.peek() == Some(close) {
                self.take();
                // A value in brackets is that value.
                let is_bare = close == ')' && items.len() == 1 && !has_comma;
                return Ok(if is_bare { items.remove(0) } else { Literal::List(items) });
            }
            if !items.is_empty() && !has_comma {
                return Err(self.wrong("a comma"));
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            has_comma = self.peek() == Some(',');
            if has_comma {
                self.take();
            }
        }
    }

    fn number(&mut self) -> Result<Literal, String> {
        let mut is_negative = false;
        if let Some(sign @ ('+' | '-')) = self.peek() {
            is_negative = sign == '-';
            self.take();
            self.skip(|sign| matches!(sign, ' ' | '\t'));
        }
        let begin = self.at;
        self.skip(|sign| sign.is_ascii_digit());
        let digits = self.at - begin;
        let mut is_float = false;
        if self.peek() == Some('.') {
            is_float = true;
            self.take();
            self.skip(|sign| sign.is_ascii_digit());
            if self.at - begin == 1 {
                return Err(self.wrong("a digit"));
            }
        }
        if digits + usize::from(is_float) > 0 && matches!(self.peek(), Some('e' | 'E')) {
            is_float = true;
            self.take();
            if matches!(self.peek(), Some('+' | '-')) {
                self.take();
            }
            let exponent = self.at;
            self.skip(|sign| sign.is_ascii_digit());
            if self.at == exponent {
                return Err(self.wrong("a digit"));
            }
        }
        if self.at == begin || !self.peek().is_none_or(is_delimiter) {
            return Err(self.wrong("a number"));
        }
        let text = &self.text[begin..self.at];
        if is_float {
            let number: f64 = text.parse().map_err(|_| self.wrong("a number"))?;
            return Ok(Literal::Float(if is_negative { -number } else { number }));
        }
        let plain = text.trim_start_matches('0');
        if text.len() > MOST_DIGITS || (plain.len() < text.len() && !plain.is_empty()) {
            return Err(self.wrong("a number"));
        }
        Ok(Literal::Int(match plain {
            "" => "0".to_owned(),
            digits if is_negative => format!("-{digits}"),
            digits => digits.to_owned(),
        }))
    }

    fn at_string(&self) -> bool {
        let rest = self.rest().strip_prefix(['u', 'U']).unwrap_or(self.rest());
        rest.starts_with(['\'', '"'])
    }

    /// Strings side by side are one; in a list also on the next line.
    fn strings(&mut self, depth: usize) -> Result<Literal, String> {
        let mut text = String::new();
        while self.at_string() {
            self.skip(|sign| matches!(sign, 'u' | 'U'));
            self.string(&mut text)?;
            let end = self.at;
            self.skip(|sign| matches!(sign, ' ' | '\t') || (depth > 0 && sign == '\n'));
            if !self.at_string() {
                self.at = end;
                break;
            }
        }
        Ok(Literal::Text(text))
    }

    fn string(&mut self, text: &mut String) -> Result<(), String> {
        let quote = if self.take() == Some('"') { '"' } else { '\'' };
        if self.rest().starts_with(if quote == '"' { "\"\"" } else { "''" }) {
            return Err(self.wrong("no string of three quotes"));
        }
        loop {
            match self.take() {
                Some('\\') => self.escape(text)?,
                Some(sign) if sign == quote => return Ok(()),
                None | Some('\n' | '\r' | '\0') => return Err(self.wrong("the end of a string")),
                Some(sign) => text.push(sign),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), String> {
        let sign = self.take().ok_or_else(|| self.wrong("the end of a string"))?;
        let meant = match sign {
            '\n' => return Ok(()),
            '\\' | '\'' | '"' => sign,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '0'..='7' => {
                self.at -= 1;
                self.digits(8, 1..=3)?
            }
            'x' => self.digits(16, 2..=2)?,
            'u' => self.digits(16, 4..=4)?,
            'U' => self.digits(16, 8..=8)?,
            'N' | '\r' | '\0' => return Err(self.wrong("no such escape")),
            other => {
                text.push('\\');
                other
            }
        };
        text.push(meant);
        Ok(())
    }

    fn digits(&mut self, base: u32, count: std::ops::RangeInclusive<usize>) -> Result<char, String> {
        let digits: String = self.rest().chars().take(*count.end()).take_while(|sign| sign.is_digit(base)).collect();
        if !count.contains(&digits.len()) {
            return Err(self.wrong("a digit"));
        }
        let found = u32::from_str_radix(&digits, base).ok().and_then(char::from_u32);
        self.at += digits.len();
        found.ok_or_else(|| self.wrong("a character before that"))
    }
}

fn is_delimiter(sign: char) -> bool {
    matches!(sign, ' ' | '\t' | '\n' | ',' | ']' | ')')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    fn int(digits: &str) -> Literal {
        Literal::Int(digits.to_owned())
    }

    #[test]
    fn lists_of_python_are_read() {
        let read = Literal::read(r#"  ['通知', "it's", None, True, -5, 1.50, (1,), ('x'), ()]"#).unwrap();
        let expected = vec![
            text("通知"),
            text("it's"),
            Literal::None,
            Literal::Bool(true),
            int("-5"),
            Literal::Float(1.5),
            Literal::List(vec![int("1")]),
            text("x"),
            Literal::List(vec![]),
        ];
        assert_eq!(read, Literal::List(expected));
        assert_eq!(Literal::read("(1, 2)").unwrap(), Literal::List(vec![int("1"), int("2")]));
        assert_eq!(Literal::read("(1, 2,)").unwrap(), Literal::List(vec![int("1"), int("2")]));
    }

    #[test]
    fn escapes_are_those_of_python() {
        let read = Literal::read(r#"['\x41\u4e00\U0001F600\101\n\'\"\\\q', 'a' "b"]"#).unwrap();
        assert_eq!(read, Literal::List(vec![text("A一😀A\n'\"\\\\q"), text("ab")]));
    }

    #[test]
    fn lists_of_json_are_read() {
        let read = Literal::read(r#"["\ud83d\ude00", null, true, 1, 1.5]"#).unwrap();
        let expected = vec![text("😀"), Literal::None, Literal::Bool(true), int("1"), Literal::Float(1.5)];
        assert_eq!(read, Literal::List(expected));
    }

    #[test]
    fn what_is_no_list_of_plain_values_is_refused() {
        let deep = "[".repeat(100_000);
        for wrong in [
            "",
            "[",
            "[1",
            "[1 2]",
            "[,]",
            "(,)",
            "[1,,]",
            "__import__('os')",
            "['a'.upper()]",
            "{'a': 1}",
            "{1}",
            "b'x'",
            "['\\ud800']",
            "'''a'''",
            "['''a'b''']",
            "1+1",
            "0x10",
            "01",
            "1_0",
            "1j",
            "['a\nb']",
            "- -1",
            ".",
            "+",
            "[1]]",
            "nan",
            "Nonee",
            "r'a'",
            "f'a'",
            "'\\N{DASH}'",
            "['\\x4']",
            "e5",
            "1e",
            deep.as_str(),
        ] {
            assert!(Literal::read(wrong).is_err(), "{wrong:.50}");
        }
    }

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345.0, "123456789012345.0"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
        ];
        for (number, expected) in cases {
            assert_eq!(Literal::Float(number).text().unwrap().unwrap(), expected);
        }
        assert_eq!(Literal::Float(-1.25e300).text().unwrap().unwrap(), "-1.25e+300");
        assert!(Literal::List(vec![]).text().is_err());
    }
}
