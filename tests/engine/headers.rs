//! Packed headers are the headers that were packed.

use pipeline_core::flow::Headers;
use proptest::prelude::*;

type Header = (String, Option<Vec<u8>>);

fn packed(headers: &[Header]) -> Headers {
    let mut packed = Headers::default();
    for (name, value) in headers {
        packed.push(name, value.as_deref());
    }
    packed
}

fn some_headers() -> impl Strategy<Value = Vec<Header>> {
    // Few names, so that one comes twice now and then.
    let name = prop_oneof!["[ab]", "\\PC{0,8}"];
    proptest::collection::vec((name, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))), 0..8)
}

proptest! {
    #[test]
    fn headers_come_back_as_they_were(headers in some_headers()) {
        let packed = packed(&headers);
        let back: Vec<Header> =
            packed.iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
        prop_assert_eq!(&back, &headers);
        prop_assert_eq!(packed.is_empty(), headers.is_empty());
        prop_assert_eq!(Headers::packed(packed.bytes()).to_owned(), packed.clone());
        for (name, _) in &headers {
            let last = headers.iter().rfind(|(other, _)| other == name).and_then(|(_, value)| value.as_deref());
            prop_assert_eq!(packed.get(name), last);
        }
    }

    #[test]
    fn what_was_never_packed_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let count = Headers::packed(bytes.as_slice()).iter().count();
        prop_assert!(count <= bytes.len());
    }
}
