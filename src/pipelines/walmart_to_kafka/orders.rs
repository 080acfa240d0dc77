//! The orders of a span of time for a caller's own use, without a topic.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::memory::Memory;
use crate::error::Result;
use crate::walmart::{Client, Fetcher, Order, Request};

#[derive(Debug)]
pub struct Orders {
    fetcher: Fetcher,
    memory: Memory,
}

impl Orders {
    /// # Errors
    /// When the request is none that the API can answer.
    pub fn new(client: Arc<Client>, request: Request) -> Result<Self> {
        Ok(Self { fetcher: Fetcher::new(client, request)?, memory: Memory::default() })
    }

    /// The orders of the next window that has some; `None` after the last.
    ///
    /// # Errors
    /// When the window cannot be had whole.
    pub async fn next(&mut self) -> Result<Option<Vec<Order>>> {
        while let Some(fetched) = self.fetcher.next().await? {
            let end = fetched.window.end.timestamp_millis();
            let memory = &mut self.memory;
            let mut orders = fetched.orders;
            // Windows touch: what stands at the border comes with both.
            orders.retain(|order| {
                let hash = xxh3_128(&order.json);
                let is_new = !memory.has(&order.id, hash);
                memory.learn(&order.id, hash, end);
                is_new
            });
            memory.forget_before(end);
            if !orders.is_empty() {
                return Ok(Some(orders));
            }
        }
        Ok(None)
    }
}
