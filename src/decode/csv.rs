//! CSV bytes to rows. A row that spans lines and does not fit the header gives up its first line only,
//! so that a stray quote costs one line and not the rest of the file.

use std::ops::Range;

use memchr::{memchr_iter, memchr3};

/// How fields are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub delimiter: u8,
    pub quote: u8,
}

/// A piece of the file, split into rows.
#[derive(Debug, Default)]
pub struct Rows {
    /// The bytes as read, then those of unquoted fields.
    bytes: Vec<u8>,
    fields: Vec<Range<u32>>,
    rows: Vec<Row>,
}

/// A row of [`Rows`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    fields: Range<u32>,
    raw: Range<u32>,
    /// Its first line in the file, counted from 1.
    pub line: u64,
    /// Position in the decompressed file just after the row.
    pub end: u64,
    /// Position in the decompressed file where it begins.
    pub start: u64,
    /// Why it cannot be read, if so.
    pub problem: Option<Problem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    OpenQuote,
    TooLong,
}

impl Rows {
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keeps the first rows only.
    pub fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
    }

    /// The fields of a row, unquoted, in the file's encoding.
    #[must_use]
    pub fn fields<'a>(&'a self, row: &Row) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let fields = &self.fields[row.fields.start as usize..row.fields.end as usize];
        fields.iter().map(|field| &self.bytes[field.start as usize..field.end as usize])
    }

    /// The row as it stands in the file, without its line ending.
    #[must_use]
    pub fn raw(&self, row: &Row) -> &[u8] {
        let raw = &self.bytes[row.raw.start as usize..row.raw.end as usize];
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        raw.strip_suffix(b"\r").unwrap_or(raw)
    }

    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.capacity()
            + self.fields.capacity() * size_of::<Range<u32>>()
            + self.rows.capacity() * size_of::<Row>()
    }
}

/// Splits a file that comes in pieces.
#[derive(Debug)]
pub struct Splitter {
    dialect: Dialect,
    reader: csv_core::Reader,
    /// How many fields a row should have; unknown until the header has been read.
    width: Option<usize>,
    longest: usize,
    /// In the middle of a line that is too long.
    is_skipping: bool,
    /// Bytes of a row whose end has not come yet.
    tail: Vec<u8>,
    position: u64,
    line: u64,
}

/// What `Splitter::row` made of the bytes at hand.
enum Step {
    /// So many bytes belong to the row.
    Row {
        used: usize,
        problem: Option<Problem>,
    },
    Blank {
        used: usize,
    },
    NeedsMore,
}

impl Splitter {
    /// `position` and `line` say where in the file the first piece begins; `longest` bounds a row's bytes.
    #[must_use]
    pub fn new(dialect: Dialect, position: u64, line: u64, longest: usize) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).quote(dialect.quote).build();
        Self { dialect, reader, width: None, longest, is_skipping: false, tail: Vec::new(), position, line }
    }

    /// Rows from now on should have so many fields.
    pub fn expect_width(&mut self, width: usize) {
        self.width = Some(width);
    }

    /// Splits the next piece; with `is_last`, whatever is left is a row too.
    pub fn split(&mut self, piece: &[u8], is_last: bool) -> Rows {
        let mut bytes = std::mem::take(&mut self.tail);
        bytes.extend_from_slice(piece);
        let raw_len = bytes.len();
        let mut rows = Rows { bytes, fields: Vec::new(), rows: Vec::new() };
        let mut at = 0;
        while at < raw_len {
            let first_field = rows.fields.len();
            match self.row(&mut rows, at..raw_len, is_last) {
                Step::NeedsMore => break,
                Step::Blank { used } => {
                    self.advance(&rows.bytes[at..at + used]);
                    at += used;
                }
                Step::Row { used, problem } => {
                    if problem.is_some() {
                        rows.fields.truncate(first_field);
                    }
                    let (start, line) = (self.position, self.line);
                    self.advance(&rows.bytes[at..at + used]);
                    rows.rows.push(Row {
                        fields: offset(first_field)..offset(rows.fields.len()),
                        raw: offset(at)..offset(at + used),
                        line,
                        end: self.position,
                        start,
                        problem,
                    });
                    at += used;
                }
            }
        }
        self.tail = rows.bytes[at..raw_len].to_vec();
        rows
    }

    fn advance(&mut self, used: &[u8]) {
        self.position += used.len() as u64;
        self.line += memchr_iter(b'\n', used).count() as u64;
    }

    fn row(&mut self, rows: &mut Rows, at: Range<usize>, is_last: bool) -> Step {
        let input = &rows.bytes[at.clone()];
        if self.is_skipping {
            let used = first_line(input);
            self.is_skipping = !input[..used].ends_with(b"\n");
            return Step::Row { used, problem: Some(Problem::TooLong) };
        }
        let (end, ending) = match memchr3(b'\n', b'\r', self.dialect.quote, input) {
            Some(end) if input[end] == b'\n' => (end, 1),
            Some(end) if input[end] == b'\r' && input.get(end + 1) == Some(&b'\n') => (end, 2),
            Some(end) if input[end] == b'\r' && end + 1 == input.len() && !is_last => {
                return self.needs_more(input.len());
            }
            Some(_) => return self.quoted_row(rows, at, is_last),
            None if is_last => (input.len(), 0),
            None => return self.needs_more(input.len()),
        };
        if end == 0 {
            return Step::Blank { used: ending };
        }
        let base = at.start;
        let mut from = base;
        for to in memchr_iter(self.dialect.delimiter, &input[..end]) {
            rows.fields.push(offset(from)..offset(base + to));
            from = base + to + 1;
        }
        rows.fields.push(offset(from)..offset(base + end));
        Step::Row { used: end + ending, problem: None }
    }

    fn needs_more(&mut self, held: usize) -> Step {
        if held <= self.longest {
            return Step::NeedsMore;
        }
        self.is_skipping = true;
        Step::Row { used: held, problem: Some(Problem::TooLong) }
    }

    fn quoted_row(&mut self, rows: &mut Rows, at: Range<usize>, is_last: bool) -> Step {
        let first_field = rows.fields.len();
        let unquoted = rows.bytes.len();
        let (mut output, mut ends) = (vec![0; (at.len()).min(4096)], vec![0; 64]);
        let (mut read, mut written, mut ended) = (0, 0, 0);
        self.reader.reset();
        let is_open = loop {
            let input = &rows.bytes[at.start + read..at.end];
            if input.is_empty() && !is_last {
                return self.unfinished(rows, at, first_field, unquoted);
            }
            let at_end = input.is_empty();
            let (result, used, out, fields) =
                self.reader.read_record(input, &mut output[written..], &mut ends[ended..]);
            read += used;
            written += out;
            ended += fields;
            match result {
                csv_core::ReadRecordResult::OutputFull => output.resize(output.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::Record => {
                    break at_end;
                }
                csv_core::ReadRecordResult::End => return Step::Blank { used: read },
            }
        };
        // The reader stops after `\r` of `\r\n`.
        if read == at.len() && !is_last && rows.bytes[at.end - 1] == b'\r' {
            return self.unfinished(rows, at, first_field, unquoted);
        }
        if rows.bytes.get(at.start + read - 1) == Some(&b'\r')
            && read < at.len()
            && rows.bytes[at.start + read] == b'\n'
        {
            read += 1;
        }
        let raw = &rows.bytes[at.start..at.start + read];
        let quotes = memchr_iter(self.dialect.quote, raw).count();
        if is_open && quotes % 2 == 1 {
            return Step::Row { used: first_line(raw), problem: Some(Problem::OpenQuote) };
        }
        let line = first_line(raw);
        if line < read && self.width.is_some_and(|width| width != ended) {
            return Step::Row { used: line, problem: Some(Problem::OpenQuote) };
        }
        let mut from = 0;
        for end in &ends[..ended] {
            rows.fields.push(offset(unquoted + from)..offset(unquoted + end));
            from = *end;
        }
        rows.bytes.extend_from_slice(&output[..written]);
        Step::Row { used: read, problem: None }
    }

    /// A quoted row whose end has not come: wait, unless it has grown past all bounds.
    fn unfinished(&self, rows: &mut Rows, at: Range<usize>, first_field: usize, unquoted: usize) -> Step {
        rows.fields.truncate(first_field);
        rows.bytes.truncate(unquoted);
        if at.len() <= self.longest {
            return Step::NeedsMore;
        }
        Step::Row { used: first_line(&rows.bytes[at]), problem: Some(Problem::OpenQuote) }
    }
}

fn first_line(raw: &[u8]) -> usize {
    memchr::memchr(b'\n', raw).map_or(raw.len(), |end| end + 1)
}

/// A position within a piece; pieces are far smaller than 4 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a piece of a file is smaller than 4 GiB")
}
