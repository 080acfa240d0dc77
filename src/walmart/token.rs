//! Access tokens: one for all requests, renewed by one of them before it ends.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::{Client, Reply, unavailable};
use super::said::Said;
use crate::config;
use crate::error::{Error, Kind, Result};

/// So long before its end a token is renewed, or a third of its life.
const MARGIN: Duration = Duration::from_secs(120);

/// How long a token lives where the API does not say.
const LIFE: f64 = 900.0;

/// A token, and which one it is.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) serial: u64,
    fresh_until: Instant,
}

#[derive(Debug)]
pub(super) struct Tokens {
    basic: HeaderValue,
    /// What no message may show: the credentials, and every token so far.
    secrets: std::sync::Mutex<Vec<SecretString>>,
    /// Held while one of them asks for a new one, so that the others wait for it.
    held: Mutex<Option<Token>>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    /// # Errors
    /// When there are no credentials.
    pub(super) fn new(settings: &config::Walmart) -> Result<Self> {
        let missing = || {
            Error::settings(format!("There are no credentials for the account {}", settings.account_tag)).hint(
                "Set WALMART_TOKEN (Base64 of client_id:client_secret), or WALMART_CLIENT_ID and WALMART_CLIENT_SECRET.",
            )
        };
        let encoded = match (&settings.walmart_token, &settings.client_id, &settings.client_secret) {
            (Some(token), ..) if !token.expose_secret().trim().is_empty() => token.expose_secret().trim().to_owned(),
            (_, Some(id), Some(secret)) => BASE64_STANDARD.encode(format!("{id}:{}", secret.expose_secret())),
            _ => return Err(missing()),
        };
        let basic = secret_header(&format!("Basic {encoded}"))
            .ok_or_else(|| Error::settings("The Walmart token holds letters that Base64 has not"))?;
        let decoded = BASE64_STANDARD.decode(&encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let secret = decoded.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, secret)| secret.into());
        let secrets = secret.into_iter().chain([encoded.into()]).collect();
        Ok(Self { basic, secrets: std::sync::Mutex::new(secrets), held: Mutex::default() })
    }

    /// A text of the API without the secrets that it may repeat.
    pub(super) fn hide(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty());
        known.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// A token that is good for a while; never the one of the serial that was refused.
    ///
    /// # Errors
    /// `Access` when the credentials are refused.
    pub(super) async fn get(&self, client: &Client, refused: Option<u64>) -> Result<Token> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.as_ref()
            && Some(token.serial) != refused
            && Instant::now() < token.fresh_until
        {
            return Ok(token.clone());
        }
        let serial = held.as_ref().map_or(0, |token| token.serial + 1);
        let token = self.ask(client, serial).await?;
        Ok(held.insert(token).clone())
    }

    async fn ask(&self, client: &Client, serial: u64) -> Result<Token> {
        let asked = Instant::now();
        let reply = client
            .exchange(|http, base| {
                http.post(format!("{base}/token"))
                    .header(AUTHORIZATION, self.basic.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body("grant_type=client_credentials")
            })
            .await?;
        if reply.status != StatusCode::OK {
            return Err(self.refusal(client, &reply));
        }
        let granted: Granted = serde_json::from_slice(&reply.body)
            .map_err(|_| unavailable("Walmart's answer to a request for a token cannot be read"))?;
        let life = granted.expires_in.as_ref().and_then(seconds).unwrap_or(LIFE);
        let life = Duration::try_from_secs_f64(life).unwrap_or_default();
        let header = secret_header(granted.access_token.expose_secret())
            .ok_or_else(|| unavailable("Walmart's token cannot be sent in a header"))?;
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(granted.access_token);
        tracing::debug!(seconds = life.as_secs_f64(), "got an access token");
        Ok(Token { header, serial, fresh_until: asked + life.saturating_sub(MARGIN.min(life / 3)) })
    }

    fn refusal(&self, client: &Client, reply: &Reply) -> Error {
        let said = Said::of(&reply.body).hidden(|text| self.hide(text));
        match reply.status.as_u16() {
            400 | 401 | 403 => {
                let account = client.account();
                Error::new(Kind::Access, format!("Walmart refuses the credentials of the account {account}: {said}"))
                    .hint(
                        "Check WALMART_TOKEN (Base64 of client_id:client_secret) and that it belongs to this account.",
                    )
            }
            500.. | 408 => unavailable(format!("Walmart gives no token ({}): {said}", reply.status)),
            _ => Error::settings(format!("There are no tokens at {} ({}): {said}", client.base_url(), reply.status))
                .hint("Check WALMART_BASE_URL."),
        }
    }
}

/// A number, or the text of one.
fn seconds(value: &serde_json::Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|seconds| *seconds > 0.0)
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
