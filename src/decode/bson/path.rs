//! A value at a dotted path.

use super::elements::{Elements, Raw};
use super::kind;
use super::problem::Outcome;
use crate::error::{Error, Result};

/// `data.links.0.url`: names in objects, numbers in arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: String,
    index: Option<usize>,
}

impl Path {
    /// # Errors
    /// `Settings` when a step is empty.
    pub fn new(text: &str) -> Result<Self> {
        let step = |name: &str| match name {
            "" => Err(Error::settings(format!("The path {text:?} has an empty step"))),
            name if name.contains('\0') => Err(Error::settings(format!("The path {text:?} holds U+0000"))),
            name => Ok(Step { name: name.to_owned(), index: name.parse().ok() }),
        };
        Ok(Self { steps: text.split('.').map(step).collect::<Result<_>>()? })
    }

    pub(super) fn head(&self) -> &str {
        &self.steps[0].name
    }

    /// What the path leads to from the value of its first step.
    pub(super) fn follow<'a>(&self, head: Raw<'a>) -> Outcome<Option<Raw<'a>>> {
        let mut value = head;
        for (at, step) in self.steps.iter().enumerate().skip(1) {
            let inner = step.within(value).map_err(|problem| self.located(problem, at))?;
            let Some(inner) = inner else { return Ok(None) };
            value = inner;
        }
        Ok(Some(value))
    }

    fn located(&self, problem: super::Problem, depth: usize) -> super::Problem {
        self.steps[..depth].iter().rev().fold(problem, |problem, step| problem.within(step.name.as_bytes()))
    }
}

impl Step {
    fn within<'a>(&self, value: Raw<'a>) -> Outcome<Option<Raw<'a>>> {
        let mut left = match (value.kind, self.index) {
            (kind::OBJECT, _) => return named(value.bytes, &self.name),
            (kind::ARRAY, Some(index)) => index,
            _ => return Ok(None),
        };
        let mut elements = Elements::of(value.bytes)?;
        while let Some((_, inner)) = elements.next()? {
            if left == 0 {
                return Ok(Some(inner));
            }
            left -= 1;
        }
        Ok(None)
    }
}

/// The element at a dotted path, if there. Of a name that a document has twice, the first counts.
///
/// # Errors
/// When the document is broken before it.
pub fn find<'a>(bytes: &'a [u8], path: &Path) -> Outcome<Option<Raw<'a>>> {
    named(bytes, path.head())?.map_or(Ok(None), |head| path.follow(head))
}

pub(super) fn named<'a>(document: &'a [u8], name: &str) -> Outcome<Option<Raw<'a>>> {
    let mut elements = Elements::of(document)?;
    while let Some((known, value)) = elements.next()? {
        if known == name.as_bytes() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
