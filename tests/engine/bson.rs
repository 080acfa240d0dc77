//! Documents of BSON: their JSON, their keys, and the messages that mappings make of them.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, Timestamp, doc, oid::ObjectId};
use pipeline_core::config::DataType;
use pipeline_core::decode::bson::{
    Form, Mapping, Path, Raw, Variables, find, information, key, key_of, kind, write_document, write_value,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const FORMS: [Form; 3] = [Form::Canonical, Form::Relaxed, Form::Plain];

const VARIABLES: Variables<'_> = Variables { topic: "t", data_type: "d", collection: "c" };

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().unwrap()
}

fn text(document: &[u8], form: Form) -> Result<String, String> {
    let mut out = b"before".to_vec();
    match write_document(document, form, &mut out) {
        Ok(()) => Ok(String::from_utf8(out.split_off(6)).unwrap()),
        Err(problem) => {
            assert_eq!(out, b"before", "what is refused leaves nothing behind");
            Err(problem.to_string())
        }
    }
}

fn in_all_forms(value: impl Into<Bson>) -> [String; 3] {
    let document = bytes(&doc! {"a": value.into()});
    FORMS.map(|form| text(&document, form).unwrap()[5..].strip_suffix('}').unwrap().to_owned())
}

fn extended(value: &Value) -> Bson {
    Bson::try_from(value.clone()).unwrap()
}

fn canonical(raw: Raw<'_>) -> Value {
    let mut text = Vec::new();
    write_value(raw, Form::Canonical, &mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn regex(pattern: &str, options: &str) -> Bson {
    extended(&json!({"$regularExpression": {"pattern": pattern, "options": options}}))
}

fn mapping(fields: &Value) -> Mapping {
    try_mapping(fields).unwrap()
}

fn try_mapping(fields: &Value) -> Result<Mapping, String> {
    let mapping = serde_json::from_value(json!({"fields": fields})).map_err(|error| error.to_string())?;
    Mapping::new(&mapping, Form::Plain, &VARIABLES).map_err(|error| error.to_string())
}

fn message(mapping: &Mapping, document: &Document) -> Result<String, String> {
    let mut out = Vec::new();
    match mapping.write(&bytes(document), &mut out) {
        Ok(()) => Ok(String::from_utf8(out).unwrap()),
        Err(problem) => {
            assert!(out.is_empty(), "what is refused leaves nothing behind");
            Err(problem.to_string())
        }
    }
}

fn assert_all(cases: Vec<(Bson, [&str; 3])>) {
    for (value, expected) in cases {
        assert_eq!(in_all_forms(value.clone()), expected, "{value:?}");
    }
}

#[test]
fn types_of_json_are_written_in_every_form() {
    assert_all(vec![
        (5.into(), [r#"{"$numberInt":"5"}"#, "5", "5"]),
        (
            i64::MIN.into(),
            [r#"{"$numberLong":"-9223372036854775808"}"#, "-9223372036854775808", "-9223372036854775808"],
        ),
        (1.0.into(), [r#"{"$numberDouble":"1.0"}"#, "1.0", "1.0"]),
        ((-0.0).into(), [r#"{"$numberDouble":"-0.0"}"#, "-0.0", "-0.0"]),
        (f64::NAN.into(), [r#"{"$numberDouble":"NaN"}"#, r#"{"$numberDouble":"NaN"}"#, r#""NaN""#]),
        (
            f64::NEG_INFINITY.into(),
            [r#"{"$numberDouble":"-Infinity"}"#, r#"{"$numberDouble":"-Infinity"}"#, r#""-Infinity""#],
        ),
        ("ü\"\n\u{1}\u{7f}".into(), ["\"ü\\\"\\n\\u0001\u{7f}\""; 3]),
        (true.into(), ["true"; 3]),
        (Bson::Null, ["null"; 3]),
    ]);
}

#[test]
fn dates_are_written_in_every_form() {
    let date = DateTime::from_millis;
    assert_all(vec![
        (
            date(1_769_900_160_123).into(),
            [
                r#"{"$date":{"$numberLong":"1769900160123"}}"#,
                r#"{"$date":"2026-01-31T22:56:00.123Z"}"#,
                r#""2026-01-31T22:56:00.123Z""#,
            ],
        ),
        (
            date(0).into(),
            [
                r#"{"$date":{"$numberLong":"0"}}"#,
                r#"{"$date":"1970-01-01T00:00:00Z"}"#,
                r#""1970-01-01T00:00:00.000Z""#,
            ],
        ),
        (
            date(-1).into(),
            [r#"{"$date":{"$numberLong":"-1"}}"#, r#"{"$date":{"$numberLong":"-1"}}"#, r#""1969-12-31T23:59:59.999Z""#],
        ),
        (
            date(253_402_300_800_000).into(),
            [
                r#"{"$date":{"$numberLong":"253402300800000"}}"#,
                r#"{"$date":{"$numberLong":"253402300800000"}}"#,
                "253402300800000",
            ],
        ),
        (
            date(i64::MIN).into(),
            [
                r#"{"$date":{"$numberLong":"-9223372036854775808"}}"#,
                r#"{"$date":{"$numberLong":"-9223372036854775808"}}"#,
                "-9223372036854775808",
            ],
        ),
    ]);
}

#[test]
fn other_types_are_written_in_every_form() {
    let id = ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap();
    let hex = "65f0c0ffee0123456789abcd";
    let uuid: Vec<u8> = (0..16).collect();
    let binary = |subtype: u8, bytes: &[u8]| Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() };
    let scope = JavaScriptCodeWithScope { code: "f".to_owned(), scope: doc! {"x": 1} };
    let pointer = extended(&json!({"$dbPointer": {"$ref": "db.c", "$id": {"$oid": hex}}}));
    assert_all(vec![
        (
            id.into(),
            [
                r#"{"$oid":"65f0c0ffee0123456789abcd"}"#,
                r#"{"$oid":"65f0c0ffee0123456789abcd"}"#,
                "\"65f0c0ffee0123456789abcd\"",
            ],
        ),
        (
            Bson::Decimal128("1.50".parse().unwrap()),
            [r#"{"$numberDecimal":"1.50"}"#, r#"{"$numberDecimal":"1.50"}"#, r#""1.50""#],
        ),
        (
            binary(0x80, b"abcd").into(),
            [
                r#"{"$binary":{"base64":"YWJjZA==","subType":"80"}}"#,
                r#"{"$binary":{"base64":"YWJjZA==","subType":"80"}}"#,
                r#""YWJjZA==""#,
            ],
        ),
        (
            binary(2, b"abc").into(),
            [
                r#"{"$binary":{"base64":"YWJj","subType":"02"}}"#,
                r#"{"$binary":{"base64":"YWJj","subType":"02"}}"#,
                r#""YWJj""#,
            ],
        ),
        (
            binary(4, &uuid).into(),
            [
                r#"{"$binary":{"base64":"AAECAwQFBgcICQoLDA0ODw==","subType":"04"}}"#,
                r#"{"$binary":{"base64":"AAECAwQFBgcICQoLDA0ODw==","subType":"04"}}"#,
                r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#,
            ],
        ),
        (
            Timestamp { time: 1_769_900_160, increment: 7 }.into(),
            [
                r#"{"$timestamp":{"t":1769900160,"i":7}}"#,
                r#"{"$timestamp":{"t":1769900160,"i":7}}"#,
                r#""2026-01-31T22:56:00Z""#,
            ],
        ),
        (
            regex("a/\"", "ix"),
            [
                r#"{"$regularExpression":{"pattern":"a/\"","options":"ix"}}"#,
                r#"{"$regularExpression":{"pattern":"a/\"","options":"ix"}}"#,
                r#""/a/\"/ix""#,
            ],
        ),
        (Bson::JavaScriptCode("f()".to_owned()), [r#"{"$code":"f()"}"#, r#"{"$code":"f()"}"#, r#""f()""#]),
        (
            scope.into(),
            [r#"{"$code":"f","$scope":{"x":{"$numberInt":"1"}}}"#, r#"{"$code":"f","$scope":{"x":1}}"#, r#""f""#],
        ),
        (Bson::Symbol("s".to_owned()), [r#"{"$symbol":"s"}"#, r#"{"$symbol":"s"}"#, r#""s""#]),
        (
            pointer,
            [
                r#"{"$dbPointer":{"$ref":"db.c","$id":{"$oid":"65f0c0ffee0123456789abcd"}}}"#,
                r#"{"$dbPointer":{"$ref":"db.c","$id":{"$oid":"65f0c0ffee0123456789abcd"}}}"#,
                "\"65f0c0ffee0123456789abcd\"",
            ],
        ),
        (Bson::Undefined, [r#"{"$undefined":true}"#, r#"{"$undefined":true}"#, "null"]),
        (Bson::MinKey, [r#"{"$minKey":1}"#, r#"{"$minKey":1}"#, r#""MinKey""#]),
        (Bson::MaxKey, [r#"{"$maxKey":1}"#, r#"{"$maxKey":1}"#, r#""MaxKey""#]),
        (doc! {"x": [], "y": {}}.into(), [r#"{"x":[],"y":{}}"#; 3]),
    ]);
}

#[test]
fn doubles_are_written_as_python_writes_them() {
    let cases = [
        (0.1 + 0.2, "0.30000000000000004"),
        (100.0, "100.0"),
        (1e15, "1000000000000000.0"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        (-1.5e16, "-1.5e+16"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (1e-4, "0.0001"),
        (1.5e-4, "0.00015"),
        (9.999e-5, "9.999e-05"),
        (1e-5, "1e-05"),
        (1e22, "1e+22"),
        (1e100, "1e+100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (5e-324, "5e-324"),
    ];
    for (number, expected) in cases {
        let canonical = format!(r#"{{"$numberDouble":"{expected}"}}"#);
        assert_eq!(in_all_forms(number), [canonical.as_str(), expected, expected]);
    }
}

#[test]
fn names_that_come_twice_are_kept() {
    let mut document = bytes(&doc! {"a": 1, "b": 2});
    let at = document.iter().position(|byte| *byte == b'b').unwrap();
    document[at] = b'a';
    assert_eq!(text(&document, Form::Plain).unwrap(), r#"{"a":1,"a":2}"#);
    let found = find(&document, &Path::new("a").unwrap()).unwrap().unwrap();
    assert_eq!(found, Raw { kind: kind::INT, bytes: &[1, 0, 0, 0] });
}

fn nested(levels: usize) -> Vec<u8> {
    let mut document = vec![5, 0, 0, 0, 0];
    for _ in 1..levels {
        let length = u32::try_from(document.len() + 8).unwrap();
        document = [&length.to_le_bytes()[..], &[3, b'a', 0], &document[..], &[0]].concat();
    }
    document
}

#[test]
fn five_hundred_levels_are_written_and_some_thousands_refused() {
    assert_eq!(text(&nested(500), Form::Canonical).unwrap().len(), 499 * 6 + 2);
    assert!(text(&nested(1000), Form::Plain).is_ok());
    for levels in [1001, 5000, 20_000] {
        let refused = text(&nested(levels), Form::Plain).unwrap_err();
        assert!(refused.ends_with(": It nests deeper than 1000 levels"), "{refused}");
        assert!(refused.len() < 300, "{refused}");
    }
    let deep = mapping(&json!([{"name": "a", "path": "a", "form": "json-text"}]));
    assert!(deep.write(&nested(5000), &mut Vec::new()).is_err());
}

#[test]
fn what_is_broken_is_refused_with_its_path() {
    let mut document = bytes(&doc! {"data": {"names": ["x", "y\u{e9}"]}});
    let at = document.iter().position(|byte| *byte == b'y').unwrap();
    document[at + 1] = 0xff;
    assert_eq!(text(&document, Form::Plain).unwrap_err(), "data.names.1: The text is not UTF-8 after byte 1");
    let with = |kind: u8, value: &[u8]| {
        let length = u32::try_from(value.len() + 8).unwrap();
        text(&[&length.to_le_bytes()[..], &[kind, b'a', 0], value, &[0]].concat(), Form::Canonical).unwrap_err()
    };
    assert_eq!(with(0x20, b""), "a: The document is broken: there is no type 0x20");
    assert_eq!(with(kind::INT, b"12"), "a: The document is broken: a number is longer than what is left");
    assert_eq!(with(kind::BOOL, b"\x02"), "a: The document is broken: a boolean is neither 0 nor 1");
    assert_eq!(with(kind::TEXT, b"\0\0\0\0"), "a: The document is broken: the length of a text is wrong");
    assert_eq!(with(kind::TEXT, b"\x02\0\0\0ab"), "a: The document is broken: the length of a text is wrong");
    assert_eq!(
        with(kind::TEXT, b"\xff\xff\xff\xffab"),
        "a: The document is broken: a text is longer than what is left"
    );
    assert_eq!(with(kind::OBJECT, b"\x05\0\0\0x"), "a: The document is broken: its length is wrong");
    for wrong in [&b""[..], b"\x05\0\0\0", b"\x06\0\0\0\0", b"\x05\0\0\0\x01", b"\x05\0\0\0\0\0"] {
        assert_eq!(text(wrong, Form::Plain).unwrap_err(), "The document is broken: its length is wrong");
    }
}

#[test]
fn a_key_is_the_id_as_text() {
    let of = |document: Document| key(&bytes(&document)).unwrap().map(|key| String::from_utf8(key).unwrap());
    let id = ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap();
    assert_eq!(of(doc! {"_id": id}).unwrap(), "65f0c0ffee0123456789abcd");
    assert_eq!(of(doc! {"x": 1, "_id": "a \"b\""}).unwrap(), "a \"b\"");
    assert_eq!(of(doc! {"_id": 5}).unwrap(), r#"{"$numberInt":"5"}"#);
    assert_eq!(of(doc! {"_id": {"a": 5_i64, "b": "c"}}).unwrap(), r#"{"a":{"$numberLong":"5"},"b":"c"}"#);
    assert_eq!(of(doc! {"x": {"_id": 1}}), None);
}

#[test]
fn paths_lead_through_objects_and_arrays() {
    let document = bytes(&doc! {"a": {"b": [1, {"c": "x", "0": 5}], "0": 7}, "a.b": 9, "n": Bson::Null});
    let at = |path: &str| find(&document, &Path::new(path).unwrap()).unwrap().map(|raw| canonical(raw));
    assert_eq!(at("a.b.0"), Some(json!({"$numberInt": "1"})));
    assert_eq!(at("a.b.1.c"), Some(json!("x")));
    assert_eq!(at("a.b.1.0"), Some(json!({"$numberInt": "5"})));
    assert_eq!(at("a.0"), Some(json!({"$numberInt": "7"})));
    assert_eq!(at("n"), Some(json!(null)));
    for path in ["a.b.2", "a.b.c", "a.b.0.x", "b", "n.a", "a.b.-1"] {
        assert_eq!(at(path), None, "{path}");
    }
    for path in ["", "a.", ".a", "a..b", "a\0"] {
        assert!(Path::new(path).is_err(), "{path:?}");
    }
}

#[test]
fn the_contracts_message_is_made() {
    let information = Mapping::new(&information(), Form::Plain, &VARIABLES).unwrap();
    let document = doc! {"_id": "x", "info_name": "名", "column_info": ["通知", "医学"], "info_section": [{"a": 1}]};
    let expected = r#"{"uid":"x","topic":"t","name":"名","created_at":"","data_type":"information_nsfc","tag_values":"[\"\\u901a\\u77e5\", \"\\u533b\\u5b66\"]","link_data":[],"data":{"info_date":"","info_section":[{"a":1}],"info_author":"","description":""},"metadata":{"marc_code":"zh","details_page":""}}"#;
    assert_eq!(message(&information, &document).unwrap(), expected);
    let full = doc! {
        "page_url": "p", "marc_code": Bson::Null, "description": Bson::Null, "info_author": "王", "unknown": 1,
        "info_date": "来源：报 日期 2024-01-02", "link_data": [{"at": DateTime::from_millis(0)}], "column_info": Bson::Null,
        "create_time": DateTime::from_millis(1_769_900_160_120), "info_name": Bson::Null,
        "_id": ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap(),
    };
    let expected = r#"{"uid":"65f0c0ffee0123456789abcd","topic":"t","name":"","created_at":"2026-01-31 22:56:00.120000","data_type":"information_nsfc","tag_values":"[]","link_data":[{"at":"1970-01-01T00:00:00.000Z"}],"data":{"info_date":"报2024-01-02","info_section":[],"info_author":"王","description":null},"metadata":{"marc_code":"zh","details_page":"p"}}"#;
    assert_eq!(message(&information, &full).unwrap(), expected);
    let refused = |document| message(&information, &document).unwrap_err();
    assert_eq!(refused(doc! {}), "_id: The field is missing");
    assert_eq!(refused(doc! {"_id": 1, "link_data": "x"}), "link_data: It is a text where an array is due");
    assert_eq!(refused(doc! {"_id": [1]}), "_id: It is an array where a text is due");
}

#[test]
fn a_text_is_what_python_says() {
    let fields = mapping(&json!([{"name": "a", "path": "a", "form": "text"}]));
    let of = |value: Bson| message(&fields, &doc! {"a": value});
    let said = |value: Bson| of(value).unwrap()[6..].strip_suffix("\"}").unwrap().to_owned();
    assert_eq!(said(5.into()), "5");
    assert_eq!(said((-5_i64).into()), "-5");
    assert_eq!(said(1.0.into()), "1.0");
    assert_eq!(said(1e16.into()), "1e+16");
    assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|number| said(number.into())), ["nan", "inf", "-inf"]);
    assert_eq!([true, false].map(|value| said(value.into())), ["True", "False"]);
    assert_eq!(said(Bson::Decimal128("1E+3".parse().unwrap())), "1E+3");
    assert_eq!(said(DateTime::from_millis(-62_135_596_800_000).into()), "0001-01-01 00:00:00");
    assert_eq!(said("a\"b".into()), r#"a\"b"#);
    let refused = [Bson::Undefined, Bson::Null, Bson::MinKey, doc! {}.into(), DateTime::from_millis(i64::MAX).into()];
    for value in refused {
        assert!(of(value.clone()).is_err(), "{value:?}");
    }
}

#[test]
fn what_is_missing_or_null_is_as_the_mapping_says() {
    let of = |settings: Value, document: Document| {
        let mut field = json!({"name": "x", "path": "a.b"});
        field.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        message(&mapping(&json!([field])), &document)
    };
    let (gone, null) = (|| doc! {"a": {}}, || doc! {"a": {"b": Bson::Null}});
    assert_eq!(of(json!({}), gone()).unwrap_err(), "a.b: The field is missing");
    assert_eq!(of(json!({}), doc! {"a": 5}).unwrap_err(), "a.b: The field is missing");
    assert_eq!(of(json!({}), null()).unwrap_err(), "a.b: The field is null");
    assert_eq!(of(json!({"required": false}), gone()).unwrap(), r#"{"x":null}"#);
    assert_eq!(of(json!({"required": false}), null()).unwrap(), r#"{"x":null}"#);
    assert_eq!(of(json!({"nullable": true}), null()).unwrap(), r#"{"x":null}"#);
    assert!(of(json!({"nullable": true}), gone()).is_err());
    assert_eq!(of(json!({"default": {"k": 1.5}}), gone()).unwrap(), r#"{"x":{"k":1.5}}"#);
    assert_eq!(of(json!({"default": 7}), null()).unwrap(), r#"{"x":7}"#);
    assert_eq!(of(json!({"default": 7, "nullable": true}), null()).unwrap(), r#"{"x":null}"#);
    let dumped = of(json!({"default": {"ü": [1, 1e16]}, "form": "json-text"}), gone()).unwrap();
    assert_eq!(dumped, r#"{"x":"{\"\\u00fc\": [1, 1e+16]}"}"#);
}

#[test]
fn objects_stand_in_the_order_in_which_they_are_named() {
    let mapping = mapping(&json!([
        {"name": "a.x", "path": "x"}, {"name": "b", "variable": "collection"}, {"name": "a.y.z", "constant": [1, null]},
        {"name": "c\"", "path": "x", "form": "json-text"}, {"name": "a.t", "variable": "data_type"},
    ]));
    let made = message(&mapping, &doc! {"x": {"k": "é"}}).unwrap();
    assert_eq!(made, r#"{"a":{"x":{"k":"é"},"y":{"z":[1,null]},"t":"d"},"b":"c","c\"":"{\"k\": \"\\u00e9\"}"}"#);
}

#[test]
fn a_mapping_that_contradicts_itself_is_refused() {
    let path = |name: &str| json!({"name": name, "path": "p"});
    let cases = [
        (json!([]), "The mapping has no fields"),
        (json!([path("a"), path("a")]), "The mapping has the name \"a\" twice"),
        (json!([path("a.b"), path("a.b")]), "The mapping has the name \"a.b\" twice"),
        (json!([path("a.b.c"), path("a.b")]), "The mapping has \"a.b\" both as a value and as an object"),
        (json!([path("a.b"), path("a.b.c")]), "The mapping has \"a.b\" both as a value and as an object"),
        (json!([path("a.")]), "The mapping has the name \"a.\", a part of which is empty"),
        (json!([{"name": "a"}]), "The field \"a\" of the mapping must have one of path, constant and variable"),
        (
            json!([{"name": "a", "path": "p", "constant": 1}]),
            "The field \"a\" of the mapping must have one of path, constant and variable",
        ),
        (
            json!([{"name": "a", "constant": 1, "nullable": true}]),
            "The field \"a\" of the mapping has no path: default, nullable, required, form and remove are of no use",
        ),
        (
            json!([{"name": "a", "path": "p", "remove": ["x"]}]),
            "The field \"a\" of the mapping has remove, which the form text alone has",
        ),
        (
            json!([{"name": "a", "path": "p", "form": "text", "remove": [""]}]),
            "The field \"a\" of the mapping removes an empty text",
        ),
        (
            json!([{"name": "a", "path": "p", "form": "list", "default": {}}]),
            "The field \"a\" of the mapping has the default {}, which has not its form",
        ),
        (json!([{"name": "a", "path": "p..q"}]), "The path \"p..q\" has an empty step"),
    ];
    for (fields, expected) in cases {
        assert_eq!(try_mapping(&fields).map(drop).unwrap_err(), expected);
    }
    let unknown = |fields: Value| try_mapping(&fields).map(drop).unwrap_err();
    assert!(unknown(json!([{"name": "a", "variable": "host"}])).contains("`data_type`"));
    assert!(unknown(json!([{"name": "a", "paht": "p"}])).contains("unknown field `paht`"));
}

#[test]
fn a_data_type_is_a_model_or_a_mapping_and_says_what_is_wrong_with_it() {
    let read = |value: Value| serde_json::from_value::<DataType>(value).map_err(|error| error.to_string());
    assert_eq!(read(json!("app.models:News")), Ok(DataType::Model("app.models:News".to_owned())));
    let DataType::Mapping(mapping) = read(json!({"fields": [{"name": "a", "path": "p"}]})).unwrap() else {
        panic!("It is a mapping")
    };
    assert!(mapping.fields[0].required && !mapping.fields[0].nullable);
    assert!(read(json!({"fields": [{"name": "a", "paht": "p"}]})).unwrap_err().contains("unknown field `paht`"));
    assert!(read(json!(5)).unwrap_err().contains("a mapping or the text"));
}

fn leaf() -> impl Strategy<Value = Bson> {
    let decimal = (any::<i64>(), -40..40).prop_map(|(digits, power)| format!("{digits}E{power}").parse().unwrap());
    let binary = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(subtype, bytes)| Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes }));
    let stamp = (any::<u32>(), any::<u32>()).prop_map(|(time, increment)| Timestamp { time, increment }.into());
    let regular = ("[^\0]{0,8}", "i?l?m?s?u?x?").prop_map(|(text, options)| regex(&text, &options));
    let pointer = ("[^\0]{0,8}", any::<[u8; 12]>()).prop_map(|(name, id)| {
        extended(&json!({"$dbPointer": {"$ref": name, "$id": {"$oid": ObjectId::from_bytes(id).to_hex()}}}))
    });
    let scope = (".{0,8}", any::<i32>())
        .prop_map(|(code, x)| JavaScriptCodeWithScope { code, scope: doc! {"x": x, "y": {"z": "z"}} }.into());
    prop_oneof![
        any::<i32>().prop_map(Bson::from),
        any::<i64>().prop_map(Bson::from),
        (-1e15..1e15f64).prop_map(Bson::from),
        prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]).prop_map(Bson::from),
        ".{0,40}".prop_map(Bson::from),
        "[\\x00-\\x7f\"\\\\]{0,40}".prop_map(Bson::from),
        any::<bool>().prop_map(Bson::from),
        any::<[u8; 12]>().prop_map(|id| ObjectId::from_bytes(id).into()),
        (-99_999_999_999_999..999_999_999_999_999_i64).prop_map(|millis| DateTime::from_millis(millis).into()),
        any::<i64>().prop_map(|millis| DateTime::from_millis(millis).into()),
        decimal.prop_map(Bson::Decimal128),
        ".{0,8}".prop_map(Bson::JavaScriptCode),
        ".{0,8}".prop_map(Bson::Symbol),
        regular,
        prop::sample::select(vec![Bson::Null, Bson::Undefined, Bson::MinKey, Bson::MaxKey]),
        binary,
        stamp,
        pointer,
        scope,
    ]
}

fn document() -> impl Strategy<Value = Document> {
    let object = |inner: BoxedStrategy<Bson>| {
        prop::collection::vec(("[^\0$]{0,12}", inner), 0..6).prop_map(|fields| fields.into_iter().collect::<Document>())
    };
    let value = leaf().prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            object(inner.clone().boxed()).prop_map(Bson::from),
            prop::collection::vec(inner, 0..6).prop_map(Bson::from),
        ]
    });
    object(value.boxed())
}

/// Extended JSON by the specification's tables, from a value that has been built.
fn by_the_tables(value: &Bson, form: Form) -> Value {
    let is_canonical = form == Form::Canonical;
    match value {
        Bson::Document(document) => {
            document.iter().map(|(name, value)| (name.clone(), by_the_tables(value, form))).collect()
        }
        Bson::Array(values) => values.iter().map(|value| by_the_tables(value, form)).collect(),
        Bson::Int32(number) if is_canonical => json!({"$numberInt": number.to_string()}),
        Bson::Int64(number) if is_canonical => json!({"$numberLong": number.to_string()}),
        Bson::Double(number) if number.is_nan() => json!({"$numberDouble": "NaN"}),
        Bson::Double(number) if number.is_infinite() => {
            json!({"$numberDouble": if *number > 0.0 { "Infinity" } else { "-Infinity" }})
        }
        Bson::Double(number) if is_canonical => json!({"$numberDouble": json!(number).to_string()}),
        Bson::Int32(number) => json!(number),
        Bson::Int64(number) => json!(number),
        Bson::Double(number) => json!(number),
        Bson::String(text) => json!(text),
        Bson::Boolean(value) => json!(value),
        Bson::Null => Value::Null,
        Bson::DateTime(date) if !is_canonical && (0..253_402_300_800_000).contains(&date.timestamp_millis()) => {
            let time = chrono::DateTime::from_timestamp_millis(date.timestamp_millis()).unwrap();
            json!({"$date": time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)})
        }
        Bson::DateTime(date) => json!({"$date": {"$numberLong": date.timestamp_millis().to_string()}}),
        Bson::JavaScriptCodeWithScope(code) => {
            json!({"$code": code.code, "$scope": by_the_tables(&code.scope.clone().into(), form)})
        }
        Bson::JavaScriptCode(code) => json!({"$code": code}),
        Bson::Symbol(symbol) => json!({"$symbol": symbol}),
        Bson::ObjectId(id) => json!({"$oid": id.to_hex()}),
        Bson::Timestamp(stamp) => json!({"$timestamp": {"t": stamp.time, "i": stamp.increment}}),
        Bson::Decimal128(decimal) => json!({"$numberDecimal": decimal.to_string()}),
        Bson::RegularExpression(regex) => json!({"$regularExpression": {
            "pattern": regex.pattern.as_str(), "options": regex.options.as_str()}}),
        Bson::Binary(binary) => {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(&binary.bytes);
            json!({"$binary": {"base64": text, "subType": format!("{:02x}", u8::from(binary.subtype))}})
        }
        Bson::Undefined => json!({"$undefined": true}),
        Bson::MinKey => json!({"$minKey": 1}),
        Bson::MaxKey => json!({"$maxKey": 1}),
        // Its parts are the crate's own.
        Bson::DbPointer(_) => {
            let bytes = bytes(&doc! {"a": value.clone()});
            canonical(find(&bytes, &Path::new("a").unwrap()).unwrap().unwrap())
        }
    }
}

proptest! {
    #[test]
    fn extended_json_is_the_specifications(document in document()) {
        for form in [Form::Canonical, Form::Relaxed] {
            let expected = by_the_tables(&document.clone().into(), form).to_string();
            prop_assert_eq!(text(&bytes(&document), form).unwrap(), expected);
        }
    }

    #[test]
    fn canonical_json_reads_as_the_same_bytes(document in document()) {
        let canonical = text(&bytes(&document), Form::Canonical).unwrap();
        let Bson::Document(back) = extended(&serde_json::from_str(&canonical).unwrap()) else {
            panic!("{canonical} is a document")
        };
        prop_assert_eq!(bytes(&back), bytes(&document));
    }

    #[test]
    fn every_double_reads_as_itself(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let [canonical, relaxed, plain] = in_all_forms(number);
        prop_assert_eq!(relaxed.parse::<f64>().unwrap().to_bits(), bits);
        prop_assert_eq!(&plain, &relaxed);
        prop_assert_eq!(canonical, format!(r#"{{"$numberDouble":"{relaxed}"}}"#));
    }

    #[test]
    fn decimals_are_written_by_the_specification(bytes in any::<[u8; 16]>(), digits in any::<i64>(), power in -50..50) {
        let near: bson::Decimal128 = format!("{digits}E{power}").parse().unwrap();
        for decimal in [bson::Decimal128::from_bytes(bytes), near] {
            prop_assert_eq!(&in_all_forms(Bson::Decimal128(decimal))[2], &format!("\"{decimal}\""));
        }
    }

    #[test]
    fn the_plain_form_is_json_and_its_dump_the_same_in_ascii(document in document()) {
        let plain: Value = serde_json::from_str(&text(&bytes(&document), Form::Plain).unwrap()).unwrap();
        let mapping = mapping(&json!([{"name": "x", "path": "a"}, {"name": "y", "path": "a", "form": "json-text"}]));
        let made: Value = serde_json::from_str(&message(&mapping, &doc! {"a": document}).unwrap()).unwrap();
        let dump = made["y"].as_str().unwrap();
        prop_assert!(dump.is_ascii());
        prop_assert_eq!(&serde_json::from_str::<Value>(dump).unwrap(), &plain);
        prop_assert_eq!(&made["x"], &plain);
    }

    #[test]
    fn no_bytes_break_the_reader(
        document in document(),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut near = bytes(&doc! {"_id": 1, "a": document});
        for (at, byte) in wrong {
            let at = at.index(near.len());
            near[at] = byte;
        }
        if is_cut {
            near.truncate(cut.index(near.len()));
            if let Some(length) = near.first_chunk_mut() {
                *length = u32::try_from(cut.index(1000)).unwrap().to_le_bytes();
            }
        }
        for form in FORMS {
            if let Ok(text) = text(&near, form) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            }
        }
        let _ = key(&near);
        for path in ["a.b", "a.0.1", "b"] {
            let _ = find(&near, &Path::new(path).unwrap());
        }
        let dump = mapping(&json!([{"name": "y", "path": "a.0", "form": "text"}, {"name": "z", "path": "a"}]));
        let _ = dump.write(&near, &mut Vec::new());
    }

    #[test]
    fn no_value_breaks_its_reader(kind in any::<u8>(), value in prop::collection::vec(any::<u8>(), 0..24)) {
        let raw = Raw { kind, bytes: &value };
        let _ = write_value(raw, Form::Canonical, &mut Vec::new());
        let _ = key_of(raw);
    }
}
