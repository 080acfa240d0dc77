//! What a document, or a message made of it, was refused for, and where.

use std::fmt;

/// A reason and the dotted path to it: `data.links.3: The text is not UTF-8`.
///
/// Boxed: what succeeds carries no room for what fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: String,
    reason: String,
}

pub(super) type Outcome<T> = Result<T, Problem>;

impl Problem {
    #[cold]
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(Box::new(Place { path: String::new(), reason: reason.into() }))
    }

    /// The same, seen from the object or array around it.
    #[cold]
    pub(super) fn within(mut self, name: &[u8]) -> Self {
        let mut path = String::from_utf8_lossy(name).into_owned();
        if !self.0.path.is_empty() {
            path.push('.');
            path.push_str(&self.0.path);
        }
        self.0.path = path;
        self
    }

    /// Empty for the document itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path.is_empty() {
            return f.write_str(&self.0.reason);
        }
        let mut path = self.0.path.chars();
        path.by_ref().take(200).try_for_each(|sign| fmt::Write::write_char(f, sign))?;
        let cut = if path.next().is_some() { "…" } else { "" };
        write!(f, "{cut}: {}", self.0.reason)
    }
}

impl std::error::Error for Problem {}
