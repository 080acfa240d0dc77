//! Which field is which column, and what it must be.

use std::collections::HashMap;

use super::kinds::{Kind, cast};
use crate::config::Mapping;
use crate::error::{Error, Result};

/// What becomes of a message with a field that the mapping does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    Refuse,
    Ignore,
}

/// How messages are read: a mapping, made ready.
#[derive(Debug, Clone)]
pub struct Plan {
    pub columns: Vec<Column>,
    /// The key's columns, by their place in `columns`.
    pub key: Vec<usize>,
    /// All columns, likewise.
    pub(super) all: Vec<usize>,
    pub(super) id_field: String,
    pub(super) action_field: String,
    pub(super) unknown: Unknown,
    /// By every name that a field may have.
    fields: HashMap<String, Field>,
    /// The fields as our own source writes them.
    pub(super) order: Vec<Field>,
}

/// A column of the table.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// The type that its text is cast to, with no length: a cast would cut what is too long.
    pub cast: String,
    pub(super) field: String,
    pub(super) is_required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Action,
    Column(usize),
}

impl Plan {
    /// `actual` gives a column's type and whether it must not be null as the table itself has it; else the mapping counts.
    ///
    /// # Errors
    /// `Settings` when the mapping contradicts itself.
    pub fn new(mapping: &Mapping, unknown: Unknown, actual: impl Fn(&str) -> Option<(String, bool)>) -> Result<Self> {
        let mut fields = HashMap::new();
        let mut add = |name: &str, field: Field| match fields.insert(name.to_owned(), field) {
            Some(other) if other != field => Err(Error::settings(format!("The mapping has the field {name:?} twice"))),
            _ => Ok(()),
        };
        add(&mapping.id_field, Field::Id)?;
        add(&mapping.action_field, Field::Action)?;
        let mut columns = Vec::new();
        for (at, column) in mapping.columns.iter().enumerate() {
            if columns.iter().any(|known: &Column| known.name == column.name) {
                return Err(Error::settings(format!("The mapping has the column {:?} twice", column.name)));
            }
            let is_key = mapping.key.contains(&column.name);
            let (of, is_required) = actual(&column.name).unwrap_or((column.of.clone(), false));
            add(&column.field, Field::Column(at))?;
            for alias in &column.aliases {
                add(alias, Field::Column(at))?;
            }
            columns.push(Column {
                name: column.name.clone(),
                kind: Kind::of(&of)?,
                cast: cast(&of),
                field: column.field.clone(),
                is_required: is_required || is_key || column.required,
            });
        }
        // A column's own name is read too, where it is no other field.
        for (at, column) in columns.iter().enumerate() {
            fields.entry(column.name.clone()).or_insert(Field::Column(at));
        }
        let place = |name: &String| {
            columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                Error::settings(format!("The mapping's key {name:?} is none of its columns"))
                    .hint("List the key's columns under columns too.")
            })
        };
        let key = mapping.key.iter().map(place).collect::<Result<Vec<_>>>()?;
        if key.is_empty() {
            return Err(Error::settings("The mapping has no key").hint("Name the columns of the primary key."));
        }
        let order =
            std::iter::once(Field::Id).chain((0..columns.len()).map(Field::Column)).chain([Field::Action]).collect();
        Ok(Self {
            all: (0..columns.len()).collect(),
            columns,
            key,
            id_field: mapping.id_field.clone(),
            action_field: mapping.action_field.clone(),
            unknown,
            fields,
            order,
        })
    }

    pub(super) fn field(&self, name: &str) -> Option<Field> {
        self.fields.get(name).copied()
    }

    /// The column of that name, for Debezium.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The name of the field that comes at that place in a message of ours.
    pub(super) fn likely(&self, place: usize) -> &str {
        match self.order.get(place) {
            Some(Field::Id) => &self.id_field,
            Some(Field::Action) => &self.action_field,
            Some(Field::Column(at)) => &self.columns[*at].field,
            None => "",
        }
    }

    /// The place after a field's.
    pub(super) fn after(&self, field: Field) -> usize {
        match field {
            Field::Id => 1,
            Field::Column(at) => at + 2,
            Field::Action => self.order.len(),
        }
    }
}
