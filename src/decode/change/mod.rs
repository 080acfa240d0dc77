//! Change events: a row of a table that was inserted, updated or deleted, told in JSON.
//!
//! The form is the user's mapping, or Debezium's. What does not fit is refused with the path to it; what fits becomes
//! text that `PostgreSQL` reads. Rules: `CONTRIBUTING.md`, "The protocol of a change".

mod envelope;
mod kinds;
mod plan;
mod rows;
mod values;

use std::borrow::Cow;

pub use kinds::Kind;
pub use plan::{Column, Plan, Unknown};
pub use rows::{Action, Event, Rows};

use super::json::Value;
use super::pull::{Bad, Key, Outcome, Pull};
use plan::Field;

/// Of a version: the number of the change has 48 bits, the generation of the source those above.
const GENERATION: u32 = 48;

/// A message and what its headers say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Message<'a> {
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// How often the source has been made again.
    pub generation: i64,
    /// A row that was read from the table itself.
    pub is_snapshot: bool,
}

/// What was read of a message before its columns are looked at.
struct Read<'a> {
    action: Action,
    version: Option<i64>,
    /// The number of the change, where it is one of the ledger.
    id: Option<i64>,
    /// Of each column, in the mapping's order.
    values: Vec<Option<Value<'a>>>,
    /// The path to the object that holds them.
    within: &'static str,
}

impl Plan {
    /// Reads a message into `rows`.
    ///
    /// # Errors
    /// What does not fit, and where; then `rows` is as before.
    pub fn read(&self, message: Message<'_>, rows: &mut Rows) -> Outcome<()> {
        let Some(value) = message.value else { return self.read_tombstone(message, rows) };
        let read = self.message(value, &message)?;
        let mark = rows.mark();
        self.columns(&read, message.offset, rows)
            .inspect_err(|_| rows.reset(mark))
            .map_err(|bad| if read.within.is_empty() { bad } else { bad.within(read.within) })
    }

    /// The message's form is looked at before its columns: what they must be depends on the action.
    fn message<'a>(&self, value: &'a [u8], message: &Message<'_>) -> Outcome<Read<'a>> {
        let mut pull = Pull::new(value)?;
        let (mut id, mut action) = (None, None);
        let mut values: Vec<Option<Value<'a>>> = vec![None; self.columns.len()];
        let (mut is_first, mut next) = (true, 0);
        pull.begin_object()?;
        while let Some(key) = pull.next_key(&mut is_first, self.likely(next))? {
            let field = match &key {
                Key::Likely => self.order.get(next).copied(),
                Key::Named(name) => self.field(name),
            };
            match field {
                Some(Field::Id) => id = Some(pull.value()?),
                Some(Field::Action) => action = Some(pull.value()?),
                Some(Field::Column(at)) => values[at] = Some(pull.value()?),
                None => {
                    let Key::Named(name) = &key else { continue };
                    if envelope::is_part(name) {
                        return self.envelope(value);
                    }
                    self.unknown(name)?;
                    pull.skip()?;
                }
            }
            next = field.map_or(next, |field| self.after(field));
        }
        pull.end()?;
        let action = action_of(action.as_ref()).map_err(|bad| bad.within(&step(&self.action_field)))?;
        let id = values::id(id.as_ref()).map_err(|bad| bad.within(&step(&self.id_field)))?;
        let version = (message.generation << GENERATION) + id.max(0);
        let is_counted = id > 0 && !message.is_snapshot;
        Ok(Read { action, version: Some(version), id: is_counted.then_some(id), values, within: "" })
    }

    fn unknown(&self, name: &str) -> Outcome<()> {
        match self.unknown {
            Unknown::Ignore => Ok(()),
            Unknown::Refuse => Err(Bad::new("The field is not known").within(&step(name))),
        }
    }

    fn columns(&self, read: &Read<'_>, offset: i64, rows: &mut Rows) -> Outcome<()> {
        let begun = rows.begin();
        if read.action != Action::Truncate {
            self.key(read, rows)?;
        }
        let key = rows.key_since(begun);
        let first = rows.cells();
        let told = match read.action {
            Action::Insert | Action::Update => self.all.as_slice(),
            Action::Delete => &self.key,
            Action::Truncate => &[],
        };
        for at in told {
            let (column, value) = (&self.columns[*at], read.values[*at].as_ref());
            let cell = column.cell(value, rows).map_err(|bad| bad.within(&step(named(column, read))))?;
            rows.push_cell(cell);
        }
        rows.push(Event { offset, action: read.action, version: read.version, id: read.id, key, first });
        Ok(())
    }

    /// Writes the key's text: of one column its own, of several a JSON array.
    fn key(&self, read: &Read<'_>, rows: &mut Rows) -> Outcome<()> {
        for (place, at) in self.key.iter().enumerate() {
            let column = &self.columns[*at];
            let within = |bad: Box<Bad>| bad.within(&step(named(column, read)));
            let value = read.values[*at].as_ref().ok_or_else(missing).map_err(within)?;
            let cell = column.cell(Some(value), rows).map_err(within)?;
            if self.key.len() > 1 {
                rows.quote_since(cell, if place == 0 { "[" } else { "," });
            }
        }
        if self.key.len() > 1 {
            rows.add_text("]");
        }
        Ok(())
    }

    /// No value: the key is deleted.
    fn read_tombstone(&self, message: Message<'_>, rows: &mut Rows) -> Outcome<()> {
        let key = message.key.filter(|key| !key.is_empty());
        let Some(key) = key else { return Err(Bad::new("The message has neither key nor value")) };
        let values = self.tombstone(key).map_err(|mut bad| {
            bad.reason = format!("In the key of a message without a value: {}", bad.reason);
            bad
        })?;
        let mark = rows.mark();
        let read = Read { action: Action::Delete, version: None, id: None, values, within: "" };
        self.columns(&read, message.offset, rows).inspect_err(|_| rows.reset(mark))
    }

    fn tombstone<'a>(&self, key: &'a [u8]) -> Outcome<Vec<Option<Value<'a>>>> {
        let text = std::str::from_utf8(key).map_err(|_| Bad::new("It is not UTF-8"))?;
        let mut values = vec![None; self.columns.len()];
        match (key[0], self.key.as_slice()) {
            (b'{', _) => return self.envelope_key(key),
            (b'[', several) if several.len() > 1 => {
                let mut pull = Pull::new(key)?;
                let mut count = 0;
                pull.array(|pull, number| {
                    let value = pull.value()?;
                    if let Some(at) = several.get(number) {
                        values[*at] = Some(value);
                    }
                    count = number + 1;
                    Ok(())
                })?;
                pull.end()?;
                if count != several.len() {
                    return Err(Bad::new(format!("It has {count} parts, not {}", several.len())));
                }
            }
            (_, [at]) => values[*at] = Some(Value::Text(Cow::Borrowed(text))),
            _ => return Err(Bad::new("It is no JSON array of the key's columns")),
        }
        Ok(values)
    }
}

fn action_of(value: Option<&Value<'_>>) -> Outcome<Action> {
    let Some(value) = value else { return Err(missing()) };
    let Value::Text(text) = value else {
        return Err(Bad::new(format!("It is {} where a string is due", values::name(value))));
    };
    Action::of(text).ok_or_else(|| Bad::new(format!("There is no action {}", values::shown(text))))
}

/// What a column is called where it was read.
fn named<'p>(column: &'p Column, read: &Read<'_>) -> &'p str {
    if read.within.is_empty() { &column.field } else { &column.name }
}

fn step(name: &str) -> String {
    format!(".{name}")
}

#[expect(clippy::unnecessary_box_returns, reason = "what an `Outcome` holds")]
fn missing() -> Box<Bad> {
    Bad::new("The field is missing")
}
