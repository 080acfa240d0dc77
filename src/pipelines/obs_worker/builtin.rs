//! Parsers that need no Python: facts of the file, CSV to JSON with a summary, JSON and JSON lines to plain JSON.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Utc;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::transform::{size_text, time_text};
use crate::decode::charset::Charset;
use crate::decode::csv::{Dialect, Rows, Splitter};
use crate::decode::json::quote_into;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Facts,
    Csv,
    Json,
    JsonLines,
}

const PIECE: usize = 512 * 1024;

/// A row, or a JSON text, of more bytes than this is refused.
const LONGEST: usize = 64 * 1024 * 1024;

type Outcome<T> = Result<T, String>;

impl Builtin {
    /// `None` for a parser of the user's.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Facts,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "jsonl" => Self::JsonLines,
            _ => return None,
        })
    }

    /// Reads `input`, writes `output`; ends early when `is_over`.
    pub(super) fn parse(self, key: &str, input: &Path, output: &Path, is_over: &AtomicBool) -> Outcome<()> {
        let disk = |error: std::io::Error| error.to_string();
        let mut out = BufWriter::new(File::create(output).map_err(disk)?);
        match self {
            Self::Facts => facts(key, input, &mut out)?,
            Self::Csv => csv(input, &mut out, is_over)?,
            Self::Json => json_text(input, &mut out)?,
            Self::JsonLines => json_lines(input, &mut out, is_over)?,
        }
        out.flush().map_err(disk)
    }
}

fn facts(key: &str, input: &Path, out: &mut impl Write) -> Outcome<()> {
    let size = std::fs::metadata(input).map_err(|error| error.to_string())?.len();
    let facts = json!({
        "input_file": key,
        "size_bytes": size,
        "size_formatted": size_text(size),
        "processed_at": time_text(Utc::now()),
        "parser": "default",
    });
    write!(out, "{facts}").map_err(|error| error.to_string())
}

/// Of the numbers of a column; text has only its count.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    empty: u64,
    numbers: u64,
    mean: f64,
    /// Sum of squared distances from the mean, after Welford.
    spread: f64,
    min: f64,
    max: f64,
}

impl Summary {
    #[allow(clippy::cast_precision_loss, reason = "a mean of counts")]
    fn add(&mut self, cell: &str) {
        if cell.is_empty() {
            self.empty += 1;
            return;
        }
        self.count += 1;
        let Some(number) = cell.trim().parse::<f64>().ok().filter(|number| number.is_finite()) else { return };
        self.numbers += 1;
        let distance = number - self.mean;
        self.mean += distance / self.numbers as f64;
        self.spread += distance * (number - self.mean);
        self.min = if self.numbers == 1 { number } else { self.min.min(number) };
        self.max = if self.numbers == 1 { number } else { self.max.max(number) };
    }

    #[allow(clippy::cast_precision_loss, reason = "a deviation of counts")]
    fn to_json(&self) -> Value {
        let mut summary =
            Map::from_iter([("count".to_owned(), json!(self.count)), ("empty".to_owned(), json!(self.empty))]);
        if self.numbers > 0 && self.numbers == self.count {
            let deviation = (self.numbers > 1).then(|| (self.spread / (self.numbers - 1) as f64).sqrt());
            for (name, value) in [
                ("mean", json!(self.mean)),
                ("std", json!(deviation)),
                ("min", json!(self.min)),
                ("max", json!(self.max)),
            ] {
                summary.insert(name.to_owned(), value);
            }
        }
        Value::Object(summary)
    }
}

/// `{"columns": […], "rows": [{…}, …], "total_rows": n, "summary": {column: {…}}}`; all cells are text.
fn csv(input: &Path, out: &mut impl Write, is_over: &AtomicBool) -> Outcome<()> {
    let disk = |error: std::io::Error| error.to_string();
    let mut file = File::open(input).map_err(disk)?;
    let mut splitter = Splitter::new(Dialect { delimiter: b',', quote: b'"' }, 0, 1, LONGEST);
    let mut piece = Vec::with_capacity(PIECE);
    let mut columns: Option<Columns> = None;
    let (mut total, mut is_first_piece) = (0, true);
    loop {
        if is_over.load(Ordering::Relaxed) {
            return Err("The time was over".to_owned());
        }
        piece.clear();
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece).map_err(disk)?;
        let is_last = read < PIECE;
        let bytes = if is_first_piece { piece.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&piece) } else { &piece };
        is_first_piece = false;
        let charset = columns.as_ref().map(|columns| columns.charset);
        let charset = charset.unwrap_or_else(|| charset_of(bytes));
        let rows = splitter.split(bytes, is_last);
        total += write_rows(&rows, &mut columns, charset, &mut splitter, out)?;
        if is_last {
            break;
        }
    }
    let Some(columns) = columns else {
        return out.write_all(b"{\"columns\":[],\"rows\":[],\"total_rows\":0,\"summary\":{}}").map_err(disk);
    };
    let summary: Map<String, Value> =
        columns.names.iter().zip(&columns.summaries).map(|(name, summary)| (name.clone(), summary.to_json())).collect();
    write!(out, "],\"total_rows\":{total},\"summary\":{}}}", Value::Object(summary)).map_err(disk)
}

struct Columns {
    names: Vec<String>,
    /// As they stand in a row: quoted, with what comes before them.
    quoted: Vec<Vec<u8>>,
    summaries: Vec<Summary>,
    charset: Charset,
}

fn charset_of(bytes: &[u8]) -> Charset {
    // A letter may be cut in two at the end of a piece.
    let is_utf8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    if is_utf8 { Charset::Utf8 } else { Charset::Latin1 }
}

fn write_rows(
    rows: &Rows,
    columns: &mut Option<Columns>,
    charset: Charset,
    splitter: &mut Splitter,
    out: &mut impl Write,
) -> Outcome<u64> {
    let mut line = Vec::new();
    let mut total = 0;
    for row in rows.iter() {
        if let Some(problem) = row.problem {
            return Err(format!("Line {} cannot be read: {problem:?}", row.line));
        }
        let cell = |bytes| charset.decode(bytes).map_or_else(|| String::from_utf8_lossy(bytes), Into::into);
        let cells = rows.fields(row).map(cell);
        let Some(columns) = columns.as_mut() else {
            let names: Vec<String> = cells.map(Into::into).collect();
            let quoted = names.iter().enumerate().map(|(at, name)| {
                let mut quoted = if at == 0 { b"{".to_vec() } else { b",".to_vec() };
                quote_into(&mut quoted, name, false);
                quoted.push(b':');
                quoted
            });
            splitter.expect_width(names.len());
            write!(out, "{{\"columns\":{},\"rows\":[", json!(names)).map_err(|error| error.to_string())?;
            let summaries = names.iter().map(|_| Summary::default()).collect();
            *columns = Some(Columns { quoted: quoted.collect(), names, summaries, charset });
            continue;
        };
        if cells.len() != columns.names.len() {
            return Err(format!("Line {} has {} cells, the header {}", row.line, cells.len(), columns.names.len()));
        }
        if columns.summaries.first().is_some_and(|first| first.count + first.empty > 0) {
            line.push(b',');
        }
        for (at, cell) in cells.enumerate() {
            line.extend_from_slice(&columns.quoted[at]);
            quote_into(&mut line, &cell, false);
            columns.summaries[at].add(&cell);
        }
        line.push(b'}');
        total += 1;
        out.write_all(&line).map_err(|error| error.to_string())?;
        line.clear();
    }
    Ok(total)
}

/// One JSON text, checked and without its blanks; numbers keep their text.
fn json_text(input: &Path, out: &mut impl Write) -> Outcome<()> {
    let text = std::fs::read(input).map_err(|error| error.to_string())?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let value: &RawValue = serde_json::from_slice(text).map_err(|error| format!("The file is not JSON: {error}"))?;
    write_dense(value.get(), out).map_err(|error| error.to_string())
}

/// A JSON text a line, as one array.
fn json_lines(input: &Path, out: &mut impl Write, is_over: &AtomicBool) -> Outcome<()> {
    let disk = |error: std::io::Error| error.to_string();
    let mut lines = BufReader::new(File::open(input).map_err(disk)?);
    let (mut line, mut number, mut is_first) = (Vec::new(), 0u64, true);
    out.write_all(b"[").map_err(disk)?;
    loop {
        line.clear();
        let read = (&mut lines).take(LONGEST as u64).read_until(b'\n', &mut line).map_err(disk)?;
        if read == 0 {
            break;
        }
        number += 1;
        let text = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if is_over.load(Ordering::Relaxed) {
            return Err("The time was over".to_owned());
        }
        let value: &RawValue =
            serde_json::from_slice(text).map_err(|error| format!("Line {number} is not JSON: {error}"))?;
        if !std::mem::take(&mut is_first) {
            out.write_all(b",").map_err(disk)?;
        }
        write_dense(value.get(), out).map_err(disk)?;
    }
    out.write_all(b"]").map_err(disk)
}

/// JSON that is known to be well-formed, without the blanks between its parts.
fn write_dense(text: &str, out: &mut impl Write) -> std::io::Result<()> {
    let bytes = text.as_bytes();
    let (mut start, mut is_text, mut is_escaped) = (0, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        if is_text {
            if is_escaped {
                is_escaped = false;
            } else {
                is_escaped = *byte == b'\\';
                is_text = *byte != b'"';
            }
        } else if byte.is_ascii_whitespace() {
            out.write_all(&bytes[start..at])?;
            start = at + 1;
        } else {
            is_text = *byte == b'"';
        }
    }
    out.write_all(&bytes[start..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(parser: Builtin, input: &[u8]) -> Outcome<String> {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::write(&from, input).unwrap();
        parser.parse("a/in", &from, &to, &AtomicBool::new(false))?;
        Ok(std::fs::read_to_string(to).unwrap())
    }

    #[test]
    fn csv_gives_rows_and_a_summary() {
        let found: Value = serde_json::from_str(&run(Builtin::Csv, b"id,name\n1,\"a,b\"\n3,\xe9\n").unwrap()).unwrap();
        assert_eq!(found["columns"], json!(["id", "name"]));
        assert_eq!(found["rows"], json!([{"id": "1", "name": "a,b"}, {"id": "3", "name": "\u{e9}"}]));
        assert_eq!(found["total_rows"], json!(2));
        assert_eq!(found["summary"]["id"]["mean"], json!(2.0));
        assert_eq!(found["summary"]["name"], json!({"count": 2, "empty": 0}));
    }

    #[test]
    fn what_is_broken_is_refused_with_its_line() {
        assert!(run(Builtin::Csv, b"a,b\n1,2\n3\n").unwrap_err().starts_with("Line 3 has 1 cells"));
        assert!(run(Builtin::Json, b"{\"a\": }").unwrap_err().starts_with("The file is not JSON"));
        assert!(run(Builtin::JsonLines, b"1\n{\n").unwrap_err().starts_with("Line 2 is not JSON"));
    }

    #[test]
    fn empty_files_give_empty_results() {
        assert_eq!(run(Builtin::JsonLines, b"").unwrap(), "[]");
        let csv: Value = serde_json::from_str(&run(Builtin::Csv, b"").unwrap()).unwrap();
        assert_eq!(csv["total_rows"], json!(0));
        assert!(run(Builtin::Facts, b"").unwrap().contains("\"size_formatted\":\"0 B\""));
    }

    proptest! {
        #[test]
        fn json_keeps_its_values(text in ".{0,40}", number in any::<f64>(), list in prop::collection::vec(any::<i64>(), 0..9)) {
            let value = json!({"te xt": text, "number": number, "list": list, "more": [{"a": "\\\" {"}]});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(run(Builtin::Json, pretty.as_bytes()).unwrap(), value.to_string());
            let lines = format!("{value}\n\n{value}\n");
            prop_assert_eq!(run(Builtin::JsonLines, lines.as_bytes()).unwrap(), format!("[{value},{value}]"));
        }
    }
}
