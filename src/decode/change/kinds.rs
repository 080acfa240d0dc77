//! Types of columns, as far as they matter before the server sees a value.

use crate::error::{Error, Result};

/// What text is cast to for a column of that type.
pub(super) fn cast(name: &str) -> String {
    let lower = name.trim().to_ascii_lowercase();
    let base = lower.split('(').next().unwrap_or_default().trim();
    match base {
        "smallserial" => "smallint".to_owned(),
        "serial" => "integer".to_owned(),
        "bigserial" => "bigint".to_owned(),
        "varchar" | "character varying" => "text".to_owned(),
        "char" | "character" | "bpchar" => "bpchar".to_owned(),
        "numeric" | "decimal" => "numeric".to_owned(),
        "bit" | "varbit" | "bit varying" => "varbit".to_owned(),
        _ => name.trim().to_owned(),
    }
}

/// What a column takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Int {
        min: i64,
        max: i64,
    },
    /// So many characters at most.
    Text(Option<usize>),
    Date,
    Timestamp,
    Numeric,
    Float,
    Bool,
    Json,
    /// The server reads its text.
    Other(String),
}

impl Kind {
    /// By `PostgreSQL`'s name: `varchar(100)`, `character varying(100)`, `integer`, `numeric(10,2)`.
    ///
    /// # Errors
    /// `Settings` when it is no name of a type.
    pub fn of(name: &str) -> Result<Self> {
        let lower = name.trim().to_ascii_lowercase();
        let is_name = |sign: char| sign.is_ascii_alphanumeric() || " _(),.\"[]".contains(sign);
        if lower.is_empty() || !lower.chars().all(is_name) {
            return Err(Error::settings(format!("{name:?} is no type of PostgreSQL")));
        }
        let (base, argument) = match lower.split_once('(') {
            Some((base, rest)) if !base.ends_with(' ') || !rest.contains("zone") => {
                (base.trim(), rest.split(')').next().unwrap_or_default().trim())
            }
            _ => (lower.as_str(), ""),
        };
        let range = |bits: u32| Self::Int { min: -(1 << (bits - 1)), max: (1 << (bits - 1)) - 1 };
        Ok(match base {
            "smallint" | "int2" | "smallserial" => range(16),
            "integer" | "int" | "int4" | "serial" => range(32),
            "bigint" | "int8" | "bigserial" => Self::Int { min: i64::MIN, max: i64::MAX },
            "text" => Self::Text(None),
            "varchar" | "character varying" => Self::Text(argument.parse().ok()),
            "char" | "character" | "bpchar" => Self::Text(Some(argument.parse().unwrap_or(1))),
            "date" => Self::Date,
            "numeric" | "decimal" => Self::Numeric,
            "real" | "float4" | "double precision" | "float8" | "float" => Self::Float,
            "boolean" | "bool" => Self::Bool,
            "json" | "jsonb" => Self::Json,
            _ if base.starts_with("timestamp") => Self::Timestamp,
            _ => Self::Other(lower),
        })
    }
}
