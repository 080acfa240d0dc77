//! Whether a dead letter would be taken now; changes nothing.

use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::load::Loader;
use super::transform::Batch;
use crate::decode::walmart::Parser;
use crate::error::{Kind, Result};
use crate::kafka::Record;
use crate::sql::{Database, Server};

/// The tables as they are now.
#[derive(Debug)]
pub struct Trial {
    loader: Loader,
}

impl Trial {
    /// # Errors
    /// When the database cannot be reached, or its tables are missing.
    pub async fn open(config: &Config) -> Result<Self> {
        let (rules, stop) = (super::rules(config)?, CancellationToken::new());
        let database = Database::open(Server::MySql(&config.mysql), super::session(config)).await?;
        Ok(Self { loader: super::loader(config, rules, &database, &stop).await? })
    }

    /// Loads the message in a transaction that is rolled back. The inner error is why it would be refused again.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn attempt(&self, message: Record<'_>) -> Result<Result<(), String>> {
        let mut batch = Batch::at(message.offset);
        let mut parser = Parser::new(&self.loader.rules);
        let (_, refused) = batch.take(&mut parser, message, &self.loader.topic, 0);
        if let Some(letter) = refused.into_iter().next() {
            return Ok(Err(letter.reason));
        }
        let orders = batch.sorted();
        let mut transaction = self.loader.database.begin().await?;
        let written = self.loader.write(&mut transaction, 0, &orders).await;
        transaction.roll_back().await?;
        match written {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.kind() == Kind::Rejected => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}
