//! The splitter says what a plain CSV reader says, however the file is cut into pieces.

use pipeline_core::decode::csv::{Dialect, Problem, Rows, Splitter};
use proptest::prelude::*;

const DIALECT: Dialect = Dialect { delimiter: b',', quote: b'"' };

type Table = Vec<Vec<Vec<u8>>>;

/// Line, first byte, end, problem.
type Places = Vec<(u64, u64, u64, Option<Problem>)>;

fn split(bytes: &[u8], pieces: &[usize], width: Option<usize>) -> (Table, Places) {
    let mut splitter = Splitter::new(DIALECT, 0, 1, 1 << 20);
    if let Some(width) = width {
        splitter.expect_width(width);
    }
    let (mut table, mut places) = (Table::new(), Vec::new());
    let mut take = |rows: Rows| {
        for row in rows.iter() {
            table.push(rows.fields(row).map(<[u8]>::to_vec).collect());
            places.push((row.line, row.start, row.end, row.problem));
        }
    };
    let mut rest = bytes;
    for size in pieces {
        let (piece, tail) = rest.split_at(*size.min(&rest.len()));
        take(splitter.split(piece, false));
        rest = tail;
    }
    take(splitter.split(rest, false));
    take(splitter.split(b"", true));
    (table, places)
}

fn quoted(table: &[Vec<String>], ending: &str) -> String {
    let cell = |cell: &String| {
        if cell.contains(['"', ',', '\n', '\r']) || cell.is_empty() {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    table.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(",") + ending).collect()
}

fn tables() -> impl Strategy<Value = Vec<Vec<String>>> {
    (1..5usize)
        .prop_flat_map(|width| prop::collection::vec(prop::collection::vec("[a-z\u{e1},\"\n\r ]{0,6}", width), 1..12))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_table_comes_back_as_it_was(
        table in tables(), pieces in prop::collection::vec(1..20usize, 0..30), crlf in any::<bool>(),
    ) {
        let text = quoted(&table, if crlf { "\r\n" } else { "\n" });
        let (found, places) = split(text.as_bytes(), &pieces, Some(table[0].len()));
        let expected: Table = table.iter().map(|row| row.iter().map(|cell| cell.as_bytes().to_vec()).collect()).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(places.windows(2).all(|pair| pair[0].2 == pair[1].1));
        prop_assert_eq!(places.last().unwrap().2, text.len() as u64);
    }

    #[test]
    fn any_bytes_are_accounted_for_and_pieces_make_no_difference(
        bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(0u8), Just(0xe1u8)], 0..120),
        pieces in prop::collection::vec(1..9usize, 0..40),
    ) {
        let whole = split(&bytes, &[], Some(2));
        prop_assert_eq!(&split(&bytes, &pieces, Some(2)), &whole);
        let accounted: u64 = whole.1.iter().map(|(_, start, end, _)| end - start).sum();
        let blank = bytes.iter().filter(|byte| b"\r\n".contains(byte)).count() as u64;
        prop_assert!(accounted + blank >= bytes.len() as u64, "{} of {} bytes", accounted, bytes.len());
    }
}

#[test]
fn a_stray_quote_costs_one_line() {
    let text = b"a,b\n1,\"open\n2,two\n3,three\n";
    let (table, places) = split(text, &[], Some(2));
    assert_eq!(places[1], (2, 4, 12, Some(Problem::OpenQuote)));
    assert_eq!(table[2], [b"2".to_vec(), b"two".to_vec()]);
    assert_eq!(table[3], [b"3".to_vec(), b"three".to_vec()]);
}

#[test]
fn lines_are_counted_over_quoted_line_breaks() {
    let (_, places) = split(b"a,b\n\"x\ny\",2\n3,4\n", &[], Some(2));
    assert_eq!(places.iter().map(|place| place.0).collect::<Vec<_>>(), [1, 2, 4]);
}

#[test]
fn a_line_longer_than_the_limit_is_given_up_and_the_next_is_sound() {
    let mut splitter = Splitter::new(DIALECT, 0, 1, 10);
    let mut problems = Vec::new();
    for piece in [b"aaaaaaaa".as_slice(), b"aaaaaaaa", b"aa\nb,c\n"] {
        let rows = splitter.split(piece, false);
        problems.extend(rows.iter().map(|row| (row.problem, rows.raw(row).to_vec())));
    }
    assert!(problems.iter().rev().skip(1).all(|(problem, _)| *problem == Some(Problem::TooLong)));
    assert_eq!(problems.last().unwrap(), &(None, b"b,c".to_vec()));
    assert_eq!(problems.iter().map(|(_, raw)| raw.len()).sum::<usize>(), 18 + 3);
}
