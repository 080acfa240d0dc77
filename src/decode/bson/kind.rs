//! The types of BSON by their byte. Source: <https://bsonspec.org/spec.html>.

pub const DOUBLE: u8 = 0x01;
pub const TEXT: u8 = 0x02;
pub const OBJECT: u8 = 0x03;
pub const ARRAY: u8 = 0x04;
pub const BINARY: u8 = 0x05;
pub const UNDEFINED: u8 = 0x06;
pub const OBJECT_ID: u8 = 0x07;
pub const BOOL: u8 = 0x08;
pub const DATE: u8 = 0x09;
pub const NULL: u8 = 0x0a;
pub const REGEX: u8 = 0x0b;
pub const DB_POINTER: u8 = 0x0c;
pub const CODE: u8 = 0x0d;
pub const SYMBOL: u8 = 0x0e;
pub const CODE_WITH_SCOPE: u8 = 0x0f;
pub const INT: u8 = 0x10;
pub const TIMESTAMP: u8 = 0x11;
pub const LONG: u8 = 0x12;
pub const DECIMAL: u8 = 0x13;
pub const MAX_KEY: u8 = 0x7f;
pub const MIN_KEY: u8 = 0xff;

/// What a value is, for a reason.
#[must_use]
pub fn name(kind: u8) -> &'static str {
    match kind {
        DOUBLE | INT | LONG | DECIMAL => "a number",
        TEXT | SYMBOL => "a text",
        OBJECT => "an object",
        ARRAY => "an array",
        BINARY => "a binary",
        UNDEFINED | NULL => "null",
        OBJECT_ID => "an ObjectId",
        BOOL => "a boolean",
        DATE => "a date",
        REGEX => "a regular expression",
        DB_POINTER => "a pointer",
        CODE | CODE_WITH_SCOPE => "code",
        TIMESTAMP => "a timestamp",
        MAX_KEY => "the largest key",
        MIN_KEY => "the smallest key",
        _ => "of an unknown type",
    }
}
