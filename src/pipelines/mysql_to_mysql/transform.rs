//! Rows of the source to rows of the target, pure.

use serde_json::Value;

use super::tables::{Cell, Column, From, Plan, Sheet, Type};
use crate::decode::literal::Literal;

/// Cells in the order of a sheet.
pub(super) type Row = Vec<Cell>;

/// An item on its way.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: String,
    /// In the order of the target's sheet. What is to be looked up is still its name.
    pub(super) row: Row,
    /// What it refers to, for each reference.
    pub(super) refers: Vec<Option<String>>,
}

/// Makes an item of a row and of those beside it.
///
/// # Errors
/// Why the target cannot have it.
pub(super) fn item(plan: &Plan, row: &Row, beside: &[Option<&Row>]) -> Result<Item, String> {
    let key = row[plan.key].text().ok_or("the key is no text")?.to_owned();
    let mut cells = vec![row[plan.key].clone()];
    check(plan.target.column(0), &cells[0])?;
    for (number, from) in plan.from.iter().enumerate() {
        let cell = value(from, row, beside).map_err(|reason| format!("{} {reason}", from.mapped.name))?;
        if from.mapped.required && cell == Cell::Null {
            return Err(format!("{} is missing", from.mapped.name));
        }
        if from.look_up.is_none() {
            check(plan.target.column(number + 1), &cell)?;
        }
        cells.push(cell);
    }
    let refers = plan.refers.iter().map(|place| row[*place].text().map(str::to_owned)).collect();
    Ok(Item { key, row: cells, refers })
}

fn value(from: &From, row: &Row, beside: &[Option<&Row>]) -> Result<Cell, String> {
    let mapped = &from.mapped;
    if let Some(constant) = &mapped.constant {
        return Ok(Cell::Text(constant.clone()));
    }
    let row = match from.side {
        None => Some(row),
        Some(side) => beside[side],
    };
    let cell = match (row, from.place) {
        (Some(row), Some(place)) => row[place].clone(),
        _ => Cell::Null,
    };
    let Cell::Text(text) = cell else { return Ok(cell) };
    let mut found = Some(text);
    if let (Some(path), Some(text)) = (&mapped.path, &found) {
        found = at_path(text, path)?;
    }
    if let (Some(number), Some(text)) = (mapped.element, &found) {
        found = match Literal::read(text)? {
            Literal::List(items) => items.into_iter().nth(number).unwrap_or(Literal::None).text()?,
            _ => return Err("comes from what is no list".to_owned()),
        };
    }
    if let Some(other) = found.as_ref().and_then(|text| mapped.values.get(text).or(mapped.otherwise.as_ref())) {
        found = Some(other.clone());
    }
    Ok(found.map_or(Cell::Null, Cell::Text))
}

/// What stands at a path in JSON: text as it is, else its JSON; nothing where it is null or missing.
fn at_path(json: &str, path: &str) -> Result<Option<String>, String> {
    let document: Value = serde_json::from_str(json).map_err(|error| format!("comes from what is no JSON: {error}"))?;
    let mut found = Some(&document);
    for step in path.split('.') {
        found = found.and_then(|value| match value {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|number| items.get(number)),
            other => other.get(step),
        });
    }
    Ok(match found {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    })
}

/// Whether a column takes a value, as far as that can be told without the server.
///
/// # Errors
/// Why it does not.
pub(super) fn check(column: &Column, cell: &Cell) -> Result<(), String> {
    let name = &column.name;
    let length = match (cell, column.of) {
        (Cell::Null, _) if !column.may_be_null => return Err(format!("{name} is NULL")),
        (Cell::Text(text), Type::Char) => text.chars().count(),
        (Cell::Text(_) | Cell::Bytes(_), Type::LongText | Type::Bytes) => cell.bytes(),
        _ => return Ok(()),
    };
    match column.most {
        Some(most) if length > most => Err(format!("{name} is {length} long and may be {most}")),
        _ => Ok(()),
    }
}

/// The same for all columns of a row.
///
/// # Errors
/// Why the target does not take it.
pub(super) fn check_row(sheet: &Sheet, row: &[Cell]) -> Result<(), String> {
    row.iter().enumerate().try_for_each(|(place, cell)| check(sheet.column(place), cell))
}

/// Whether the rows are the same to the server: digits, blanks and JSON may be written in several ways.
pub(super) fn is_same(sheet: &Sheet, here: &[Cell], there: &[Cell]) -> bool {
    here.iter().zip(there).enumerate().all(|(place, (here, there))| {
        here == there
            || match (here.text(), there.text()) {
                (Some(here), Some(there)) => is_same_text(sheet.column(place).of, here, there),
                _ => false,
            }
    })
}

fn is_same_text(of: Type, here: &str, there: &str) -> bool {
    match of {
        Type::Char => here.trim_end_matches(' ') == there.trim_end_matches(' '),
        Type::Decimal | Type::Time => digits(here) == digits(there),
        Type::Float => here.parse::<f64>().is_ok_and(|here| there.parse() == Ok(here)),
        Type::Int | Type::Bit => here.parse::<i128>().is_ok_and(|here| there.parse() == Ok(here)),
        Type::Json => {
            let read = |text| serde_json::from_str::<Value>(text).ok();
            read(here).is_some_and(|here| read(there) == Some(here))
        }
        _ => false,
    }
}

/// Without zeros at the end of a fraction.
fn digits(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Whether a mark such as `is_del` says that the row does not count.
pub(super) fn is_deleted(mark: Option<&Cell>) -> bool {
    mark.and_then(Cell::text).is_some_and(|text| text != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_into_json() {
        let json = r#"{"zh": "名", "n": 5, "list": [{"a": true}], "none": null}"#;
        assert_eq!(at_path(json, "zh"), Ok(Some("名".to_owned())));
        assert_eq!(at_path(json, "n"), Ok(Some("5".to_owned())));
        assert_eq!(at_path(json, "list.0.a"), Ok(Some("true".to_owned())));
        assert_eq!(at_path(json, "list.0"), Ok(Some(r#"{"a":true}"#.to_owned())));
        for missing in ["none", "en", "zh.x", "list.7", "list.x"] {
            assert_eq!(at_path(json, missing), Ok(None), "{missing}");
        }
        assert!(at_path("{", "zh").is_err());
    }

    #[test]
    fn values_are_compared_as_their_column_sees_them() {
        for (of, here, there) in [
            (Type::Decimal, "1.5", "1.500"),
            (Type::Time, "2025-01-01 10:00:00", "2025-01-01 10:00:00.000"),
            (Type::Char, "a", "a  "),
            (Type::Int, "007", "7"),
            (Type::Float, "1e3", "1000"),
            (Type::Json, r#"{"a":1,"b":[2]}"#, r#"{"b": [2], "a": 1}"#),
        ] {
            assert!(is_same_text(of, here, there), "{here}");
            assert!(!is_same_text(Type::LongText, here, there), "{here}");
        }
        assert!(!is_same_text(Type::Decimal, "10", "1"));
        assert!(!is_same_text(Type::Json, "{", "{"));
    }

    #[test]
    fn only_zero_and_null_count_as_there() {
        let deleted = |text: &str| is_deleted(Some(&Cell::Text(text.to_owned())));
        assert!(!deleted("0") && !is_deleted(Some(&Cell::Null)) && !is_deleted(None));
        assert!(deleted("1") && deleted("2"));
    }
}
