//! All orders of a span of time, window by window.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::answer::Order;
use super::client::Client;
use super::pages::{Doubt, Search};
use super::window::{Window, written};
use crate::error::{Error, Kind, Result};
use crate::walmart::whole_second;

/// Those who may ship an order.
pub const NODE_TYPES: [&str; 3] = ["SellerFulfilled", "WFSFulfilled", "3PLFulfilled"];

/// The API quietly leaves out what is older.
pub const HORIZON_DAYS: i64 = 180;

/// The API gives no more of one search.
const CAP: u64 = 10_000;

/// A window that does not add up is asked for again so often.
const MORE_TRIES: u32 = 3;

/// What is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub start: DateTime<Utc>,
    /// Not included.
    pub end: DateTime<Utc>,
    /// Each is a search of its own.
    pub ship_node_types: Vec<String>,
    /// By the time of the last change, and not of creation.
    pub modified: bool,
    /// A window with more orders is cut.
    pub window_orders: u64,
    /// Windows that are fetched at once.
    pub concurrency: usize,
}

impl Request {
    fn query(&self, window: Window, node_type: &str) -> String {
        let by = if self.modified { "lastModified" } else { "created" };
        let (start, end) = (written(window.start), written(window.end));
        format!(
            "{by}StartDate={start}&{by}EndDate={end}&acknowledgedStatus=ALL&sortBy=CREATED_DATE&sortOrder=ASC\
             &shipNodeType={node_type}"
        )
    }

    fn check(&self) -> Result<()> {
        if self.start >= self.end {
            return Err(Error::settings(format!("{} is not before {}", written(self.start), written(self.end))));
        }
        let horizon = Utc::now() - TimeDelta::days(HORIZON_DAYS);
        if self.start < horizon {
            let message = format!("Walmart keeps orders for {HORIZON_DAYS} days; {} is earlier", written(self.start));
            return Err(Error::settings(message).hint(format!(
                "Ask for {} or later: what is older would be left out without a word.",
                written(whole_second(horizon) + TimeDelta::hours(1))
            )));
        }
        if let Some(other) = self.ship_node_types.iter().find(|name| !NODE_TYPES.contains(&name.as_str())) {
            return Err(Error::settings(format!("There is no ship node type {other:?}"))
                .hint(format!("Use one of {}.", NODE_TYPES.join(", "))));
        }
        if !(1..=CAP).contains(&self.window_orders) || self.concurrency == 0 || self.ship_node_types.is_empty() {
            return Err(Error::settings(format!(
                "window_orders must be from 1 to {CAP}, and concurrency at least 1, of at least one ship node type"
            )));
        }
        Ok(())
    }
}

/// The orders of one window.
#[derive(Debug)]
pub struct Fetched {
    pub window: Window,
    /// Each once.
    pub orders: Vec<Order>,
    /// By ship node type, in the order of the request.
    pub by_type: Vec<u64>,
    /// Orders that came more than once.
    pub duplicates: u64,
}

enum Outcome {
    Whole(Fetched),
    /// So many orders are too many.
    TooMany(u64),
}

enum State {
    Waiting,
    Running,
    Done(Result<Fetched>),
}

struct Slot {
    number: u64,
    window: Window,
    state: State,
}

/// Fetches windows in the background and gives them out in order of time.
pub struct Fetcher {
    client: Arc<Client>,
    request: Arc<Request>,
    slots: VecDeque<Slot>,
    numbers: u64,
    running: JoinSet<(u64, Result<Outcome>)>,
    expected: Option<u64>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// # Errors
    /// When the request is none that the API can answer.
    pub fn new(client: Arc<Client>, request: Request) -> Result<Self> {
        request.check()?;
        let window = Window { start: request.start, end: request.end };
        let slots = VecDeque::from([Slot { number: 0, window, state: State::Waiting }]);
        let running = JoinSet::new();
        Ok(Self { client, request: Arc::new(request), slots, numbers: 1, running, expected: None })
    }

    /// How many orders there are, once the API has said it.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// The next window; `None` after the last. May be dropped and called again.
    ///
    /// # Errors
    /// When the next window cannot be had whole: all before it have been given out.
    pub async fn next(&mut self) -> Result<Option<Fetched>> {
        loop {
            match self.slots.front() {
                None => return Ok(None),
                Some(Slot { state: State::Done(_), .. }) => {
                    let Some(Slot { state: State::Done(done), .. }) = self.slots.pop_front() else { continue };
                    return done.map(Some);
                }
                Some(_) => self.start(),
            }
            match self.running.join_next().await {
                Some(Ok((number, outcome))) => self.settle(number, outcome),
                Some(Err(error)) => return Err(Error::internal(format!("A window was lost: {error}"))),
                None => return Err(Error::internal("No window is being fetched")),
            }
        }
    }

    /// As many as may run, the earliest first. What is done and waits for an earlier window takes memory.
    fn start(&mut self) {
        let concurrency = self.request.concurrency;
        let done = self.slots.iter().filter(|slot| matches!(slot.state, State::Done(_))).count();
        let reach = if done < 2 * concurrency { usize::MAX } else { 1 };
        for slot in self.slots.iter_mut().take(reach) {
            if self.running.len() >= concurrency {
                break;
            }
            if matches!(slot.state, State::Waiting) {
                slot.state = State::Running;
                let (client, request) = (self.client.clone(), self.request.clone());
                let (number, window) = (slot.number, slot.window);
                let fetched = async move { (number, fetch(&client, &request, window).await) };
                self.running.spawn(fetched.in_current_span());
            }
        }
    }

    fn settle(&mut self, number: u64, outcome: Result<Outcome>) {
        let Some(at) = self.slots.iter().position(|slot| slot.number == number) else { return };
        let done = match outcome {
            Ok(Outcome::Whole(fetched)) => Ok(fetched),
            Err(error) => Err(error),
            Ok(Outcome::TooMany(orders)) => {
                self.expected.get_or_insert(orders);
                self.cut(at, orders);
                return;
            }
        };
        if let Ok(fetched) = &done {
            self.expected.get_or_insert(fetched.by_type.iter().sum());
        }
        self.slots[at].state = State::Done(done);
    }

    fn cut(&mut self, at: usize, orders: u64) {
        let Some(slot) = self.slots.remove(at) else { return };
        let parts = slot.window.split(orders, self.request.window_orders);
        tracing::debug!(window = %slot.window, orders, parts = parts.len(), "cut a window");
        for (place, window) in parts.into_iter().enumerate() {
            self.slots.insert(at + place, Slot { number: self.numbers, window, state: State::Waiting });
            self.numbers += 1;
        }
    }
}

async fn fetch(client: &Client, request: &Request, window: Window) -> Result<Outcome> {
    let mut tries = 0;
    loop {
        let mut pages = 0;
        let doubt = match attempt(client, request, window, &mut pages).await? {
            Ok(outcome) => return Ok(outcome),
            Err(doubt) => doubt,
        };
        if tries == MORE_TRIES {
            let message = format!("The orders of {window} cannot be had whole: {doubt}, {} times", tries + 1);
            return Err(Error::new(Kind::DataLoss, message).hint(
                "Nothing of this window was sent: run the same command again later, it goes on with this window.",
            ));
        }
        tries += 1;
        client.repeat(pages);
        tracing::warn!(%window, doubt, "a window does not add up; asking again");
        tokio::time::sleep(Duration::from_millis(250 << tries)).await;
    }
}

async fn attempt(
    client: &Client,
    request: &Request,
    window: Window,
    pages: &mut u64,
) -> Result<Result<Outcome, Doubt>> {
    let mut searches = Vec::new();
    for node_type in &request.ship_node_types {
        *pages += 1;
        match Search::begin(client, &request.query(window, node_type)).await? {
            Ok(search) => searches.push(search),
            Err(doubt) => return Ok(Err(doubt)),
        }
    }
    let orders = searches.iter().map(|search| search.total).sum::<u64>();
    let is_capped = searches.iter().any(|search| search.total >= CAP);
    if window.is_divisible() && (orders > request.window_orders || is_capped) {
        return Ok(Ok(Outcome::TooMany(orders)));
    }
    if let Some(search) = searches.iter().find(|search| search.total > CAP) {
        let message = format!("{} orders stand between {window}, and the API gives no more than {CAP}", search.total);
        return Err(Error::new(Kind::DataLoss, message).hint("Nothing of them was sent: ask Walmart's support."));
    }
    for search in &mut searches {
        let before = search.pages;
        let finished = search.finish(client).await?;
        *pages += search.pages - before;
        if let Err(doubt) = finished {
            return Ok(Err(doubt));
        }
    }
    Ok(Ok(Outcome::Whole(join(request, window, searches))))
}

/// The orders of all searches that are this window's, each once.
fn join(request: &Request, window: Window, searches: Vec<Search>) -> Fetched {
    let mut fetched = Fetched { window, orders: Vec::new(), by_type: Vec::new(), duplicates: 0 };
    let mut seen = HashSet::new();
    let mut strays = 0_u64;
    for search in searches {
        let mut count = 0;
        fetched.duplicates += search.repeated;
        for order in search.orders {
            if let Some(date) = order.date.filter(|date| !request.modified && !window.holds(*date)) {
                if window.is_next_door(date) {
                    continue;
                }
                strays += 1;
            }
            if seen.insert(order.id.clone()) {
                count += 1;
                fetched.orders.push(order);
            } else {
                fetched.duplicates += 1;
            }
        }
        fetched.by_type.push(count);
    }
    if strays > 0 {
        tracing::warn!(%window, orders = strays, "the API gives orders of another date; they are kept");
    }
    fetched
}
