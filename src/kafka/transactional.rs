//! Records that become visible together, with no position beside them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::producer::{Outgoing, Producer, ProducerSettings, owned};
use super::transaction::Transactions;
use crate::config;
use crate::error::{Error, Result};
use crate::fault::fault;
use crate::flow::Headers;

/// A producer that sends records in transactions.
pub(super) struct TransactionalProducer {
    settings: config::Kafka,
    role: ProducerSettings,
    stop: CancellationToken,
    transactions: Option<Transactions>,
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionalProducer").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A record for a transaction.
#[derive(Debug, Default)]
pub struct KeyedRecord<'a> {
    pub topic: &'a str,
    /// Without one, its key decides.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// Without one, the key is taken off a compacted topic.
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

impl<'a> KeyedRecord<'a> {
    #[must_use]
    pub fn new(topic: &'a str, key: impl Into<Vec<u8>>, value: Option<Vec<u8>>) -> Self {
        Self { topic, key: Some(key.into()), value, ..Self::default() }
    }

    /// As a producer takes it.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: (!self.headers.is_empty()).then(|| owned(&self.headers)),
            ..Outgoing::default()
        }
    }
}

impl TransactionalProducer {
    /// Fences former producers of the same name; what they left open comes to nothing.
    ///
    /// # Errors
    /// When the broker has no transactions, or refuses them.
    pub(super) async fn begin(
        settings: &config::Kafka,
        role: ProducerSettings,
        stop: CancellationToken,
    ) -> Result<Self> {
        let mut this = Self { settings: settings.clone(), role, stop, transactions: None };
        this.renew().await?;
        Ok(this)
    }

    async fn renew(&mut self) -> Result<()> {
        let producer = Arc::new(Producer::new(&self.settings, &self.role)?);
        self.transactions = Some(Transactions::begin(producer, self.stop.clone()).await?);
        Ok(())
    }

    /// Sends all of them, or none. A test may kill it on the way, unless they are a note that belongs to no records.
    ///
    /// # Errors
    /// `Aborted` when they may have to be sent again: ask `recover`. `Conflict` when another run has taken over.
    pub(super) async fn send(&mut self, records: &[KeyedRecord<'_>], is_note: bool) -> Result<()> {
        let Some(transactions) = &mut self.transactions else { return Err(Error::internal("No producer")) };
        for record in records {
            transactions.producer.send(record.topic, record.outgoing())?;
            transactions.producer.poll()?;
        }
        if is_note {
            return transactions.commit_records().await;
        }
        // The commit would wait for them too, but looks only ten times a second.
        transactions.producer.flush()?;
        fault("before_commit");
        transactions.commit_records().await?;
        fault("after_commit");
        Ok(())
    }

    /// After `Aborted`: true when it is certain that nothing came to be; else what was sent is settled, one way or the other.
    ///
    /// # Errors
    /// When the broker does not come back, or another run has taken over.
    pub(super) async fn recover(&mut self) -> Result<bool> {
        if let Some(transactions) = &mut self.transactions
            && transactions.abort().await
        {
            return Ok(true);
        }
        if let Some(transactions) = self.transactions.take() {
            transactions.leave();
        }
        self.renew().await?;
        Ok(false)
    }
}
