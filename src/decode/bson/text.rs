//! Values as the text that Python's `str` and `json.dumps` give.

use serde_json::Value;

use super::decimal::decimal;
use super::elements::Raw;
use super::problem::{Outcome, Problem};
use super::times::Clock;
use super::{kind, numbers};
use crate::decode::json::quote_into;

/// Appends `str(value)`; what has no such text of its own is refused.
pub(super) fn text(raw: Raw<'_>, out: &mut Vec<u8>) -> Outcome<()> {
    match raw.kind {
        kind::TEXT | kind::SYMBOL | kind::CODE => out.extend_from_slice(raw.text()?.as_bytes()),
        kind::OBJECT_ID => numbers::hex(&raw.fixed::<12>()?, out),
        kind::INT => numbers::integer(raw.int()?, out),
        kind::LONG => numbers::integer(raw.long()?, out),
        kind::DECIMAL => decimal(raw.fixed()?, out),
        kind::BOOL => out.extend_from_slice(if raw.bool()? { b"True" } else { b"False" }),
        kind::DOUBLE => {
            let number = raw.double()?;
            if number.is_finite() {
                numbers::double(number, out);
            } else {
                let name = if number.is_nan() { "nan" } else { ["inf", "-inf"][usize::from(number < 0.0)] };
                out.extend_from_slice(name.as_bytes());
            }
        }
        kind::DATE => match Clock::of_millis(raw.long()?) {
            Some(clock) => clock.python(out),
            None => return Err(Problem::new("The date is not in the years 1 to 9999")),
        },
        kind::BINARY => match raw.uuid() {
            Some(uuid) => numbers::uuid(uuid, out),
            None => return Err(misfit(raw, "a text")),
        },
        _ => return Err(misfit(raw, "a text")),
    }
    Ok(())
}

#[cold]
pub(super) fn misfit(raw: Raw<'_>, due: &str) -> Problem {
    Problem::new(format!("It is {} where {due} is due", kind::name(raw.kind)))
}

/// Appends `json.dumps(value)`.
pub(super) fn dumps(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => quote_into(out, text, true),
        Value::Array(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b", " });
                dumps(value, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (at, (name, value)) in fields.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b", " });
                quote_into(out, name, true);
                out.extend_from_slice(b": ");
                dumps(value, out);
            }
            out.push(b'}');
        }
        Value::Number(number) if number.is_f64() => numbers::double(number.as_f64().unwrap_or_default(), out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}
