//! A row of text to a JSON object, its keys in the order of the columns.

use super::config::{Config, DuplicateHeaders, JsonStyle, Ragged};
use crate::config::ColumnType;
use crate::decode::charset::Charset;
use crate::decode::json::{escape_into, is_plain, quote_into};
use crate::decode::typed::{Kinds, cell_json};
use crate::error::{Error, Kind, Result};

/// Writes rows as JSON.
#[derive(Debug, Clone)]
pub struct Encoder {
    columns: Vec<String>,
    /// Per column, what stands between the value before and its own: `","name":"`, and the same without quotes.
    quoted: Vec<Vec<u8>>,
    bare: Vec<Vec<u8>>,
    types: Option<Vec<ColumnType>>,
    key: Option<usize>,
    ragged: Ragged,
    is_ascii: bool,
}

impl Encoder {
    /// # Errors
    /// When the header has a name twice, or not the key's.
    pub fn new(header: Vec<String>, config: &Config) -> Result<Self> {
        let columns = unique(header, config.duplicate_headers)?;
        let key = match &config.key {
            None => columns.iter().position(|name| name == "Order Id"),
            Some(name) if name.is_empty() => None,
            Some(name) => Some(columns.iter().position(|column| column == name).ok_or_else(|| {
                Error::settings(format!("The header has no column {name:?} for the key"))
                    .hint(format!("It has: {}.", columns.join(", ")))
            })?),
        };
        let is_ascii = config.json_style == JsonStyle::Python;
        let (colon, comma): (&[u8], &[u8]) = if is_ascii { (b": ", b", ") } else { (b":", b",") };
        let bare: Vec<Vec<u8>> = columns
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let mut text = if at == 0 { b"{".to_vec() } else { comma.to_vec() };
                quote_into(&mut text, name, is_ascii);
                text.extend_from_slice(colon);
                text
            })
            .collect();
        let quoted = bare.iter().enumerate().map(|(at, bare)| {
            let before: &[u8] = if at == 0 { b"" } else { b"\"" };
            [before, bare, b"\""].concat()
        });
        Ok(Self { quoted: quoted.collect(), bare, columns, types: None, key, ragged: config.ragged, is_ascii })
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    #[must_use]
    pub fn key(&self) -> Option<usize> {
        self.key
    }

    /// From now on writes typed values: as the settings say, else as the sample shows.
    ///
    /// # Errors
    /// When the settings name a column that is not there.
    pub fn set_types<'a>(
        &mut self,
        config: &Config,
        sample: impl Iterator<Item = Vec<&'a [u8]>>,
        charset: Charset,
    ) -> Result<()> {
        if let Some(stranger) = config.column_types.keys().find(|name| !self.columns.contains(name)) {
            return Err(Error::settings(format!("column_types names {stranger:?}, which the header has not"))
                .hint(format!("It has: {}.", self.columns.join(", "))));
        }
        let mut kinds = vec![Kinds::default(); self.width()];
        for row in sample {
            for (kinds, cell) in kinds.iter_mut().zip(row) {
                if let Some(text) = charset.decode(cell) {
                    kinds.see_cell(&text);
                }
            }
        }
        let chosen =
            |(name, kinds): (&String, Kinds)| config.column_types.get(name).copied().unwrap_or(kinds.column_type());
        self.types = Some(self.columns.iter().zip(kinds).map(chosen).collect());
        Ok(())
    }

    /// Appends the row; says why it cannot be one, and then what was appended must be dropped.
    ///
    /// # Errors
    /// The reason, for the dead letters.
    pub fn encode<'a>(
        &self,
        fields: impl ExactSizeIterator<Item = &'a [u8]>,
        raw: &[u8],
        charset: Charset,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if fields.len() != self.width() && self.ragged == Ragged::Reject {
            return Err(format!("The row has {} cells, the header {}", fields.len(), self.width()));
        }
        if self.types.is_some() || fields.len() != self.width() {
            return self.encode_with_care(fields, charset, out);
        }
        if is_plain(raw) {
            for (before, field) in self.quoted.iter().zip(fields) {
                out.extend_from_slice(before);
                out.extend_from_slice(field);
            }
        } else {
            for (before, field) in self.quoted.iter().zip(fields) {
                out.extend_from_slice(before);
                let text = text(field, charset)?;
                escape_into(out, &text, self.is_ascii);
            }
        }
        out.extend_from_slice(b"\"}");
        Ok(())
    }

    fn encode_with_care<'a>(
        &self,
        mut fields: impl ExactSizeIterator<Item = &'a [u8]>,
        charset: Charset,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        for (at, before) in self.bare.iter().enumerate() {
            out.extend_from_slice(before);
            let Some(field) = fields.next() else {
                out.extend_from_slice(b"null");
                continue;
            };
            let text = text(field, charset)?;
            let kind = self.types.as_ref().map_or(ColumnType::String, |types| types[at]);
            cell_json(&text, kind, out, self.is_ascii).ok_or_else(|| {
                format!("Column {:?} is {kind:?}, and {:?} does not fit", self.columns[at], shortened(&text))
            })?;
        }
        if fields.len() > 0 {
            out.extend_from_slice(if self.is_ascii { b", \"null\": [" } else { b",\"null\":[" });
            for (at, field) in fields.enumerate() {
                if at > 0 {
                    out.extend_from_slice(if self.is_ascii { b", " } else { b"," });
                }
                quote_into(out, &text(field, charset)?, self.is_ascii);
            }
            out.push(b']');
        }
        out.push(b'}');
        Ok(())
    }
}

fn text(field: &[u8], charset: Charset) -> Result<std::borrow::Cow<'_, str>, String> {
    if memchr::memchr(0, field).is_some() {
        return Err("A cell holds a NUL byte".to_owned());
    }
    charset.decode(field).ok_or_else(|| {
        format!("A cell is not valid {}: {:?}", charset.name(), shortened(&String::from_utf8_lossy(field)))
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

fn unique(header: Vec<String>, on_duplicate: DuplicateHeaders) -> Result<Vec<String>> {
    let mut columns: Vec<String> = Vec::with_capacity(header.len());
    for name in header {
        let first = columns.iter().position(|known| *known == name);
        match (first, on_duplicate) {
            (None, _) => columns.push(name),
            (Some(first), DuplicateHeaders::Error) => {
                let message =
                    format!("The header has {name:?} twice, in columns {} and {}", first + 1, columns.len() + 1);
                return Err(Error::new(Kind::Settings, message).hint("Rename one, or use --duplicate-headers rename."));
            }
            (Some(_), DuplicateHeaders::Rename) => {
                let fresh =
                    (2..=u32::MAX).map(|number| format!("{name}_{number}")).find(|name| !columns.contains(name));
                columns.extend(fresh);
            }
        }
    }
    Ok(columns)
}
