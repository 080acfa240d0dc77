//! Whether everything a pipeline needs can be reached; moves nothing.

use serde::Serialize;

use super::{
    bucket_to_kafka, cdc_to_postgres, csv_to_kafka, kafka_to_parquet, mongo_to_kafka, mysql_to_mysql, obs_worker,
    postgres_to_kafka, walmart_to_kafka, walmart_to_mysql,
};
use crate::config::{self, Kafka};
use crate::error::{Error, Result};
use crate::kafka::Client;
use crate::store::{Guarantee, Input, Place, find, probe};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Checked {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
    pub hint: Option<String>,
}

impl Checked {
    fn new(name: &'static str, outcome: Result<String>) -> Self {
        match outcome {
            Ok(detail) => Self { name, ok: true, detail, hint: None },
            Err(error) => Self { name, ok: false, detail: error.to_string(), hint: error.advice().map(str::to_owned) },
        }
    }
}

/// # Errors
/// When there is no such pipeline, or its settings cannot be read. What cannot be reached is in the result.
pub async fn run(pipeline: &str, config: &str) -> Result<Vec<Checked>> {
    match pipeline {
        "bucket_to_kafka" => bucket(config::from_json(config)?).await,
        "cdc_to_postgres" => cdc(config::from_json(config)?).await,
        "csv_to_kafka" => csv(config::from_json(config)?).await,
        "kafka_to_parquet" => parquet(config::from_json(config)?).await,
        "mongo_to_kafka" => mongo(config::from_json(config)?).await,
        "mysql_to_mysql" => migration(&config::from_json(config)?).await,
        "obs_worker" => worker(config::from_json(config)?).await,
        "postgres_to_kafka" => capture(config::from_json(config)?).await,
        "walmart_to_mysql" => mysql(config::from_json(config)?).await,
        "walmart_to_kafka" => walmart(config::from_json(config)?).await,
        other => Err(Error::settings(format!("There is no pipeline {other:?} to check"))),
    }
}

async fn csv(config: csv_to_kafka::Config) -> Result<Vec<Checked>> {
    let files = async {
        let files = find(&config.files, &config.store).await?;
        for file in &files {
            Input::open(file, 0, &config.store).await?;
        }
        match files.len() {
            0 => Err(Error::settings("No file is named")),
            count => Ok(format!("{count} can be read")),
        }
    };
    let mut checked = vec![Checked::new("files", files.await)];
    checked.extend(kafka(&config.kafka, &config.topic, false));
    Ok(checked)
}

async fn parquet(config: kafka_to_parquet::Config) -> Result<Vec<Checked>> {
    let store = async {
        let place = Place::open(&config.to, &config.store)?;
        Ok(match probe(&place, &config.prefix).await? {
            Guarantee::CreateOnly => "writable, and honours create-only".to_owned(),
            Guarantee::Overwrites => {
                "writable; does not honour create-only, the logged cut keeps writers apart".to_owned()
            }
        })
    };
    let mut checked = kafka(&config.kafka, &config.topic, true);
    checked.push(Checked::new("store", store.await));
    Ok(checked)
}

async fn bucket(config: bucket_to_kafka::Config) -> Result<Vec<Checked>> {
    let mut checked = vec![Checked::new("bucket", bucket_to_kafka::reach(&config).await)];
    checked.extend(kafka(&config.kafka, &config.topic, false));
    Ok(checked)
}

async fn worker(config: obs_worker::Config) -> Result<Vec<Checked>> {
    let mut checked = kafka(&config.kafka, &config.topic, true);
    checked.extend(obs_worker::reach(&config).await.into_iter().map(|(name, found)| Checked::new(name, found)));
    Ok(checked)
}

async fn mysql(config: walmart_to_mysql::Config) -> Result<Vec<Checked>> {
    let mut checked = kafka(&config.kafka, &config.topic, true);
    checked.extend(walmart_to_mysql::reach(&config).await.into_iter().map(|(name, found)| Checked::new(name, found)));
    Ok(checked)
}

async fn mongo(config: mongo_to_kafka::Config) -> Result<Vec<Checked>> {
    let mut checked = kafka(&config.kafka, &config.topic, false);
    checked.extend(mongo_to_kafka::reach(&config).await.into_iter().map(|(name, found)| Checked::new(name, found)));
    Ok(checked)
}

async fn migration(config: &mysql_to_mysql::Config) -> Result<Vec<Checked>> {
    let found = mysql_to_mysql::reach(config).await;
    Ok(found.into_iter().map(|(name, found)| Checked::new(name, found)).collect())
}

async fn cdc(config: cdc_to_postgres::Config) -> Result<Vec<Checked>> {
    let mut checked = kafka(&config.kafka, &config.topic, true);
    checked.extend(cdc_to_postgres::reach(&config).await.into_iter().map(|(name, found)| Checked::new(name, found)));
    Ok(checked)
}

async fn walmart(config: walmart_to_kafka::Config) -> Result<Vec<Checked>> {
    let mut checked = kafka(&config.kafka, &config.topic, false);
    checked.push(Checked::new("api", walmart_to_kafka::reach(&config).await));
    Ok(checked)
}

async fn capture(config: postgres_to_kafka::Config) -> Result<Vec<Checked>> {
    let mut checked = kafka(&config.kafka, &config.topic, false);
    checked.extend(postgres_to_kafka::reach(&config).await.into_iter().map(|(name, found)| Checked::new(name, found)));
    Ok(checked)
}

/// The topic is not asked for where no broker answers.
fn kafka(kafka: &Kafka, name: &str, must_exist: bool) -> Vec<Checked> {
    let broker = broker(kafka);
    if broker.ok { vec![broker, topic(kafka, name, must_exist)] } else { vec![broker] }
}

fn broker(kafka: &Kafka) -> Checked {
    let asked = tokio::task::block_in_place(|| Client::new(kafka, None)?.brokers());
    Checked::new("broker", asked.map(|brokers| format!("{brokers} at {}", kafka.bootstrap_servers)))
}

fn topic(kafka: &Kafka, topic: &str, must_exist: bool) -> Checked {
    let asked = tokio::task::block_in_place(|| {
        let client = Client::new(kafka, None)?;
        if must_exist { client.existing_partitions(topic) } else { client.partitions(topic) }
    });
    let detail = asked.map(|partitions| match partitions {
        0 => format!("{topic} is not there; it will be created"),
        partitions => format!("{topic} has {partitions} partitions"),
    });
    Checked::new("topic", detail)
}
