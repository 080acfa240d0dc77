//! Debezium's messages, with or without their schema.
//! Source: <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events>.

use super::plan::Plan;
use super::rows::Action;
use super::{Read, step, values};
use crate::decode::json::Value;
use crate::decode::pull::{Bad, Outcome, Pull};

/// Whether an envelope has a field of that name, at its top or around it.
pub(super) fn is_part(name: &str) -> bool {
    matches!(name, "payload" | "schema" | "op" | "before" | "after" | "source")
}

#[derive(Default)]
struct Envelope<'a> {
    op: Option<Value<'a>>,
    before: Option<&'a str>,
    after: Option<&'a str>,
    lsn: Option<i64>,
}

impl Plan {
    pub(super) fn envelope<'a>(&self, value: &'a [u8]) -> Outcome<Read<'a>> {
        let mut whole = Pull::new(value)?;
        let payload = payload(&mut whole)?;
        let (text, prefix) = match payload {
            Some(text) => (text.as_bytes(), ".payload"),
            None => (value, ""),
        };
        self.unwrapped(text, !prefix.is_empty()).map_err(|bad| if prefix.is_empty() { bad } else { bad.within(prefix) })
    }

    fn unwrapped<'a>(&self, text: &'a [u8], is_wrapped: bool) -> Outcome<Read<'a>> {
        let mut found = Envelope::default();
        let mut pull = Pull::new(text)?;
        pull.object(|pull, name| {
            match name {
                "op" => found.op = Some(pull.value()?),
                "before" => found.before = nested(pull)?,
                "after" => found.after = nested(pull)?,
                "source" => found.lsn = lsn(pull)?,
                _ => drop(pull.skip()?),
            }
            Ok(())
        })?;
        let op = match &found.op {
            Some(Value::Text(op)) => op.as_ref(),
            Some(other) => {
                let reason = format!("It is {} where a string is due", values::name(other));
                return Err(Bad::new(reason).within(".op"));
            }
            None => return Err(super::missing().within(".op")),
        };
        let (action, row, place, within) = match op {
            "c" | "r" => (Action::Insert, found.after, ".after", if is_wrapped { ".payload.after" } else { ".after" }),
            "u" => (Action::Update, found.after, ".after", if is_wrapped { ".payload.after" } else { ".after" }),
            "d" => (Action::Delete, found.before, ".before", if is_wrapped { ".payload.before" } else { ".before" }),
            "t" => (Action::Truncate, Some("{}"), "", ""),
            other => return Err(Bad::new(format!("There is no operation {}", values::shown(other))).within(".op")),
        };
        let Some(row) = row else { return Err(Bad::new("The row is missing").within(place)) };
        let values = self.row(row.as_bytes()).map_err(|bad| bad.within(place))?;
        Ok(Read { action, version: found.lsn, id: None, values, within })
    }

    /// The key of a message without a value.
    pub(super) fn envelope_key<'a>(&self, key: &'a [u8]) -> Outcome<Vec<Option<Value<'a>>>> {
        let payload = payload(&mut Pull::new(key)?)?;
        self.row(payload.map_or(key, str::as_bytes))
    }

    fn row<'a>(&self, text: &'a [u8]) -> Outcome<Vec<Option<Value<'a>>>> {
        let mut values = vec![None; self.columns.len()];
        let mut pull = Pull::new(text)?;
        let mut is_first = true;
        pull.begin_object()?;
        while let Some(key) = pull.next_key(&mut is_first, "")? {
            let crate::decode::pull::Key::Named(name) = key else { continue };
            if let Some(at) = self.column(&name) {
                values[at] = Some(pull.value().map_err(|bad| bad.within(&step(&name)))?);
            } else {
                self.unknown(&name)?;
                pull.skip()?;
            }
        }
        pull.end()?;
        Ok(values)
    }
}

/// The object under `payload`, where there is one.
fn payload<'a>(pull: &mut Pull<'a>) -> Outcome<Option<&'a str>> {
    let mut payload = None;
    let mut is_first = true;
    pull.begin_object()?;
    while let Some(key) = pull.next_key(&mut is_first, "")? {
        let is_payload = matches!(&key, crate::decode::pull::Key::Named(name) if name == "payload");
        let text = pull.skip()?;
        if is_payload {
            payload = Some(text);
        }
    }
    pull.end()?;
    Ok(payload)
}

fn nested<'a>(pull: &mut Pull<'a>) -> Outcome<Option<&'a str>> {
    if pull.take_null()? { Ok(None) } else { pull.skip().map(Some) }
}

fn lsn(pull: &mut Pull<'_>) -> Outcome<Option<i64>> {
    if pull.take_null()? {
        return Ok(None);
    }
    let mut lsn = None;
    pull.object(|pull, name| {
        if name == "lsn"
            && let Value::Number(text) = pull.value()?
        {
            lsn = text.parse().ok();
        } else if name != "lsn" {
            pull.skip()?;
        }
        Ok(())
    })?;
    Ok(lsn)
}
