//! A row's JSON is the contract's: the columns in order, the text as it was.

use pipeline_core::decode::charset::Charset;
use pipeline_core::pipelines::csv_to_kafka::{Config, Encoder};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn config(settings: Value) -> Config {
    serde_json::from_value(settings).unwrap()
}

fn encode(encoder: &Encoder, fields: &[&[u8]], charset: Charset) -> Result<String, String> {
    let raw = fields.join(&b',');
    let mut out = Vec::new();
    encoder.encode(fields.iter().copied(), &raw, charset, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

proptest! {
    #[test]
    fn text_is_identical(cells in prop::collection::vec("[^\u{0}]{0,12}", 3), python in any::<bool>()) {
        let style = if python { "python" } else { "compact" };
        let encoder = Encoder::new(columns(&["a", "b \"c\"", "ä"]), &config(json!({"json_style": style}))).unwrap();
        let fields: Vec<&[u8]> = cells.iter().map(String::as_bytes).collect();
        let text = encode(&encoder, &fields, Charset::Utf8).unwrap();
        let back: Map<String, Value> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.keys().collect::<Vec<_>>(), ["a", "b \"c\"", "ä"]);
        prop_assert_eq!(back.values().map(|value| value.as_str().unwrap()).collect::<Vec<_>>(), cells);
        prop_assert!(!python || text.is_ascii());
    }

    #[test]
    fn typed_values_are_json_and_keep_their_text(number in any::<i64>(), real in -1e15..1e15f64, flag in any::<bool>()) {
        let mut encoder = Encoder::new(columns(&["n", "r", "f"]), &config(json!({"typed": true}))).unwrap();
        let cells = [number.to_string(), format!("{real:?}"), flag.to_string()];
        let fields: Vec<&[u8]> = cells.iter().map(String::as_bytes).collect();
        encoder.set_types(&config(json!({"typed": true})), std::iter::once(fields.clone()), Charset::Utf8).unwrap();
        let text = encode(&encoder, &fields, Charset::Utf8).unwrap();
        prop_assert_eq!(&text, &format!(r#"{{"n":{number},"r":{real:?},"f":{flag}}}"#));
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
    }
}

#[test]
fn latin_1_letters_arrive_as_utf_8() {
    let encoder = Encoder::new(columns(&["City"]), &config(json!({}))).unwrap();
    assert_eq!(encode(&encoder, &[b"Bogot\xe1"], Charset::Latin1).unwrap(), r#"{"City":"Bogotá"}"#);
    let python = Encoder::new(columns(&["City", "x"]), &config(json!({"json_style": "python"}))).unwrap();
    assert_eq!(encode(&python, &[b"Bogot\xe1", b""], Charset::Latin1).unwrap(), r#"{"City": "Bogot\u00e1", "x": ""}"#);
    assert!(encode(&encoder, &[b"Bogot\xe1"], Charset::Utf8).unwrap_err().contains("not valid utf-8"));
}

#[test]
fn ragged_rows_are_refused_or_kept_as_the_original_did() {
    let strict = Encoder::new(columns(&["a", "b"]), &config(json!({}))).unwrap();
    assert!(encode(&strict, &[b"1"], Charset::Utf8).is_err());
    let kept = Encoder::new(columns(&["a", "b"]), &config(json!({"ragged": "keep"}))).unwrap();
    assert_eq!(encode(&kept, &[b"1"], Charset::Utf8).unwrap(), r#"{"a":"1","b":null}"#);
    assert_eq!(
        encode(&kept, &[b"1", b"2", b"3", b"4"], Charset::Utf8).unwrap(),
        r#"{"a":"1","b":"2","null":["3","4"]}"#
    );
}

#[test]
fn types_are_told_by_the_sample() {
    let names = ["zip", "price", "when", "name", "void"];
    let mut encoder = Encoder::new(columns(&names), &config(json!({"typed": true}))).unwrap();
    let rows: [[&[u8]; 5]; 2] =
        [[b"00725", b"3", b"1/31/2018 22:56", b"x", b""], [b"90036", b"2.50", b"2/1/2018 1:05", b"7", b""]];
    encoder.set_types(&config(json!({"typed": true})), rows.iter().map(|row| row.to_vec()), Charset::Utf8).unwrap();
    let text = encode(&encoder, &rows[0], Charset::Utf8).unwrap();
    assert_eq!(text, r#"{"zip":"00725","price":3,"when":"2018-01-31T22:56:00Z","name":"x","void":""}"#);
    let misfit = encode(&encoder, &[b"1", b"cheap", b"", b"", b""], Charset::Utf8).unwrap_err();
    assert!(misfit.contains("price") && misfit.contains("cheap"), "{misfit}");
}

#[test]
fn a_name_twice_is_an_error_or_gets_a_number() {
    let error = Encoder::new(columns(&["a", "b", "a"]), &config(json!({}))).unwrap_err();
    assert!(error.to_string().contains("columns 1 and 3"), "{error}");
    let renamed = Encoder::new(columns(&["a", "a_2", "a"]), &config(json!({"duplicate_headers": "rename"}))).unwrap();
    assert_eq!(encode(&renamed, &[b"1", b"2", b"3"], Charset::Utf8).unwrap(), r#"{"a":"1","a_2":"2","a_3":"3"}"#);
}

#[test]
fn the_key_is_order_id_unless_another_is_named() {
    let key = |settings| Encoder::new(columns(&["x", "Order Id"]), &config(settings)).map(|encoder| encoder.key());
    assert_eq!(key(json!({})).unwrap(), Some(1));
    assert_eq!(key(json!({"key": "x"})).unwrap(), Some(0));
    assert_eq!(key(json!({"key": ""})).unwrap(), None);
    assert!(key(json!({"key": "y"})).unwrap_err().advice().unwrap().contains("Order Id"));
}
