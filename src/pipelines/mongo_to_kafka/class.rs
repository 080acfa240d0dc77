//! Types of values that are compared among each other: a query for what is greater finds no other type.

use bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use serde::{Deserialize, Serialize};

/// In the server's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Class {
    Number,
    String,
    Object,
    Binary,
    ObjectId,
    Boolean,
    Date,
    Timestamp,
}

impl Class {
    pub(super) const ALL: [Self; 8] = [
        Self::Number,
        Self::String,
        Self::Object,
        Self::Binary,
        Self::ObjectId,
        Self::Boolean,
        Self::Date,
        Self::Timestamp,
    ];

    /// `None` for what has no order of its own: missing, null, arrays, NaN and rare types.
    pub(super) fn of(value: Option<RawBsonRef<'_>>) -> Option<Self> {
        Some(match value? {
            RawBsonRef::Double(number) if number.is_nan() => return None,
            RawBsonRef::Decimal128(number) if number.to_string().contains("NaN") => return None,
            RawBsonRef::Double(_) | RawBsonRef::Int32(_) | RawBsonRef::Int64(_) | RawBsonRef::Decimal128(_) => {
                Self::Number
            }
            RawBsonRef::String(_) => Self::String,
            RawBsonRef::Document(_) => Self::Object,
            RawBsonRef::Binary(_) => Self::Binary,
            RawBsonRef::ObjectId(_) => Self::ObjectId,
            RawBsonRef::Boolean(_) => Self::Boolean,
            RawBsonRef::DateTime(_) => Self::Date,
            RawBsonRef::Timestamp(_) => Self::Timestamp,
            _ => return None,
        })
    }

    /// As `$type` calls it.
    pub(super) fn alias(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::String => "string",
            Self::Object => "object",
            Self::Binary => "binData",
            Self::ObjectId => "objectId",
            Self::Boolean => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }
}

/// The time that a value stands for, or its end where it is coarse; milliseconds since 1970.
pub(super) fn stamp(value: RawBsonRef<'_>) -> Option<i64> {
    let second = |seconds: u32| i64::from(seconds) * 1000 + 999;
    match value {
        RawBsonRef::ObjectId(id) => {
            let [a, b, c, d, ..] = id.bytes();
            Some(second(u32::from_be_bytes([a, b, c, d])))
        }
        RawBsonRef::DateTime(date) => Some(date.timestamp_millis()),
        RawBsonRef::Timestamp(time) => Some(second(time.time)),
        _ => None,
    }
}

/// Where a value stands in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

impl Path {
    pub(super) fn new(dotted: &str) -> Self {
        Self(dotted.split('.').map(str::to_owned).collect())
    }

    pub(super) fn is_id(&self) -> bool {
        matches!(&self.0[..], [only] if only == "_id")
    }

    pub(super) fn dotted(&self) -> String {
        self.0.join(".")
    }

    /// Through objects only: what stands in an array is many values, or none.
    ///
    /// # Errors
    /// When the document cannot be read so far.
    pub(super) fn find<'a>(&self, document: &'a RawDocument) -> Result<Option<RawBsonRef<'a>>, bson::error::Error> {
        let Some((last, parents)) = self.0.split_last() else { return Ok(None) };
        let mut at = document;
        for name in parents {
            match at.get(name)? {
                Some(RawBsonRef::Document(inner)) => at = inner,
                _ => return Ok(None),
            }
        }
        at.get(last)
    }

    /// What finds the documents in which it has no class: some others too.
    pub(super) fn unordered(&self) -> Vec<Document> {
        const RARE: [&str; 9] = [
            "undefined",
            "regex",
            "dbPointer",
            "javascript",
            "symbol",
            "javascriptWithScope",
            "minKey",
            "maxKey",
            "array",
        ];
        let field = self.dotted();
        let mut branches =
            vec![doc! {&field: Bson::Null}, doc! {&field: {"$type": RARE.to_vec()}}, doc! {&field: f64::NAN}];
        for parents in 1..self.0.len() {
            branches.push(doc! {self.0[..parents].join("."): {"$type": "array"}});
        }
        branches
    }
}
