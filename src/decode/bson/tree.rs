//! The message that a mapping makes: which value stands where.

use crate::error::{Error, Result};

/// A part of the message.
#[derive(Debug)]
pub(super) enum Node {
    /// A field of the mapping, by its place.
    Field(usize),
    /// In the order in which they were first named.
    Object(Vec<(String, Node)>),
}

/// # Errors
/// When two of the names cannot stand beside each other.
pub(super) fn plant<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<(String, Node)>> {
    let mut root = Vec::new();
    for (at, name) in names.enumerate() {
        if name.split('.').any(str::is_empty) {
            return Err(Error::settings(format!("The mapping has the name {name:?}, a part of which is empty")));
        }
        add(&mut root, name, name, at)?;
    }
    if root.is_empty() {
        return Err(Error::settings("The mapping has no fields").hint("Use the data type raw for whole documents."));
    }
    Ok(root)
}

fn add(object: &mut Vec<(String, Node)>, rest: &str, name: &str, at: usize) -> Result<()> {
    let (first, inner) = match rest.split_once('.') {
        Some((first, inner)) => (first, Some(inner)),
        None => (rest, None),
    };
    let known = object.iter().position(|(known, _)| known == first);
    match (known.map(|known| &mut object[known].1), inner) {
        (None, None) => object.push((first.to_owned(), Node::Field(at))),
        (None, Some(inner)) => {
            let mut fresh = Vec::new();
            add(&mut fresh, inner, name, at)?;
            object.push((first.to_owned(), Node::Object(fresh)));
        }
        (Some(Node::Object(known)), Some(inner)) => add(known, inner, name, at)?,
        (Some(Node::Field(_)), None) => {
            return Err(Error::settings(format!("The mapping has the name {name:?} twice")));
        }
        _ => {
            let first = &name[..name.len() - rest.len() + first.len()];
            return Err(Error::settings(format!("The mapping has {first:?} both as a value and as an object")));
        }
    }
    Ok(())
}
