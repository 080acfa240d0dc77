//! A document as a message.

use secrecy::ExposeSecret;

use crate::config::{DataType, DocumentMapping, Store};
use crate::decode::bson::{self, Form, Mapping, Variables};
use crate::error::{Error, Result};
use crate::flow::{Headers, Origin, Refused};
use crate::mongo::password_of;
use crate::process::{Converted, DocumentModel, ModelSettings, Secrets};

use super::config::Config;

/// What librdkafka and the broker need beside key, value and headers.
const ENVELOPE: usize = 512;

/// A message to send.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) key: Vec<u8>,
    /// `None` takes the key off.
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

/// What became of a document.
#[derive(Debug)]
pub(super) enum Made {
    Message(Message),
    LeftOut,
    Refused(Refused),
}

pub(super) struct Encoder {
    kind: Kind,
    origin: Origin,
    /// What the topic takes.
    largest: usize,
}

enum Kind {
    Whole(Form),
    Mapped(Box<Mapping>),
    Model(DocumentModel, Secrets),
}

impl Encoder {
    /// # Errors
    /// When the data type is not known, or contradicts itself.
    pub(super) fn new(config: &Config, origin: Origin, largest: usize) -> Result<Self> {
        let form = config.json_form;
        let plain = form.unwrap_or(Form::Plain);
        let mapped = |mapping: &DocumentMapping| {
            let variables =
                Variables { topic: &config.topic, data_type: &config.data_type, collection: &config.collection };
            Mapping::new(mapping, plain, &variables).map(|mapping| Kind::Mapped(Box::new(mapping)))
        };
        let kind = match (config.data_types.get(&config.data_type), config.data_type.as_str()) {
            (Some(DataType::Mapping(mapping)), _) => mapped(mapping)?,
            (Some(DataType::Model(class)), _) => Kind::Model(start(class, config)?, secrets(config)),
            (None, "information") => mapped(&bson::information())?,
            (None, "raw") => Kind::Whole(form.unwrap_or(Form::Canonical)),
            (None, other) => {
                let known = config.data_types.keys().map(String::as_str);
                let known: Vec<&str> = ["information", "raw"].into_iter().chain(known).collect();
                return Err(Error::settings(format!("There is no data type {other:?}"))
                    .hint(format!("Known are: {}. More can be named in data_types.", known.join(", "))));
            }
        };
        Ok(Self { kind, origin, largest })
    }

    /// Messages of documents, in their order, each with these headers.
    ///
    /// # Errors
    /// When the user's model cannot be run.
    pub(super) fn encode(&mut self, documents: &[(&[u8], Headers)]) -> Result<Vec<Made>> {
        let values = match &mut self.kind {
            Kind::Model(model, secrets) => converted(model, secrets, documents)?,
            Kind::Whole(form) => documents
                .iter()
                .map(|(document, _)| written(document, |out| bson::write_document(document, *form, out)))
                .collect(),
            Kind::Mapped(mapping) => {
                documents.iter().map(|(document, _)| written(document, |out| mapping.write(document, out))).collect()
            }
        };
        Ok(documents
            .iter()
            .zip(values)
            .map(|((document, headers), value)| self.made(document, headers, value))
            .collect())
    }

    fn made(&self, document: &[u8], headers: &Headers, value: Converted) -> Made {
        let (key, value) = match (bson::key(document), value) {
            (_, Converted::LeftOut) => return Made::LeftOut,
            (key, Converted::Refused(reason)) => return self.refuse(key.ok().flatten(), document, headers, reason),
            (Err(problem), _) => return self.refuse(None, document, headers, problem.to_string()),
            (Ok(None), _) => return self.refuse(None, document, headers, "_id: is missing".to_owned()),
            (Ok(Some(key)), Converted::Message(value)) => (key, value),
        };
        let size = key.len() + value.len() + headers.bytes().len() + ENVELOPE;
        if size > self.largest {
            let reason = format!("The message is larger than the topic takes: {} bytes", value.len());
            return self.refuse(Some(key), document, headers, reason);
        }
        Made::Message(Message { key, value: Some(value), headers: headers.clone() })
    }

    fn refuse(&self, key: Option<Vec<u8>>, document: &[u8], headers: &Headers, reason: String) -> Made {
        let refused = Refused::new(key, Some(document.to_vec()), reason, self.origin.clone());
        Made::Refused(Refused { headers: headers.clone(), ..refused })
    }
}

fn start(class: &str, config: &Config) -> Result<DocumentModel> {
    let setup = config.model_setup.clone().filter(|setup| setup.class == class);
    let setup = setup.ok_or_else(|| Error::settings(format!("Nothing says how the class {class} is run")))?;
    tokio::task::block_in_place(|| DocumentModel::start(ModelSettings::new(setup)))
}

/// What a model must not put into a reason: it sees our environment.
fn secrets(config: &Config) -> Secrets {
    let mongodb = &config.mongodb;
    let said = [&mongodb.uri, &mongodb.password].into_iter().flatten().map(|secret| secret.expose_secret().to_owned());
    Secrets::of(&config.kafka, &Store::default()).with(said.chain(password_of(mongodb)))
}

fn written(document: &[u8], write: impl FnOnce(&mut Vec<u8>) -> Result<(), bson::Problem>) -> Converted {
    let mut out = Vec::with_capacity(document.len() + document.len() / 4);
    match write(&mut out) {
        Ok(()) => Converted::Message(out),
        Err(problem) => Converted::Refused(problem.to_string()),
    }
}

/// The model reads canonical extended JSON; what cannot be written as such is not shown to it.
fn converted(model: &mut DocumentModel, secrets: &Secrets, documents: &[(&[u8], Headers)]) -> Result<Vec<Converted>> {
    let mut values = Vec::with_capacity(documents.len());
    let mut shown = Vec::new();
    for (document, _) in documents {
        match written(document, |out| bson::write_document(document, Form::Canonical, out)) {
            Converted::Message(text) => {
                shown.push(text);
                values.push(None);
            }
            refused => values.push(Some(refused)),
        }
    }
    let hidden = |answer| match answer {
        Converted::Refused(reason) => Converted::Refused(secrets.hide(&reason)),
        other => other,
    };
    let mut answers = model.convert(&shown)?.into_iter().map(hidden);
    let missing = || Converted::Refused("The model has not answered".to_owned());
    Ok(values.into_iter().map(|value| value.unwrap_or_else(|| answers.next().unwrap_or_else(missing))).collect())
}
