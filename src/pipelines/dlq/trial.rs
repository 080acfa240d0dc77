//! Letters tried against the pipelines that refused them, with their present settings; nothing is changed.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::config::from_json;
use crate::error::{Error, Result};
use crate::kafka::{Letter, Record};
use crate::pipelines::{cdc_to_postgres, kafka_to_parquet, obs_worker, walmart_to_mysql};

/// What would become of a letter now.
pub(super) enum Trial {
    Taken,
    /// And why.
    Refused(String),
    /// It cannot be tried, and why.
    Impossible(String),
}

/// A pipeline that letters are tried against.
enum Pipeline {
    CdcToPostgres(Box<cdc_to_postgres::Trial>),
    KafkaToParquet(Box<kafka_to_parquet::Trial>),
    ObsWorker(Box<obs_worker::Config>),
    WalmartToMysql(Box<walmart_to_mysql::Trial>),
}

impl Pipeline {
    async fn open(name: &str, document: &str) -> Result<Self> {
        match name {
            "cdc_to_postgres" => {
                let trial = cdc_to_postgres::Trial::open(&from_json(document)?).await?;
                Ok(Self::CdcToPostgres(trial.into()))
            }
            "kafka_to_parquet" => {
                let trial = kafka_to_parquet::Trial::open(from_json(document)?)?;
                Ok(Self::KafkaToParquet(trial.into()))
            }
            "obs_worker" => Ok(Self::ObsWorker(from_json(document)?)),
            "walmart_to_mysql" => {
                let trial = walmart_to_mysql::Trial::open(&from_json(document)?).await?;
                Ok(Self::WalmartToMysql(trial.into()))
            }
            _ => Err(Error::settings(format!("Letters of {name} cannot be tried"))
                .hint("Send them again without --dry-run; those that are refused again become letters again.")),
        }
    }

    /// The inner error is why it would be refused.
    async fn attempt(&self, message: Record<'_>) -> Result<Result<(), String>> {
        match self {
            Self::CdcToPostgres(trial) => trial.attempt(message).await,
            Self::KafkaToParquet(trial) => trial.attempt(message),
            Self::ObsWorker(config) => Ok(obs_worker::attempt(config, message)),
            Self::WalmartToMysql(trial) => trial.attempt(message).await,
        }
    }
}

/// The pipelines that have been tried against so far.
pub(super) struct Trials {
    /// Settings by pipeline.
    documents: Map<String, Value>,
    open: HashMap<String, Pipeline>,
}

impl Trials {
    pub(super) fn read(documents: &str) -> Result<Self> {
        Ok(Self { documents: from_json(documents)?, open: HashMap::new() })
    }

    pub(super) async fn attempt(&mut self, letter: &Letter) -> Result<Trial> {
        let Some(name) = &letter.pipeline else {
            return Ok(Trial::Impossible("it does not say which pipeline refused it".to_owned()));
        };
        let Some(document) = self.documents.get(name) else {
            return Ok(Trial::Impossible(format!("the settings of {name} are not known")));
        };
        if !self.open.contains_key(name) {
            let pipeline = Pipeline::open(name, &document.to_string()).await?;
            self.open.insert(name.clone(), pipeline);
        }
        let Some(pipeline) = self.open.get(name) else { return Err(Error::internal("A pipeline was not opened")) };
        Ok(match pipeline.attempt(letter.message()).await? {
            Ok(()) => Trial::Taken,
            Err(reason) => Trial::Refused(reason),
        })
    }
}
