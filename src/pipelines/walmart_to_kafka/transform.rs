//! An order to a message.

use std::io::Write as _;

use crate::walmart::Order;

/// The order as the API sent it, with the time when it was asked for.
pub(super) fn message(order: &Order) -> Vec<u8> {
    let json = order.json.trim_ascii_end();
    let open = json.strip_suffix(b"}").unwrap_or(json).trim_ascii_end();
    let comma = if open.ends_with(b"{") { "" } else { "," };
    let mut message = Vec::with_capacity(open.len() + 48);
    message.extend_from_slice(open);
    let time = order.asked_at.format("%Y-%m-%d %H:%M:%S");
    let _ = write!(message, "{comma}\"request_time\":\"{time}\"}}");
    message
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;

    fn sent(json: &'static str) -> String {
        let asked_at = DateTime::parse_from_rfc3339("2025-11-21T10:00:00.9Z").unwrap().to_utc();
        let json = Bytes::from_static(json.as_bytes());
        String::from_utf8(message(&Order { id: "1".to_owned(), date: None, asked_at, json })).unwrap()
    }

    #[test]
    fn the_time_comes_last_and_nothing_else_changes() {
        assert_eq!(
            sent(r#"{"purchaseOrderId":"1", "amount": 0.10, "x":{"y":[1e2]}}"#),
            r#"{"purchaseOrderId":"1", "amount": 0.10, "x":{"y":[1e2]},"request_time":"2025-11-21 10:00:00"}"#
        );
        assert_eq!(sent("{\"a\":1\n}"), r#"{"a":1,"request_time":"2025-11-21 10:00:00"}"#);
        assert_eq!(sent("{ }"), r#"{"request_time":"2025-11-21 10:00:00"}"#);
    }
}
