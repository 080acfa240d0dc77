//! Requests to the API: what goes with each, and which are made again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{RequestBuilder, StatusCode};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::Pace;
use super::said::Said;
use super::token::Tokens;
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::retry::patiently;

/// Tokens that one request may be refused with: others may use up a new one before.
const MOST_TOKENS: u32 = 8;

/// Answers of one request that may say 200 and then hold errors.
const MOST_FLAWED: u32 = 8;

/// One account at the API. All requests share a token and a pace.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    settings: config::Walmart,
    tokens: Tokens,
    pace: Pace,
    requests: AtomicU64,
    pages_repeated: AtomicU64,
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why a body that came with 200 is no answer.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It has been cut off, or is something else.
    Broken(String),
    /// It says that there were errors.
    Says(Said),
}

pub(super) fn unavailable(message: impl Into<String>) -> Error {
    Error::new(Kind::Unavailable, message)
}

impl Client {
    /// # Errors
    /// When there are no credentials, or a setting is wrong.
    pub fn new(settings: &config::Walmart) -> Result<Self> {
        let base_url = settings.base_url.trim_end_matches('/');
        if !base_url.starts_with("https://") && !base_url.starts_with("http://") {
            return Err(Error::settings(format!("{base_url:?} is no address of an API"))
                .hint("Set WALMART_BASE_URL like https://marketplace.walmartapis.com/v3."));
        }
        let timeout = Duration::try_from_secs_f64(settings.request_timeout_seconds)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| Error::settings("request_timeout_seconds must be more than 0"))?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("pipeline_core/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout)
            // A token goes to the address that was set, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::settings(format!("Cannot make an HTTP client: {error}")))?;
        Ok(Self {
            http,
            tokens: Tokens::new(settings)?,
            pace: Pace::new(settings.max_requests_per_second)?,
            settings: config::Walmart { base_url: base_url.to_owned(), ..settings.clone() },
            requests: AtomicU64::new(0),
            pages_repeated: AtomicU64::new(0),
        })
    }

    /// Requests so far, those for tokens among them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Pages that had to be asked for again because their window did not add up.
    #[must_use]
    pub fn pages_repeated(&self) -> u64 {
        self.pages_repeated.load(Relaxed)
    }

    pub(super) fn repeat(&self, pages: u64) {
        self.pages_repeated.fetch_add(pages, Relaxed);
    }

    pub(super) fn account(&self) -> &str {
        &self.settings.account_tag
    }

    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.settings.base_url
    }

    /// One request, when it is its turn; made again where the API asks for a pause.
    ///
    /// # Errors
    /// `Unavailable` when no whole answer came.
    pub(super) async fn exchange(
        &self,
        request: impl Fn(&reqwest::Client, &str) -> RequestBuilder + Send + Sync,
    ) -> Result<Reply> {
        let mut refusals = 0;
        loop {
            let turn = self.pace.turn().await;
            self.requests.fetch_add(1, Relaxed);
            let request = request(&self.http, self.base_url())
                .header("WM_SVC.NAME", "Walmart Marketplace")
                .header("WM_QOS.CORRELATION_ID", Uuid::new_v4().to_string())
                .header(ACCEPT, "application/json");
            let reply = receive(request).await.map_err(|error| broken(&error))?;
            if reply.status != StatusCode::TOO_MANY_REQUESTS {
                turn.note(&reply.headers);
                return Ok(reply);
            }
            drop(turn);
            self.pace.refuse(&reply.headers, refusals)?;
            refusals += 1;
        }
    }

    /// What `read` makes of the answer to a GET, `None` when there is no such thing. `target` follows the base address
    /// as it is.
    ///
    /// # Errors
    /// By kind, once trying again is of no use.
    pub(super) async fn get<T>(
        &self,
        target: &str,
        read: impl Fn(&Bytes) -> Result<T, Flaw> + Send + Sync,
    ) -> Result<Option<T>> {
        let flawed = AtomicU32::new(0);
        let (flawed, read) = (&flawed, &read);
        // Whoever stops a fetch drops it.
        let never = CancellationToken::new();
        patiently("Asking Walmart", &never, || async move {
            let Some(body) = self.get_once(target).await? else { return Ok(None) };
            let said = match read(&body) {
                Ok(answer) => return Ok(Some(answer)),
                Err(Flaw::Broken(why)) => return Err(unavailable(format!("Walmart's answer is broken: {why}"))),
                Err(Flaw::Says(said)) => said.hidden(|text| self.tokens.hide(text)),
            };
            let message = format!("Walmart answers with errors: {said}");
            if flawed.fetch_add(1, Relaxed) + 1 < MOST_FLAWED {
                return Err(unavailable(message));
            }
            Err(Error::new(Kind::DataLoss, message)
                .hint("Nothing of it was sent: run the same command again later, it goes on where this one ended."))
        })
        .await
    }

    /// The body of an answer, without trying again; a token that is refused is renewed.
    ///
    /// # Errors
    /// `Unavailable` where another try may help.
    pub(super) async fn get_once(&self, target: &str) -> Result<Option<Bytes>> {
        let mut refused = None;
        for _ in 0..MOST_TOKENS {
            let token = self.tokens.get(self, refused).await?;
            let header = token.header;
            let reply = self
                .exchange(|http, base| {
                    http.get(format!("{base}{target}")).header("WM_SEC.ACCESS_TOKEN", header.clone())
                })
                .await?;
            if reply.status == StatusCode::OK {
                return Ok(Some(reply.body));
            }
            let said = Said::of(&reply.body).hidden(|text| self.tokens.hide(text));
            if is_about_token(reply.status, &said) {
                tracing::debug!(%said, "the access token was refused");
                refused = Some(token.serial);
                continue;
            }
            if is_nothing(reply.status, &reply.body, &said) {
                return Ok(None);
            }
            return Err(self.refusal(reply.status, &said));
        }
        let account = self.account();
        Err(Error::new(Kind::Access, format!("Walmart refuses each new token of the account {account}"))
            .hint("Check that the account may read orders."))
    }

    fn refusal(&self, status: StatusCode, said: &Said) -> Error {
        match status.as_u16() {
            408 | 425 | 500.. => unavailable(format!("Walmart cannot answer ({status}): {said}")),
            403 => Error::new(Kind::Access, format!("Walmart does not let us in ({status}): {said}")),
            404 => Error::new(Kind::NotFound, format!("There are no orders at {} ({said})", self.base_url()))
                .hint("Check WALMART_BASE_URL."),
            300..400 => Error::settings(format!("{} sends us elsewhere ({status})", self.base_url()))
                .hint("Check WALMART_BASE_URL."),
            _ => Error::settings(format!("Walmart refuses the request ({status}): {said}")),
        }
    }
}

fn is_about_token(status: StatusCode, said: &Said) -> bool {
    let is_named = ["UNAUTHORIZED", "TOKEN_EXPIRED", "INVALID_TOKEN"].iter().any(|code| said.has(code));
    status == StatusCode::UNAUTHORIZED || status == StatusCode::BAD_REQUEST && is_named
}

/// Some gateways send the status alone.
fn is_nothing(status: StatusCode, body: &[u8], said: &Said) -> bool {
    status == StatusCode::NOT_FOUND && (body.trim_ascii().is_empty() || said.has("CONTENT_NOT_FOUND"))
}

async fn receive(request: RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Reply { status, headers, body: response.bytes().await? })
}

/// The innermost cause says most.
fn broken(error: &reqwest::Error) -> Error {
    if error.is_builder() {
        return Error::settings(format!("The request cannot be made: {error}")).hint("Check WALMART_BASE_URL.");
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_timeout() {
        "Walmart did not answer in time"
    } else if error.is_connect() {
        "Walmart cannot be reached"
    } else {
        "Walmart's answer broke off"
    };
    unavailable(format!("{what}: {cause}"))
}
