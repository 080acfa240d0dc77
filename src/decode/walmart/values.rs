//! Values as their columns take them: whole numbers, money, text.

use std::borrow::Cow;

use crate::decode::json::Value;
use crate::decode::pull::{Bad, Outcome, Pull};

/// A decimal number as it is written: `digits × 10^-scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: i128,
    scale: i32,
}

/// More digits than any column has.
const MOST_DIGITS: usize = 30;

/// `None` when it is no number, or has more digits than anybody needs.
fn decimal(text: &str) -> Option<Decimal> {
    let (text, power) = match text.split_once(['e', 'E']) {
        Some((text, power)) => (text, power.strip_prefix('+').unwrap_or(power).parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.len() + fraction.len() > MOST_DIGITS || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let mut digits = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits = digits * 10 + i128::from(byte - b'0');
    }
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(power)?;
    if scale.unsigned_abs() as usize > 2 * MOST_DIGITS && digits != 0 {
        return None;
    }
    Some(Decimal { digits: if is_negative { -digits } else { digits }, scale })
}

impl Decimal {
    /// The number in units of `10^-places`, and whether that is exact; otherwise rounded half away from zero.
    fn in_units(self, places: i32) -> Option<(i128, bool)> {
        if self.digits == 0 {
            return Some((0, true));
        }
        let shift = self.scale - places;
        let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
        if shift <= 0 {
            return Some((self.digits.checked_mul(power(shift)?)?, true));
        }
        let Some(unit) = power(shift) else { return Some((0, false)) };
        let (whole, rest) = (self.digits / unit, self.digits % unit);
        let away = if rest.abs() * 2 >= unit { rest.signum() } else { 0 };
        Some((whole + away, rest == 0))
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "what an `Outcome` holds")]
fn misplaced(text: &str, due: &str) -> Box<Bad> {
    let found = if text.starts_with('[') { "an array" } else { "an object" };
    Bad::new(format!("It is {found} where {due} is due"))
}

/// A whole number: also as text; a fraction is cut; what is no number at all is nothing.
#[inline]
pub(super) fn whole(pull: &mut Pull<'_>) -> Outcome<Option<i64>> {
    let out_of_range = |text: &str| Bad::new(format!("{} does not fit a BIGINT", shortened(text)));
    match pull.value()? {
        Value::Null | Value::Bool(_) | Value::Nested(_) => Ok(None),
        Value::Number(text) => {
            if let Ok(number) = text.parse::<i64>() {
                return Ok(Some(number));
            }
            let number = decimal(text).ok_or_else(|| out_of_range(text))?;
            // Towards zero, as Python's int() does.
            let cut = if number.scale > 0 {
                10_i128.checked_pow(number.scale.unsigned_abs()).map_or(0, |unit| number.digits / unit)
            } else {
                number.in_units(0).ok_or_else(|| out_of_range(text))?.0
            };
            i64::try_from(cut).map(Some).map_err(|_| out_of_range(text))
        }
        Value::Text(text) => {
            let digits = text.trim();
            let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
                return Ok(None);
            }
            digits.parse().map(Some).map_err(|_| out_of_range(digits))
        }
    }
}

/// The same, for an INT column.
pub(super) fn small(pull: &mut Pull<'_>) -> Outcome<Option<i64>> {
    match whole(pull)? {
        Some(number) if i32::try_from(number).is_err() => Err(Bad::new(format!("{number} does not fit an INT"))),
        number => Ok(number),
    }
}

/// Largest amount of a DECIMAL(10,2), in hundredths.
const MOST_HUNDREDTHS: i128 = 9_999_999_999;

/// How values are made to fit.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// Cut and round what does not fit, instead of refusing it.
    pub(super) truncate: bool,
    pub(super) cut: u64,
}

impl Fit {
    /// Money in hundredths, digit for digit.
    pub(super) fn amount(&mut self, pull: &mut Pull<'_>) -> Outcome<Option<i64>> {
        let text = match pull.value()? {
            Value::Null => return Ok(None),
            Value::Number(text) => Cow::Borrowed(text),
            Value::Text(text) => text,
            Value::Bool(_) => return Err(Bad::new("It is a boolean where an amount is due")),
            Value::Nested(text) => return Err(misplaced(text, "an amount")),
        };
        let text = text.trim();
        let number = decimal(text).ok_or_else(|| Bad::new(format!("{} is no amount", shortened(text))))?;
        let too_large = || Bad::new(format!("{} does not fit a DECIMAL(10,2)", shortened(text)));
        let (hundredths, is_exact) = number.in_units(2).ok_or_else(too_large)?;
        if hundredths.abs() > MOST_HUNDREDTHS {
            return Err(too_large());
        }
        if !is_exact {
            if !self.truncate {
                return Err(Bad::new(format!("{} has more than two decimals", shortened(text))));
            }
            self.cut += 1;
        }
        i64::try_from(hundredths).map(Some).map_err(|_| too_large())
    }

    /// Text of at most so many characters.
    #[inline]
    pub(super) fn text<'a>(&mut self, pull: &mut Pull<'a>, most: usize) -> Outcome<Option<Cow<'a, str>>> {
        let Some(text) = any_text(pull)? else { return Ok(None) };
        // As many bytes hold no more characters.
        if text.len() <= most {
            return Ok(Some(text));
        }
        match text.char_indices().nth(most) {
            None => Ok(Some(text)),
            Some((end, _)) => self.cut(text, end, &format!("{most} characters")).map(Some),
        }
    }

    /// Text for a TEXT column.
    pub(super) fn long_text<'a>(&mut self, pull: &mut Pull<'a>) -> Outcome<Option<Cow<'a, str>>> {
        let Some(text) = any_text(pull)? else { return Ok(None) };
        if text.len() <= MOST_BYTES {
            return Ok(Some(text));
        }
        let end = (0..=MOST_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        self.cut(text, end, &format!("{MOST_BYTES} bytes")).map(Some)
    }

    fn cut<'a>(&mut self, text: Cow<'a, str>, end: usize, most: &str) -> Outcome<Cow<'a, str>> {
        if !self.truncate {
            return Err(Bad::new(format!("Its {} characters are more than {most}", text.chars().count())));
        }
        self.cut += 1;
        Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        })
    }
}

/// What a TEXT column holds.
const MOST_BYTES: usize = 65_535;

#[inline]
fn any_text<'a>(pull: &mut Pull<'a>) -> Outcome<Option<Cow<'a, str>>> {
    Ok(Some(match pull.value()? {
        Value::Text(text) => text,
        Value::Null => return Ok(None),
        Value::Number(text) => Cow::Borrowed(text),
        Value::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Value::Nested(text) => return Err(misplaced(text, "a string")),
    }))
}

/// Enough of a value to find it again.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
