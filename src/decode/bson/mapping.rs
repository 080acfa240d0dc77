//! The mapping of a data type, made ready: what is the same in every message is written once.

use super::elements::{Elements, Raw};
use super::problem::{Outcome, Problem};
use super::text::{dumps, misfit, text};
use super::tree::{Node, plant};
use super::write::Writer;
use super::{Form, Path, kind, whole};
use crate::config::{DocumentField, DocumentForm, DocumentMapping, Variable};
use crate::decode::json::quote_into;
use crate::error::{Error, Result};

/// What a message may hold beside its document's values.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    pub topic: &'a str,
    pub data_type: &'a str,
    pub collection: &'a str,
}

/// Writes messages.
#[derive(Debug, Clone)]
pub struct Mapping {
    form: Form,
    /// The first steps of all paths, each once.
    heads: Vec<String>,
    parts: Vec<Part>,
    tail: Vec<u8>,
}

/// A value of the document, and the text of the message before it.
#[derive(Debug, Clone)]
struct Part {
    before: Vec<u8>,
    head: usize,
    path: Path,
    name: String,
    form: DocumentForm,
    remove: Vec<String>,
    is_nullable: bool,
    /// The JSON for what is missing; none: refused.
    otherwise: Option<Vec<u8>>,
}

impl Mapping {
    /// # Errors
    /// `Settings` when the mapping contradicts itself.
    pub fn new(mapping: &DocumentMapping, form: Form, variables: &Variables<'_>) -> Result<Self> {
        let root = plant(mapping.fields.iter().map(|field| field.name.as_str()))?;
        let mut this = Self { form, heads: Vec::new(), parts: Vec::new(), tail: Vec::new() };
        this.object(&root, &mapping.fields, variables)?;
        Ok(this)
    }

    fn object(&mut self, object: &[(String, Node)], fields: &[DocumentField], variables: &Variables<'_>) -> Result<()> {
        for (at, (name, node)) in object.iter().enumerate() {
            self.tail.push(if at == 0 { b'{' } else { b',' });
            quote_into(&mut self.tail, name, false);
            self.tail.push(b':');
            match node {
                Node::Object(inner) => self.object(inner, fields, variables)?,
                Node::Field(at) => self.field(&fields[*at], variables)?,
            }
        }
        self.tail.push(b'}');
        Ok(())
    }

    fn field(&mut self, field: &DocumentField, variables: &Variables<'_>) -> Result<()> {
        let refuse = |what: &str| Err(Error::settings(format!("The field {:?} of the mapping {what}", field.name)));
        match (&field.path, &field.constant, field.variable) {
            (Some(path), None, None) => return self.part(field, Path::new(path)?),
            (None, Some(_), None) | (None, None, Some(_)) if !is_bare(field) => {
                return refuse("has no path: default, nullable, required, form and remove are of no use");
            }
            (None, Some(constant), None) => self.tail.extend_from_slice(constant.to_string().as_bytes()),
            (None, None, Some(variable)) => {
                let text = match variable {
                    Variable::Topic => variables.topic,
                    Variable::DataType => variables.data_type,
                    Variable::Collection => variables.collection,
                };
                quote_into(&mut self.tail, text, false);
            }
            _ => return refuse("must have one of path, constant and variable"),
        }
        Ok(())
    }

    fn part(&mut self, field: &DocumentField, path: Path) -> Result<()> {
        let refuse = |what: String| Err(Error::settings(format!("The field {:?} of the mapping {what}", field.name)));
        if !field.remove.is_empty() && field.form != DocumentForm::Text {
            return refuse("has remove, which the form text alone has".to_owned());
        }
        if field.remove.iter().any(String::is_empty) {
            return refuse("removes an empty text".to_owned());
        }
        let otherwise = match (&field.default, field.form) {
            (None, _) => (!field.required).then(|| b"null".to_vec()),
            (Some(default), DocumentForm::JsonText) => {
                let (mut text, mut quoted) = (Vec::new(), Vec::new());
                dumps(default, &mut text);
                quote_json(&mut quoted, &text);
                Some(quoted)
            }
            (Some(default), form) => {
                let fits = match form {
                    DocumentForm::Text => default.is_string(),
                    DocumentForm::List => default.is_array(),
                    DocumentForm::Object => default.is_object(),
                    DocumentForm::Any | DocumentForm::JsonText => true,
                };
                if !fits {
                    return refuse(format!("has the default {default}, which has not its form"));
                }
                Some(default.to_string().into_bytes())
            }
        };
        let head = self.heads.iter().position(|head| head == path.head()).unwrap_or_else(|| {
            self.heads.push(path.head().to_owned());
            self.heads.len() - 1
        });
        self.parts.push(Part {
            before: std::mem::take(&mut self.tail),
            head,
            name: field.path.clone().unwrap_or_default(),
            path,
            form: field.form,
            remove: field.remove.clone(),
            is_nullable: field.nullable,
            otherwise,
        });
        Ok(())
    }

    /// Appends the message of a document.
    ///
    /// # Errors
    /// What is missing, has not its form, or is broken; then nothing is appended.
    pub fn write(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
        whole(out, |out| {
            let heads = self.heads(bytes)?;
            for part in &self.parts {
                out.extend_from_slice(&part.before);
                let value = heads[part.head].map_or(Ok(None), |head| part.path.follow(head))?;
                part.write(value, self.form, out).map_err(|problem| problem.within(part.name.as_bytes()))?;
            }
            out.extend_from_slice(&self.tail);
            Ok(())
        })
    }

    /// The values that the paths begin with.
    fn heads<'a>(&self, bytes: &'a [u8]) -> Outcome<Vec<Option<Raw<'a>>>> {
        let mut found = vec![None; self.heads.len()];
        let mut elements = Elements::of(bytes)?;
        // Most documents have their names in the same order as the mapping.
        let mut likely = 0;
        while let Some((name, value)) = elements.next()? {
            let is_it = |at: &usize| self.heads[*at].as_bytes() == name;
            if let Some(at) = (likely..self.heads.len()).chain(0..likely).find(is_it) {
                found[at].get_or_insert(value);
                likely = at + 1;
            }
        }
        Ok(found)
    }
}

impl Part {
    fn write(&self, value: Option<Raw<'_>>, form: Form, out: &mut Vec<u8>) -> Outcome<()> {
        let raw = match (value, &self.otherwise) {
            (Some(raw), _) if !raw.is_null() => raw,
            (Some(_), _) if self.is_nullable => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            (_, Some(otherwise)) => {
                out.extend_from_slice(otherwise);
                return Ok(());
            }
            (Some(_), None) => return Err(Problem::new("The field is null")),
            (None, None) => return Err(Problem::new("The field is missing")),
        };
        match self.form {
            DocumentForm::List if raw.kind != kind::ARRAY => Err(misfit(raw, "an array")),
            DocumentForm::Object if raw.kind != kind::OBJECT => Err(misfit(raw, "an object")),
            DocumentForm::Any | DocumentForm::List | DocumentForm::Object => Writer::new(out, form).value(raw),
            DocumentForm::Text => self.text(raw, out),
            DocumentForm::JsonText => {
                let mut text = Vec::new();
                Writer::python(&mut text).value(raw)?;
                quote_json(out, &text);
                Ok(())
            }
        }
    }

    fn text(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> Outcome<()> {
        if self.remove.is_empty() && !matches!(raw.kind, kind::SYMBOL | kind::CODE) {
            if raw.kind == kind::TEXT {
                quote_into(out, raw.text()?, false);
                return Ok(());
            }
            // Digits and letters, nothing to be escaped.
            out.push(b'"');
            text(raw, out)?;
            out.push(b'"');
            return Ok(());
        }
        let mut plain = Vec::new();
        text(raw, &mut plain)?;
        let mut plain = String::from_utf8_lossy(&plain);
        for removed in &self.remove {
            if plain.contains(removed) {
                plain = plain.replace(removed, "").into();
            }
        }
        quote_into(out, &plain, false);
        Ok(())
    }
}

/// True when the field has nothing that is for paths alone.
fn is_bare(field: &DocumentField) -> bool {
    let bare = DocumentField::named(&field.name);
    *field == DocumentField { constant: field.constant.clone(), variable: field.variable, ..bare }
}

/// Appends JSON that is ASCII as a JSON string.
fn quote_json(out: &mut Vec<u8>, json: &[u8]) {
    quote_into(out, std::str::from_utf8(json).unwrap_or_default(), false);
}
