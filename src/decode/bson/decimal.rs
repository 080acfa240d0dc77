//! Decimal128 as text.

use super::numbers::integer;

const LARGEST: u128 = 10_u128.pow(34) - 1;

/// Appends the number. Source: <https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md>.
pub(super) fn decimal(bytes: [u8; 16], out: &mut Vec<u8>) {
    let bits = u128::from_le_bytes(bytes);
    let combination = bits >> 122 & 0x1f;
    if combination == 0x1f {
        return out.extend_from_slice(b"NaN");
    }
    if bits >> 127 == 1 {
        out.push(b'-');
    }
    if combination == 0x1e {
        return out.extend_from_slice(b"Infinity");
    }
    // With both bits set the coefficient would be too large; one that is counts as 0.
    let is_large = bits >> 125 & 3 == 3;
    let power = (bits >> if is_large { 111 } else { 113 } & 0x3fff) as isize - 6176;
    let coefficient = bits & (u128::MAX >> 15);
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(if is_large || coefficient > LARGEST { 0 } else { coefficient }).as_bytes();
    let scientific = power + digits.len().cast_signed() - 1;
    if power > 0 || scientific < -6 {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if scientific > 0 { b"E+" } else { b"E" });
        return integer(scientific, out);
    }
    let places = power.unsigned_abs();
    if places == 0 {
        out.extend_from_slice(digits);
    } else if let Some(zeros) = (places + 1).checked_sub(digits.len()).filter(|zeros| *zeros > 0) {
        out.extend_from_slice(&b"0.0000000"[..=zeros]);
        out.extend_from_slice(digits);
    } else {
        let (whole, fraction) = digits.split_at(digits.len() - places);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}
