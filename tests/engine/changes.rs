//! Change events: what is read of them, and that nothing else gets in.

use pipeline_core::config::{MappedColumn, Mapping};
use pipeline_core::decode::change::{Action, Message, Plan, Rows, Unknown};
use proptest::prelude::*;
use serde_json::{Value, json};

fn employees() -> Plan {
    Plan::new(&Mapping::default(), Unknown::Refuse, |_| None).unwrap()
}

fn event(action: &str) -> Value {
    json!({"action_id": 7, "emp_id": 3, "emp_FN": "Ann", "emp_LN": "Lee", "emp_dob": "1999-01-02",
           "emp_city": "Perth", "emp_salary": 70000, "action": action})
}

fn read(plan: &Plan, value: &[u8]) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let message = Message { value: Some(value), key: Some(b"3"), offset: 5, ..Message::default() };
    match plan.read(message, &mut rows) {
        Ok(()) => Ok(rows),
        Err(bad) => {
            assert_eq!(rows.bytes(), 0, "what is refused leaves nothing behind");
            assert!(rows.events().is_empty());
            Err(format!("{}: {}", bad.path(), bad.reason))
        }
    }
}

fn read_json(value: &Value) -> Result<Rows, String> {
    read(&employees(), value.to_string().as_bytes())
}

fn cells(rows: &Rows) -> Vec<Option<&str>> {
    (0..6).map(|column| rows.cell(&rows.events()[0], column)).collect()
}

#[test]
fn the_contracts_message_is_read() {
    let rows = read_json(&event("UPDATE")).unwrap();
    let told = &rows.events()[0];
    assert_eq!((told.action, told.version, told.id, told.offset), (Action::Update, Some(7), Some(7), 5));
    assert_eq!(rows.key(told), "3");
    assert_eq!(cells(&rows), [Some("3"), Some("Ann"), Some("Lee"), Some("1999-01-02"), Some("Perth"), Some("70000")]);
}

#[test]
fn fields_may_come_in_any_order_and_under_the_columns_names() {
    let message = json!({"action": "insert", "salary": null, "city": null, "dob": "None", "last_name": "Lee",
                         "first_name": "Ann", "emp_id": "3", "action_id": "7"});
    let rows = read_json(&message).unwrap();
    assert_eq!(cells(&rows), [Some("3"), Some("Ann"), Some("Lee"), None, None, None]);
}

#[test]
fn the_generation_counts_above_the_number_and_a_snapshot_is_not_in_the_ledger() {
    let value = event("INSERT").to_string();
    let mut rows = Rows::default();
    let message = Message { value: Some(value.as_bytes()), generation: 2, is_snapshot: true, ..Message::default() };
    employees().read(message, &mut rows).unwrap();
    assert_eq!((rows.events()[0].version, rows.events()[0].id), (Some((2 << 48) + 7), None));
}

#[test]
fn what_does_not_fit_is_refused_with_its_path() {
    let with = |field: &str, value: Value| {
        let mut message = event("UPDATE");
        message[field] = value;
        read_json(&message).map(drop)
    };
    let said = |field: &str, value: Value| with(field, value).unwrap_err();
    assert_eq!(said("emp_salary", json!("abc")), "$.emp_salary: \"abc\" is no integer");
    assert_eq!(said("emp_salary", json!(1.5)), "$.emp_salary: \"1.5\" is no integer");
    assert_eq!(said("emp_salary", json!(true)), "$.emp_salary: It is a boolean where an integer is due");
    assert_eq!(said("emp_salary", json!(2_147_483_648_i64)), "$.emp_salary: \"2147483648\" is out of range");
    assert_eq!(said("emp_FN", json!(5)), "$.emp_FN: It is a number where a string is due");
    assert_eq!(said("emp_FN", Value::Null), "$.emp_FN: It is null, and the column must not be");
    assert_eq!(said("emp_FN", json!("a\0b")), "$.emp_FN: The text holds U+0000");
    let long = "$.emp_FN: The text is too long: 101 characters, the column takes 100";
    assert_eq!(said("emp_FN", json!("é".repeat(101))), long);
    assert_eq!(said("emp_id", Value::Null), "$.emp_id: It is null, and the column must not be");
    assert_eq!(said("emp_dob", json!("1999-02-30")), "$.emp_dob: \"1999-02-30\" is no date");
    assert_eq!(said("action", json!("MERGE")), "$.action: There is no action \"MERGE\"");
    assert_eq!(said("action_id", json!("x")), "$.action_id: \"x\" is no integer");
    assert_eq!(said("extra", json!(1)), "$.extra: The field is not known");
    let mut short = event("UPDATE");
    short.as_object_mut().unwrap().remove("emp_city");
    assert_eq!(read_json(&short).map(drop).unwrap_err(), "$.emp_city: The field is missing");
    for text in ["null", "[]", "5", "\"a\"", "", "{", "{}x"] {
        assert!(read(&employees(), text.as_bytes()).is_err(), "{text:?} is no event");
    }
    assert!(with("emp_dob", json!("2000-02-29")).is_ok() && with("emp_FN", json!("é".repeat(100))).is_ok());
}

#[test]
fn a_delete_needs_its_key_alone_and_a_truncate_nothing() {
    let rows = read_json(&json!({"action_id": 8, "emp_id": 3, "emp_FN": 5, "action": "DELETE"})).unwrap();
    assert_eq!((rows.key(&rows.events()[0]), rows.cell(&rows.events()[0], 0)), ("3", Some("3")));
    let rows = read_json(&json!({"action_id": 9, "emp_id": null, "action": "TRUNCATE"})).unwrap();
    assert_eq!((rows.events()[0].action, rows.key(&rows.events()[0])), (Action::Truncate, ""));
    assert_eq!(
        read_json(&json!({"action_id": 8, "action": "DELETE"})).map(drop).unwrap_err(),
        "$.emp_id: The field is missing"
    );
}

#[test]
fn debeziums_envelope_is_read_with_and_without_its_schema() {
    let row = json!({"emp_id": 3, "first_name": "Ann", "last_name": "Lee", "dob": 10593, "city": null, "salary": 1});
    let change =
        json!({"before": null, "after": row, "source": {"lsn": 77, "table": "employees"}, "op": "u", "ts_ms": 5});
    for message in [change.clone(), json!({"schema": {"type": "struct"}, "payload": change})] {
        let rows = read_json(&message).unwrap();
        assert_eq!((rows.events()[0].version, rows.events()[0].id), (Some(77), None));
        assert_eq!(cells(&rows)[3], Some("1999-01-02"));
    }
    let gone = json!({"before": {"emp_id": 3}, "after": null, "source": {}, "op": "d"});
    let rows = read_json(&gone).unwrap();
    assert_eq!((rows.events()[0].action, rows.events()[0].version), (Action::Delete, None));
    let wrong = json!({"payload": {"after": {"emp_id": "x"}, "op": "c"}});
    assert_eq!(read_json(&wrong).map(drop).unwrap_err(), "$.payload.after.emp_id: \"x\" is no integer");
}

#[test]
fn a_message_without_a_value_deletes_its_key() {
    for key in [&b"3"[..], br#"{"emp_id": 3}"#, br#"{"schema": {}, "payload": {"emp_id": 3}}"#] {
        let mut rows = Rows::default();
        employees().read(Message { key: Some(key), ..Message::default() }, &mut rows).unwrap();
        assert_eq!((rows.events()[0].action, rows.key(&rows.events()[0])), (Action::Delete, "3"));
    }
    for key in [None, Some(&b""[..]), Some(b"x"), Some(b"\xff"), Some(b"{}")] {
        assert!(employees().read(Message { key, ..Message::default() }, &mut Rows::default()).is_err(), "{key:?}");
    }
}

fn two_keys() -> Plan {
    let column = |name: &str, of: &str| MappedColumn {
        name: name.to_owned(),
        of: of.to_owned(),
        field: name.to_owned(),
        aliases: vec![],
        required: false,
    };
    let mapping = Mapping {
        key: vec!["shop".to_owned(), "code".to_owned()],
        columns: vec![column("shop", "bigint"), column("code", "text"), column("note", "text")],
        ..Mapping::default()
    };
    Plan::new(&mapping, Unknown::Ignore, |_| None).unwrap()
}

proptest! {
    #[test]
    fn any_text_arrives_as_it_was(shop in any::<i64>(), code in "[^\0]*", note in proptest::option::of("[^\0]*")) {
        let message = json!({"action_id": 1, "shop": shop, "code": code, "note": note, "action": "INSERT", "else": [1]});
        let rows = read(&two_keys(), message.to_string().as_bytes()).unwrap();
        let told = &rows.events()[0];
        prop_assert_eq!(rows.cell(told, 1), Some(code.as_str()));
        prop_assert_eq!(rows.cell(told, 2), note.as_deref());
        let key: Vec<String> = serde_json::from_str(rows.key(told)).unwrap();
        prop_assert_eq!(&key, &vec![shop.to_string(), code.clone()]);
        // The key's text deletes the same key.
        let mut gone = Rows::default();
        two_keys().read(Message { key: Some(rows.key(told).as_bytes()), ..Message::default() }, &mut gone).unwrap();
        prop_assert_eq!(gone.key(&gone.events()[0]), rows.key(told));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..150_usize) {
        let _ = read(&employees(), &bytes);
        let mut near = event("UPDATE").to_string().into_bytes();
        let at = at % near.len();
        near.splice(at..at, bytes.into_iter().take(3));
        let _ = read(&employees(), &near);
    }
}
