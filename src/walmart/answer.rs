//! A page of orders as the API sends it, taken apart without a change to a byte of an order.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::Flaw;
use super::said::Said;

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its `purchaseOrderId`.
    pub id: String,
    /// Its `orderDate`, milliseconds since 1970.
    pub date: Option<i64>,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// As the API sent it.
    pub json: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Page {
    /// How many orders the whole search has.
    pub(super) total: Option<u64>,
    /// A query string for the next page.
    pub(super) cursor: Option<String>,
    pub(super) orders: Vec<Order>,
    /// Orders without a `purchaseOrderId`.
    pub(super) nameless: usize,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    list: Option<List<'a>>,
    #[serde(borrow)]
    order: Option<&'a RawValue>,
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct List<'a> {
    meta: Option<Meta>,
    #[serde(borrow)]
    elements: Option<&'a RawValue>,
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    total_count: Value,
    next_cursor: Option<String>,
}

/// Reads a page. The orders share the body's memory.
pub(super) fn read_page(body: &Bytes, asked_at: DateTime<Utc>) -> Result<Page, Flaw> {
    let document: Document<'_> = parse(body)?;
    refuse_errors([&document.errors, &document.error])?;
    let list = document.list.ok_or_else(|| Flaw::Broken("it has no list".to_owned()))?;
    refuse_errors([&list.errors, &list.error])?;
    let mut page = Page::default();
    if let Some(meta) = list.meta {
        page.total = number(&meta.total_count).and_then(|total| u64::try_from(total).ok());
        page.cursor = meta.next_cursor.filter(|cursor| !cursor.trim().is_empty());
    }
    let found = match list.elements {
        Some(elements) if elements.get().starts_with('{') => within(elements)?,
        other => other,
    };
    for raw in found.map(one_or_many).transpose()?.unwrap_or_default() {
        match read_order(body, raw, asked_at) {
            Some(order) => page.orders.push(order),
            None => page.nameless += 1,
        }
    }
    Ok(page)
}

/// The orders of `elements`, which may themselves be the only one.
fn within(elements: &RawValue) -> Result<Option<&RawValue>, Flaw> {
    let fields: HashMap<String, &RawValue> = parse_raw(elements)?;
    Ok(match fields.get("order") {
        Some(orders) => Some(orders),
        None if fields.is_empty() => None,
        None => Some(elements),
    })
}

/// Reads the answer to a question for one order.
pub(super) fn read_single(body: &Bytes, asked_at: DateTime<Utc>) -> Result<Option<Order>, Flaw> {
    let document: Document<'_> = parse(body)?;
    refuse_errors([&document.errors, &document.error])?;
    if document.list.is_some() {
        return Ok(read_page(body, asked_at)?.orders.into_iter().next());
    }
    let raw = match document.order {
        Some(raw) => raw,
        None => parse(body)?,
    };
    let found = one_or_many(raw)?.into_iter().next().and_then(|raw| read_order(body, raw, asked_at));
    found.map(Some).ok_or_else(|| Flaw::Broken("it has no purchaseOrderId".to_owned()))
}

fn read_order(body: &Bytes, raw: &RawValue, asked_at: DateTime<Utc>) -> Option<Order> {
    // Of two fields of a name the last counts.
    let fields: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    let value = |name: &str| fields.get(name).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    let id = match value("purchaseOrderId")? {
        Value::String(id) => id.trim().to_owned(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    let date = value("orderDate").as_ref().and_then(number);
    (!id.is_empty()).then(|| Order { id, date, asked_at, json: body.slice_ref(raw.get().as_bytes()) })
}

/// A lone object stands for an array of one.
fn one_or_many(raw: &RawValue) -> Result<Vec<&RawValue>, Flaw> {
    match raw.get().as_bytes().first() {
        Some(b'[') => parse_raw(raw),
        Some(b'n') => Ok(Vec::new()),
        _ => Ok(vec![raw]),
    }
}

/// A whole number, or the text of one.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn refuse_errors<'a>(found: impl IntoIterator<Item = &'a Value>) -> Result<(), Flaw> {
    for errors in found {
        let is_there = match errors {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        };
        if is_there {
            let said = Said::within(&serde_json::json!({"errors": errors}));
            return Err(Flaw::Says(said));
        }
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Flaw> {
    serde_json::from_slice(body).map_err(|error| broken(&error))
}

fn parse_raw<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Flaw> {
    serde_json::from_str(raw.get()).map_err(|error| broken(&error))
}

/// Without the text around it, which may be somebody's address.
fn broken(error: &serde_json::Error) -> Flaw {
    let what = if error.is_eof() { "it has been cut off" } else { "it is not as the API describes it" };
    Flaw::Broken(format!("{what} (line {}, column {})", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Result<Page, Flaw> {
        read_page(&Bytes::copy_from_slice(body.as_bytes()), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn an_order_keeps_its_bytes() {
        let order =
            "{ \"purchaseOrderId\": \"17\",\n \"orderDate\":1763719200250, \"amount\": 0.10 , \"n\":\"\\u00f1\" }";
        let body =
            format!(r#"{{"list":{{"meta":{{"totalCount":"1","nextCursor":null}},"elements":{{"order":[{order}]}}}}}}"#);
        let page = page(&body).unwrap();
        assert_eq!((page.total, page.cursor), (Some(1), None));
        assert_eq!(page.orders[0].json, order.as_bytes());
        assert_eq!((page.orders[0].id.as_str(), page.orders[0].date), ("17", Some(1_763_719_200_250)));
    }

    #[test]
    fn elements_come_in_many_shapes() {
        for (elements, ids) in [
            (r#"[{"purchaseOrderId":"1"},{"purchaseOrderId":2}]"#, vec!["1", "2"]),
            (r#"{"order":{"purchaseOrderId":"1"}}"#, vec!["1"]),
            (r#"{"purchaseOrderId":"1","orderDate":5}"#, vec!["1"]),
            (r#"{"order":null}"#, vec![]),
            ("null", vec![]),
            ("{}", vec![]),
            (r#"{"order":[]}"#, vec![]),
            (r#"{"order":[{"purchaseOrderId":"1","x":{"purchaseOrderId":"3"},"purchaseOrderId":"2"}]}"#, vec!["2"]),
        ] {
            let page = page(&format!(r#"{{"list":{{"elements":{elements}}}}}"#)).unwrap();
            let found: Vec<_> = page.orders.iter().map(|order| order.id.as_str()).collect();
            assert_eq!(found, ids, "{elements}");
            assert_eq!(page.nameless, 0);
        }
    }

    #[test]
    fn an_order_without_a_name_is_counted() {
        let body = r#"{"list":{"elements":{"order":[{"a":1},null,{"purchaseOrderId":""},{"purchaseOrderId":null},{"purchaseOrderId":"1"}]}}}"#;
        let page = page(body).unwrap();
        assert_eq!((page.orders.len(), page.nameless), (1, 4));
    }

    #[test]
    fn what_is_no_page_is_said() {
        assert!(matches!(page(r#"{"list":{"meta":{"totalC"#), Err(Flaw::Broken(why)) if why.contains("cut off")));
        assert!(matches!(page("{}"), Err(Flaw::Broken(_))));
        assert!(matches!(page("<html>"), Err(Flaw::Broken(_))));
        let errors = r#"{"list":{"meta":{"totalCount":0},"elements":{"order":[]},"errors":{"error":[{"code":"X"}]}}}"#;
        assert!(matches!(page(errors), Err(Flaw::Says(said)) if said.has("X")));
        assert!(matches!(page(r#"{"errors":[{"code":"X"}]}"#), Err(Flaw::Says(said)) if said.has("X")));
        assert!(page(r#"{"list":{"elements":{"order":[]},"errors":null},"errors":[]}"#).is_ok());
    }

    #[test]
    fn one_order_is_read_in_and_out_of_its_envelope() {
        for body in [
            r#"{"order":{"purchaseOrderId":"1"}}"#,
            r#"{"purchaseOrderId":"1"}"#,
            r#"{"list":{"elements":{"order":[{"purchaseOrderId":"1"}]}}}"#,
        ] {
            let order = read_single(&Bytes::from_static(body.as_bytes()), DateTime::UNIX_EPOCH).unwrap().unwrap();
            assert_eq!(order.json, r#"{"purchaseOrderId":"1"}"#);
        }
    }
}
