//! One CSV file as a source: packs of rows, and the position after each.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use xxhash_rust::xxh3::xxh3_64;

use super::config::Config;
use crate::decode::charset::{Charset, Guess};
use crate::decode::csv::{Dialect, Rows, Splitter};
use crate::error::{Error, Kind, Result};
use crate::flow::{Checkpoints, Cut, Event, Lane, Opening, Source};
use crate::stats::{Snapshot, Stats, Timed};
use crate::store::Input;

/// How far a file has been sent; what is saved between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// In the decompressed file.
    pub(super) byte: u64,
    /// Lines before it.
    pub(super) line: u64,
    pub(super) rows: u64,
    /// The encoding that was settled on, if any letter has shown it.
    encoding: Option<String>,
    /// A hash of the header line, by which a file that was replaced is noticed.
    header: String,
}

/// Rows of a file: some of a pack.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Arc<Rows>,
    pub(super) range: Range<usize>,
    pub(super) charset: Charset,
    /// The position after the last of them.
    pub(super) end: Position,
}

/// What the first piece of a file tells.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) header: Vec<String>,
    /// Rows to tell types by.
    pub(super) sample: Rows,
    pub(super) charset: Charset,
}

#[derive(Debug)]
pub(super) struct CsvSource<C> {
    file: String,
    input: Input,
    splitter: Splitter,
    checkpoints: C,
    position: Position,
    /// How far it is committed, and what had been counted by then.
    pub(super) settled: (Position, Snapshot),
    /// `None` while only ASCII has been seen and the setting is `auto`.
    charset: Option<Charset>,
    guess: Guess,
    pack: Option<(Arc<Rows>, usize)>,
    is_read: bool,
    is_opened: bool,
    rows_left: Option<u64>,
    pace: Option<Pace>,
    /// Rows of a batch at the most, so that a transaction has no more.
    longest_batch: usize,
    /// A commit is one of Kafka.
    is_transactional: bool,
    stats: Arc<Stats>,
}

/// Rows by the clock.
#[derive(Debug)]
struct Pace {
    rate: f64,
    started: Instant,
    sent: u64,
}

impl Pace {
    /// Rows that may be sent together: a tenth of a second's.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small and positive")]
    fn step(&self) -> usize {
        ((self.rate / 10.0) as usize).max(1)
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds of a clock")]
    fn due(&self) -> Instant {
        self.started + Duration::from_secs_f64(self.sent as f64 / self.rate)
    }
}

/// Rows of the first piece that types are told by.
const SAMPLE: usize = 10_000;

impl<C: Checkpoints> CsvSource<C> {
    /// Opens a file and reads its header; `None` when it is empty. With `config.resume`, goes on where the checkpoint says.
    ///
    /// # Errors
    /// When it cannot be read, or is not the file that the checkpoint speaks of.
    pub(super) async fn open(
        file: &str,
        config: &Config,
        mut checkpoints: C,
        rows_left: Option<u64>,
        stats: Arc<Stats>,
    ) -> Result<Option<(Self, Head)>> {
        let dialect = dialect(config)?;
        let longest = (config.memory_limit / 4).max(1 << 20);
        let mut input = Input::open(file, 0, &config.store).await?;
        let Some(opening) = read_head(file, &mut input, dialect, longest).await? else { return Ok(None) };
        let is_utf8_marked = opening.mark > 0;
        let fixed = match Charset::parse(&config.encoding)? {
            None if is_utf8_marked => Some(Charset::Utf8),
            other => other,
        };
        let mut guess = Guess::default();
        let charset = fixed.or_else(|| guess.see(&opening.piece, opening.is_whole));
        let shown = charset.unwrap_or(Charset::Utf8);
        let header = decode_header(file, &opening.header, shown)?;
        let hash = format!("{:016x}", xxh3_64(&opening.header_line));
        let mut position = Position { byte: opening.end, line: opening.lines, rows: 0, encoding: None, header: hash };
        let saved = checkpoints.load().await?;
        let mut rest = opening.rest;
        let mut is_read = opening.is_whole;
        let mut charset = charset;
        match saved.map(|blob| serde_json::from_str::<Position>(&blob)) {
            Some(Ok(saved)) if config.resume => {
                if saved.header != position.header {
                    return Err(Error::new(
                        Kind::Conflict,
                        format!("{file} has another header than when it was sent in part"),
                    )
                    .hint("It is another file: run without --resume to send it from its beginning."));
                }
                tracing::info!(file, rows = saved.rows, "going on where the last run ended");
                input = Input::open(file, saved.byte, &config.store).await?;
                charset = saved.encoding.as_deref().map(Charset::parse).transpose()?.flatten().or(charset);
                position = saved;
                rest.clear();
                is_read = false;
            }
            Some(Err(error)) if config.resume => {
                return Err(Error::new(Kind::DataLoss, format!("Cannot read the position of {file}: {error}")));
            }
            Some(_) => checkpoints.save(&blob(&position)?).await?,
            None => {}
        }
        let mut splitter = Splitter::new(dialect, position.byte, position.line + 1, longest);
        splitter.expect_width(header.len());
        // The sample is for types alone: a run that goes on must find the same as the first.
        let mut sampler = Splitter::new(dialect, 0, 1, longest);
        let mut sample = sampler.split(&opening.body, opening.is_whole);
        sample.truncate(SAMPLE);
        let first = if rest.is_empty() && !is_read { None } else { Some(splitter.split(&rest, is_read)) };
        let pace = config.rate.map(|rate| Pace { rate, started: Instant::now(), sent: 0 });
        let mut source = Self {
            file: file.to_owned(),
            input,
            splitter,
            checkpoints,
            settled: (position.clone(), stats.snapshot()),
            position,
            charset,
            guess,
            pack: None,
            is_read,
            is_opened: false,
            rows_left,
            pace,
            longest_batch: usize::try_from(config.transaction_rows).unwrap_or(usize::MAX).max(1),
            is_transactional: config.exactly_once,
            stats,
        };
        source.pack = first.map(|rows| (Arc::new(rows), 0));
        Ok(Some((source, Head { header, sample, charset: shown })))
    }

    /// The encoding that was taken.
    #[must_use]
    pub(super) fn charset(&self) -> Charset {
        self.charset.unwrap_or(Charset::Utf8)
    }

    /// Rows of the file that had been sent by former runs and this one, as far as they were read.
    #[must_use]
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    fn take(&mut self) -> Option<Batch> {
        let charset = self.charset();
        let (rows, at) = self.pack.as_mut()?;
        let mut until = rows.len().min(*at + self.longest_batch);
        if let Some(pace) = &self.pace {
            until = until.min(*at + pace.step());
        }
        if let Some(left) = self.rows_left {
            until = until.min(*at + usize::try_from(left).unwrap_or(usize::MAX));
        }
        let range = *at..until;
        let last = range.len().checked_sub(1).and_then(|last| rows.iter().nth(range.start + last))?;
        let line = last.line;
        let taken = range.len() as u64;
        self.position.line = line + memchr::memchr_iter(b'\n', rows.raw(last)).count() as u64;
        self.stats.bytes_read.add(last.end - self.position.byte);
        self.position.byte = last.end;
        self.position.rows += taken;
        self.position.encoding = self.charset.map(|charset| charset.name().to_owned());
        let batch = Batch { rows: rows.clone(), range, charset, end: self.position.clone() };
        *at = until;
        if let Some(left) = &mut self.rows_left {
            *left -= taken;
        }
        if let Some(pace) = &mut self.pace {
            pace.sent += taken;
        }
        Some(batch)
    }
}

impl<C: Checkpoints> Source for CsvSource<C> {
    type Batch = Batch;
    type Progress = Position;

    async fn next(&mut self) -> Result<Event<Batch, Position>> {
        if !self.is_opened {
            self.is_opened = true;
            let start = self.position.clone();
            return Ok(Event::Opened(Opening { lane: 0, start, end: None, note: String::new() }));
        }
        if let Some(pace) = &self.pace {
            self.stats.rests(pace.due().saturating_duration_since(Instant::now()));
            sleep_until(pace.due()).await;
        }
        loop {
            self.stats.answers();
            if self.rows_left == Some(0) {
                return Ok(Event::End("the number of rows was reached".to_owned()));
            }
            if let Some(batch) = self.take() {
                return Ok(Event::Batch(0, batch));
            }
            self.pack = None;
            if self.is_read {
                return Ok(Event::End("end of input".to_owned()));
            }
            let piece = self.input.piece(&self.file).await?;
            self.is_read = self.input.is_at_end();
            if self.charset.is_none() {
                self.charset = self.guess.see(&piece, self.is_read);
            }
            self.pack = Some((Arc::new(self.splitter.split(&piece, self.is_read)), 0));
        }
    }

    async fn commit(&mut self, cuts: &[Cut<Position>]) -> Result<Vec<Lane>> {
        if let Some(cut) = cuts.last() {
            let began = Instant::now();
            self.checkpoints.save(&blob(&cut.end)?).await?;
            if self.is_transactional {
                self.stats.took(Timed::Transaction, began.elapsed());
            }
            self.settled = (cut.end.clone(), self.stats.snapshot());
        }
        Ok(Vec::new())
    }
}

fn blob(position: &Position) -> Result<String> {
    serde_json::to_string(position).map_err(|error| Error::internal(format!("A position cannot be written: {error}")))
}

fn dialect(config: &Config) -> Result<Dialect> {
    let byte = |name: &str, letter: char| {
        u8::try_from(letter)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| Error::settings(format!("{name} must be one ASCII character, not {letter:?}")))
    };
    Ok(Dialect { delimiter: byte("delimiter", config.delimiter)?, quote: byte("quote", config.quote)? })
}

/// A file up to the end of its header.
struct Beginning {
    piece: Vec<u8>,
    header: Vec<Vec<u8>>,
    header_line: Vec<u8>,
    /// What comes after the header: for the sample, and to be split.
    body: Vec<u8>,
    rest: Vec<u8>,
    end: u64,
    lines: u64,
    mark: usize,
    is_whole: bool,
}

async fn read_head(file: &str, input: &mut Input, dialect: Dialect, longest: usize) -> Result<Option<Beginning>> {
    let mut piece = Vec::new();
    loop {
        let more = input.piece(file).await?;
        let is_whole = input.is_at_end();
        piece.extend_from_slice(&more);
        if piece.starts_with(b"\xff\xfe") || piece.starts_with(b"\xfe\xff") {
            return Err(Error::settings(format!("{file} is UTF-16"))
                .hint("Convert it to UTF-8 first, e.g. with iconv -f UTF-16 -t UTF-8."));
        }
        let mark = if piece.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let rows = Splitter::new(dialect, 0, 1, longest).split(&piece[mark..], is_whole);
        let found = rows.iter().next().map(|row| {
            let fields = rows.fields(row).map(<[u8]>::to_vec).collect();
            (fields, rows.raw(row).to_vec(), row.end, row.problem.is_some())
        });
        let Some((header, header_line, end, is_broken)) = found else {
            if is_whole {
                return Ok(None);
            }
            continue;
        };
        if is_broken {
            return Err(Error::new(
                Kind::Settings,
                format!("The header of {file} cannot be read: a quote is never closed"),
            )
            .hint("Mend its first line, or set --quote to a character that the file does not use."));
        }
        let at = mark + usize::try_from(end).unwrap_or(usize::MAX);
        let body = piece[at..].to_vec();
        let lines = memchr::memchr_iter(b'\n', &piece[..at]).count() as u64;
        return Ok(Some(Beginning {
            header,
            header_line,
            rest: body.clone(),
            body,
            end: at as u64,
            lines,
            mark,
            is_whole,
            piece,
        }));
    }
}

fn decode_header(file: &str, header: &[Vec<u8>], charset: Charset) -> Result<Vec<String>> {
    let decode = |name: &Vec<u8>| {
        charset.decode(name).map(std::borrow::Cow::into_owned).ok_or_else(|| {
            Error::settings(format!("The header of {file} is not {}", charset.name())).hint("Set --encoding.")
        })
    };
    header.iter().map(decode).collect()
}
