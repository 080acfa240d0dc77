//! JSON messages become columns whose text is the messages' own.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use pipeline_core::config::ColumnType;
use pipeline_core::decode::rows::{Column, KeyEncoding, METADATA, Options, Push, Record, Rows};
use proptest::prelude::*;

fn options(is_typed: bool) -> Options {
    Options {
        topic: "t".into(),
        is_typed,
        column_types: HashMap::new(),
        metadata_prefix: Some(String::new()),
        key_encoding: KeyEncoding::Utf8,
    }
}

fn push(rows: &mut Rows, value: &str, may_grow: bool) -> Push {
    let record = Record { partition: 3, offset: 7, time: Some(1000), key: Some(b"k"), value: Some(value.as_bytes()) };
    rows.push(record, may_grow).unwrap()
}

fn text(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)).collect()
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn values_keep_their_text_and_columns_their_order() {
    let mut rows = Rows::new(options(false), Vec::new());
    for message in [r#"{"b":"x","a":1.10}"#, r#"{"a":null,"b":"\u00e1\n","c":{"d": [1, 2]}}"#, r#"{"c":true}"#] {
        assert_eq!(push(&mut rows, message, true), Push::Added);
    }
    let batch = rows.finish().unwrap();
    assert_eq!(names(&batch)[..3], ["b", "a", "c"]);
    assert_eq!(names(&batch)[3..], METADATA);
    assert_eq!(text(&batch, "a"), [Some("1.10".to_owned()), None, None]);
    assert_eq!(text(&batch, "b"), [Some("x".to_owned()), Some("á\n".to_owned()), None]);
    assert_eq!(text(&batch, "c"), [None, Some(r#"{"d": [1, 2]}"#.to_owned()), Some("true".to_owned())]);
    assert_eq!(rows.columns().len(), 3, "the columns stay known for the next batch");
}

#[test]
fn a_new_column_waits_for_a_new_file() {
    let mut rows = Rows::new(options(false), vec![Column("a".to_owned(), Some(ColumnType::String))]);
    assert_eq!(push(&mut rows, r#"{"a":"1","z":"2"}"#, false), Push::NewColumns);
    assert!(rows.is_empty());
    assert_eq!(push(&mut rows, r#"{"a":"1"}"#, false), Push::Added);
}

#[test]
fn what_is_no_object_is_refused_and_leaves_no_trace() {
    let mut rows = Rows::new(options(false), Vec::new());
    assert_eq!(push(&mut rows, r#"{"a":"1"}"#, true), Push::Added);
    for broken in ["", "nonsense", "[1]", "\"text\"", "42", "{\"a\":1", "{\"a\":1} tail", "{\"b\":NaN}", "null"] {
        assert!(matches!(push(&mut rows, broken, true), Push::Refused(_)), "{broken}");
    }
    let tombstone = Record { partition: 0, offset: 0, time: None, key: None, value: None };
    assert!(matches!(rows.push(tombstone, true).unwrap(), Push::Refused(_)));
    let key = Record { key: Some(b"\xff"), value: Some(b"{}"), ..tombstone };
    assert!(matches!(rows.push(key, true).unwrap(), Push::Refused(_)));
    let batch = rows.finish().unwrap();
    assert_eq!((batch.num_rows(), names(&batch).len()), (1, 6));
}

#[test]
fn types_are_those_of_the_first_batch_and_misfits_are_refused() {
    let mut rows = Rows::new(options(true), Vec::new());
    push(&mut rows, r#"{"i":1,"f":1,"s":"x","m":1,"t":"2018-01-31T22:56:00Z","b":true}"#, true);
    push(&mut rows, r#"{"i":2,"f":2.5,"s":"y","m":"one","t":null,"b":false}"#, true);
    let batch = rows.finish().unwrap();
    let types: Vec<DataType> = batch.schema().fields()[..6].iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types[..4], [DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Utf8]);
    assert!(matches!(types[4], DataType::Timestamp(..)));
    assert_eq!(types[5], DataType::Boolean);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().values(), &[1.0, 2.5]);
    assert!(matches!(push(&mut rows, r#"{"i":"many"}"#, false), Push::Refused(_)));
    assert!(matches!(push(&mut rows, r#"{"i":2.5}"#, false), Push::Refused(_)));
    assert_eq!(push(&mut rows, r#"{"i":3,"f":7,"m":9}"#, false), Push::Added);
}

#[test]
fn a_field_with_the_name_of_a_metadata_column_asks_for_a_prefix() {
    let mut rows = Rows::new(options(false), Vec::new());
    let record = Record { partition: 0, offset: 0, time: None, key: None, value: Some(br#"{"offset":1}"#) };
    assert!(rows.push(record, true).unwrap_err().advice().unwrap().contains("--metadata-prefix"));
    let mut prefixed = Rows::new(Options { metadata_prefix: Some("kafka_".to_owned()), ..options(false) }, Vec::new());
    assert_eq!(prefixed.push(record, true).unwrap(), Push::Added);
}

proptest! {
    #[test]
    fn any_object_of_texts_comes_back(cells in prop::collection::vec(prop::option::of(".{0,10}"), 0..6), repeat in any::<bool>()) {
        let object: serde_json::Map<String, serde_json::Value> =
            cells.iter().enumerate().map(|(at, cell)| (format!("c{at}"), cell.clone().into())).collect();
        let message = serde_json::Value::Object(object).to_string();
        let message = if repeat && !cells.is_empty() { message.replacen('{', r#"{"c0":"former","#, 1) } else { message };
        let mut rows = Rows::new(options(false), Vec::new());
        prop_assert_eq!(push(&mut rows, &message, true), Push::Added);
        let batch = rows.finish().unwrap();
        for (at, cell) in cells.iter().enumerate() {
            prop_assert_eq!(&text(&batch, &format!("c{at}"))[0], cell);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_added_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut rows = Rows::new(options(true), Vec::new());
        let record = Record { partition: 0, offset: 0, time: None, key: Some(&bytes), value: Some(&bytes) };
        let _ = rows.push(record, true);
        prop_assert!(rows.finish().unwrap().num_rows() <= 1);
    }
}

/// Objects of strings in the columns' order, as they mostly come, and what else may stand in their place.
fn messages() -> impl Strategy<Value = String> {
    let cell = prop_oneof![
        3 => "[ -~á€]{0,6}".prop_map(|text| serde_json::Value::from(text).to_string()),
        1 => prop_oneof![Just("null"), Just("1.50"), Just("true"), Just("[1, \"}\"]"), Just("\"\\u0041\""), Just("\"\t\""), Just("\"")]
            .prop_map(str::to_owned),
    ];
    let field = (0..4usize, cell, prop_oneof![4 => Just(""), 1 => Just(" ")]);
    (prop::collection::vec(field, 0..5), any::<bool>(), prop_oneof![9 => Just(""), 1 => Just(" "), 1 => Just("}")])
        .prop_map(|(mut fields, is_sorted, tail)| {
            if is_sorted {
                fields.sort_by_key(|field| field.0);
            }
            let fields: Vec<String> =
                fields.iter().map(|(at, cell, blank)| format!("\"c{at}\":{blank}{cell}")).collect();
            format!("{{{}}}{tail}", fields.join(","))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// A blank in front sends a message the long way.
    #[test]
    fn the_short_way_and_the_long_way_agree(messages in prop::collection::vec(messages(), 1..6)) {
        let columns: Vec<Column> = (0..4).map(|at| Column(format!("c{at}"), Some(ColumnType::String))).collect();
        let (mut short, mut long) = (Rows::new(options(false), columns.clone()), Rows::new(options(false), columns));
        for message in &messages {
            let ways = (push(&mut short, message, true), push(&mut long, &format!(" {message}"), true));
            match ways {
                (Push::Refused(_), Push::Refused(_)) => {}
                (left, right) => prop_assert_eq!(left, right, "{}", message),
            }
        }
        prop_assert_eq!(short.finish().unwrap(), long.finish().unwrap());
    }
}
