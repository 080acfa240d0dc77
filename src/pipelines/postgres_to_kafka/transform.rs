//! A row of the change table to a message. What a column is in JSON is told by the mapping.

use crate::config::{MappedColumn, Mapping};
use crate::error::{Error, Result};
use crate::sql::Dialect;

/// A column's value in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Number,
    Boolean,
    Json,
    Text,
}

impl Form {
    fn of(column: &MappedColumn) -> Self {
        match type_name(&column.of).as_str() {
            "smallint" | "integer" | "bigint" | "real" | "double precision" => Self::Number,
            "boolean" => Self::Boolean,
            "json" | "jsonb" => Self::Json,
            _ => Self::Text,
        }
    }
}

/// A type without its length: `varchar` of `VARCHAR(100)`.
pub(super) fn type_name(of: &str) -> String {
    of.split('(').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Writes keys and values of messages.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// The columns of the key, among those of the mapping.
    key: Vec<usize>,
    /// What stands before a column's value.
    columns: Vec<(String, Form)>,
    id: String,
    action: String,
}

/// A row's texts, in the mapping's order of columns.
pub(super) type Cells<'a> = [Option<&'a str>];

impl Writer {
    pub(super) fn new(mapping: &Mapping) -> Result<Self> {
        if mapping.key.is_empty() {
            return Err(Error::settings("mapping.key names no column"));
        }
        let place = |name: &String| {
            let found = mapping.columns.iter().position(|column| column.name == *name);
            found.ok_or_else(|| Error::settings(format!("The key column {name} is not among mapping.columns")))
        };
        let head = |field: &str| {
            let mut head = Vec::new();
            quote(field, &mut head);
            format!("{}:", String::from_utf8_lossy(&head))
        };
        let columns = mapping.columns.iter().map(|column| (format!(",{}", head(&column.field)), Form::of(column)));
        Ok(Self {
            key: mapping.key.iter().map(place).collect::<Result<_>>()?,
            columns: columns.collect(),
            id: format!("{{{}", head(&mapping.id_field)),
            action: format!(",{}", head(&mapping.action_field)),
        })
    }

    /// The text of the key column, or a JSON array of the texts of several; none where all are NULL.
    pub(super) fn key(&self, cells: &Cells<'_>) -> Option<Vec<u8>> {
        if let [one] = self.key[..] {
            return cells[one].map(|text| text.as_bytes().to_vec());
        }
        if self.key.iter().all(|column| cells[*column].is_none()) {
            return None;
        }
        let mut key = vec![b'['];
        for (number, column) in self.key.iter().enumerate() {
            if number > 0 {
                key.push(b',');
            }
            match cells[*column] {
                Some(text) => quote(text, &mut key),
                None => key.extend_from_slice(b"null"),
            }
        }
        key.push(b']');
        Some(key)
    }

    pub(super) fn key_cells<'a>(&self, cells: &Cells<'a>) -> Vec<Option<&'a str>> {
        self.key.iter().map(|column| cells[*column]).collect()
    }

    pub(super) fn value(&self, id: i64, cells: &Cells<'_>, action: Option<&str>) -> Vec<u8> {
        let size: usize = self
            .columns
            .iter()
            .zip(cells)
            .map(|((head, _), cell)| head.len() + cell.map_or(4, |text| text.len() + 2))
            .sum();
        let mut value = Vec::with_capacity(size + self.id.len() + self.action.len() + 32);
        value.extend_from_slice(self.id.as_bytes());
        value.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
        for ((head, form), cell) in self.columns.iter().zip(cells) {
            value.extend_from_slice(head.as_bytes());
            put(*form, *cell, &mut value);
        }
        value.extend_from_slice(self.action.as_bytes());
        put(Form::Text, action, &mut value);
        value.push(b'}');
        value
    }
}

fn put(form: Form, cell: Option<&str>, out: &mut Vec<u8>) {
    let Some(text) = cell else { return out.extend_from_slice(b"null") };
    // A column may be of another type than the mapping says, and NaN is no number in JSON.
    let is_bare = match form {
        Form::Number => is_number(text.as_bytes()),
        Form::Boolean => matches!(text, "true" | "false"),
        Form::Json => true,
        Form::Text => false,
    };
    if is_bare { out.extend_from_slice(text.as_bytes()) } else { quote(text, out) }
}

/// By JSON's grammar: 007 and +1 are none.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|sign| sign.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// Text in JSON, escaped as `serde_json` does it.
fn quote(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= b' ' && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// A column of a query as text. `found` is its type in the table.
pub(super) fn expression(column: &MappedColumn, found: &str) -> String {
    let name = Dialect::Postgres.quoted(&column.name);
    match (Form::of(column), found) {
        // Whatever bytea_output says.
        (_, "bytea") => format!("E'\\\\x' || encode({name}, 'hex')"),
        (Form::Json, "json" | "jsonb") => format!("{name}::text"),
        // The server proves that it is JSON.
        (Form::Json, _) => format!("{name}::json::text"),
        _ => format!("{name}::text"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(name: &str, of: &str) -> MappedColumn {
        MappedColumn {
            name: name.to_owned(),
            of: of.to_owned(),
            field: name.to_owned(),
            aliases: Vec::new(),
            required: false,
        }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_change_of_an_employee_is_the_contracts_message() {
        let writer = Writer::new(&Mapping::default()).unwrap();
        let cells = [Some("3"), Some("Ann"), Some("Lee"), None, Some("Perth"), Some("-70000")];
        assert_eq!(
            text(writer.value(7, &cells, Some("UPDATE"))),
            r#"{"action_id":7,"emp_id":3,"emp_FN":"Ann","emp_LN":"Lee","emp_dob":null,"emp_city":"Perth","emp_salary":-70000,"action":"UPDATE"}"#
        );
        assert_eq!(writer.key(&cells), Some(b"3".to_vec()));
        assert_eq!(writer.key(&[None; 6]), None);
    }

    #[test]
    fn several_key_columns_are_an_array_of_texts() {
        let columns = vec![column("n", "integer"), column("x", "text"), column("of", "text")];
        let mapping = Mapping { key: vec!["of".to_owned(), "n".to_owned()], columns, ..Mapping::default() };
        let writer = Writer::new(&mapping).unwrap();
        assert_eq!(text(writer.key(&[Some("1"), Some("x"), Some("a\"b")]).unwrap()), r#"["a\"b","1"]"#);
        assert_eq!(text(writer.key(&[None, Some("x"), Some("a")]).unwrap()), r#"["a",null]"#);
        assert_eq!(writer.key(&[None, Some("x"), None]), None);
    }

    #[test]
    fn a_key_that_is_not_mapped_is_a_wrong_setting() {
        assert!(Writer::new(&Mapping { key: vec!["id".to_owned()], ..Mapping::default() }).is_err());
        assert!(Writer::new(&Mapping { key: Vec::new(), ..Mapping::default() }).is_err());
    }

    #[test]
    fn values_have_the_form_of_their_type() {
        let types = ["BIGINT", "real", "boolean", "jsonb", "numeric(9,2)", "integer", "boolean", "double precision"];
        let columns: Vec<_> = (0..).zip(types).map(|(number, of)| column(&format!("c{number}"), of)).collect();
        let mapping = Mapping { key: vec!["c0".to_owned()], columns, ..Mapping::default() };
        let cells = ["12", "1e+20", "true", r#"{"a": [1]}"#, "0.10", "007", "t", "NaN"].map(Some);
        assert_eq!(
            text(Writer::new(&mapping).unwrap().value(1, &cells, None)),
            r#"{"action_id":1,"c0":12,"c1":1e+20,"c2":true,"c3":{"a": [1]},"c4":"0.10","c5":"007","c6":"t","c7":"NaN","action":null}"#
        );
    }

    proptest! {
        #[test]
        fn every_text_parses_back(text in any::<String>()) {
            let mut out = Vec::new();
            quote(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
        }

        #[test]
        fn a_bare_number_is_one_of_json(text in "[-+]?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][-+]?[0-9]{0,2})?") {
            prop_assert_eq!(is_number(text.as_bytes()), serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok());
        }
    }
}
