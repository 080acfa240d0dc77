//! The pages of one search, by the cursor that each gives for the next.

use std::collections::HashSet;

use chrono::{TimeDelta, Utc};

use super::answer::{Order, Page, read_page, read_single};
use super::client::{Client, unavailable};
use super::window::written;
use crate::error::Result;
use crate::walmart::whole_second;

/// Orders of a page.
const LIMIT: u32 = 200;

/// A search, as far as its pages have been read.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// How many orders the API promises.
    pub(super) total: u64,
    pub(super) orders: Vec<Order>,
    pub(super) pages: u64,
    /// Orders that came again on another page.
    pub(super) repeated: u64,
    ids: HashSet<String>,
    cursor: Option<String>,
    cursors: HashSet<String>,
}

/// Why what was read cannot be the whole.
pub(super) type Doubt = String;

impl Search {
    /// Reads the first page.
    pub(super) async fn begin(client: &Client, query: &str) -> Result<Result<Self, Doubt>> {
        let Some(page) = ask(client, &format!("?{query}&limit={LIMIT}")).await? else { return Ok(Ok(Self::default())) };
        let (total, is_empty) = (page.total, page.orders.is_empty() && page.cursor.is_none());
        let mut search = Self { total: total.unwrap_or(0), ..Self::default() };
        if total.is_none() && !is_empty {
            return Ok(Err("the API does not say how many orders there are".to_owned()));
        }
        Ok(search.take(page).map(|()| search))
    }

    /// Reads all other pages.
    pub(super) async fn finish(&mut self, client: &Client) -> Result<Result<(), Doubt>> {
        while let Some(cursor) = self.cursor.take() {
            let Some(page) = ask(client, &cursor).await? else {
                return Ok(Err("a page that was promised is not there".to_owned()));
            };
            if let Err(doubt) = self.take(page) {
                return Ok(Err(doubt));
            }
        }
        let unique = self.ids.len() as u64;
        if unique == self.total {
            return Ok(Ok(()));
        }
        Ok(Err(format!("the API promises {} orders and gives {unique}", self.total)))
    }

    fn take(&mut self, page: Page) -> Result<(), Doubt> {
        self.pages += 1;
        if page.nameless > 0 {
            return Err(format!("{} orders have no purchaseOrderId", page.nameless));
        }
        if let Some(total) = page.total.filter(|total| *total != self.total) {
            return Err(format!("the API promised {} orders and now {total}", self.total));
        }
        let before = self.orders.len();
        for order in page.orders {
            if self.ids.insert(order.id.clone()) {
                self.orders.push(order);
            } else {
                self.repeated += 1;
            }
        }
        if let Some(cursor) = page.cursor {
            let is_new = self.orders.len() > before;
            if !is_new && (self.ids.len() as u64) < self.total {
                return Err("the API gives the same page again".to_owned());
            }
            if !self.cursors.insert(cursor.clone()) {
                return Err("the API gives the same cursor again".to_owned());
            }
            // A cursor behind the last order leads nowhere.
            self.cursor = is_new.then_some(cursor);
        }
        Ok(())
    }
}

/// The page behind a query string, which goes to the path as it is: decoded and encoded again, the API would take it
/// for another question and answer with its first page.
async fn ask(client: &Client, query: &str) -> Result<Option<Page>> {
    let mark = if query.starts_with('?') { "" } else { "?" };
    let target = format!("/orders{mark}{}", query.replace('#', "%23"));
    let asked_at = Utc::now();
    client.get(&target, move |body| read_page(body, asked_at)).await
}

impl Client {
    /// One order; `None` when there is none of that number.
    ///
    /// # Errors
    /// By kind, once trying again is of no use.
    pub async fn order(&self, purchase_order_id: &str) -> Result<Option<Order>> {
        let id: String = url::form_urlencoded::byte_serialize(purchase_order_id.trim().as_bytes()).collect();
        let asked_at = Utc::now();
        Ok(self.get(&format!("/orders/{id}"), move |body| read_single(body, asked_at)).await?.flatten())
    }

    /// Whether the API lets us in, by one page of the last hour and without patience; says how many orders that has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn reach(&self) -> Result<String> {
        let since = written(whole_second(Utc::now()) - TimeDelta::hours(1));
        let body = self.get_once(&format!("/orders?createdStartDate={since}&limit=1")).await?;
        let page = body.map(|body| read_page(&body, Utc::now())).transpose();
        let page = page.map_err(|_| unavailable("Walmart lets us in, and its answer for orders is broken"))?;
        let orders = page.and_then(|page| page.total).unwrap_or(0);
        Ok(format!("{} answers; {orders} orders shipped by the seller in the last hour", self.base_url()))
    }
}
