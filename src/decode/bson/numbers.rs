//! Numbers, ids and bytes as text.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The shortest text that reads as the same number, as Python's `repr` writes it. Finite numbers alone.
pub(super) fn double(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        // Nothing fails that writes into memory.
        let _ = serde_json::to_writer(out, &number);
        return;
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
}

/// A number that is not finite, by its name in extended JSON.
pub(super) fn unbounded(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

pub(super) fn uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    let mut rest = &bytes[..];
    for (at, size) in [4, 2, 2, 2, 6].into_iter().enumerate() {
        let (group, after) = rest.split_at(size);
        if at > 0 {
            out.push(b'-');
        }
        hex(group, out);
        rest = after;
    }
}

pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
}
