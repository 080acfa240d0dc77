//! Whether a dead letter would be taken now; changes nothing.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;

use super::apply::{Applied, Applier};
use super::config::Config;
use super::schema::Names;
use super::transform::read;
use crate::decode::change::{Action, Rows};
use crate::error::{Kind, Result};
use crate::kafka::Record;
use crate::sql::{Database, Server};

/// The replica as it is now.
#[derive(Debug)]
pub struct Trial {
    applier: Applier,
}

impl Trial {
    /// # Errors
    /// When the database cannot be reached, or its tables do not fit.
    pub async fn open(config: &Config) -> Result<Self> {
        let stop = CancellationToken::new();
        let database = Database::open(Server::Postgres(&config.target), super::session(config)).await?;
        let applier = super::applier(config, &Names::of(config), &database, &stop).await?;
        Ok(Self { applier })
    }

    /// Applies the message in a transaction that is rolled back. The inner error is why it would be refused again.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn attempt(&self, record: Record<'_>) -> Result<Result<(), String>> {
        let mut rows = Rows::default();
        if let Err(reason) = read(&self.applier.plan, record, &mut rows) {
            return Ok(Err(reason));
        }
        let is_change = |at: &usize| rows.events()[*at].action != Action::Truncate;
        let changes: Vec<usize> = (0..rows.events().len()).filter(is_change).collect();
        let mut transaction = self.applier.database.begin().await?;
        let changed = self
            .applier
            .change(&mut transaction, &rows, &changes, &HashSet::new(), false, &mut Applied::default())
            .await;
        transaction.roll_back().await?;
        match changed {
            Ok(()) => Ok(Ok(())),
            Err(error) if error.kind() == Kind::Rejected => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}
