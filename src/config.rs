//! Settings that several pipelines share. They arrive as one JSON document from the Python models;
//! unknown fields are refused, so that the two sides cannot drift apart.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads a settings document.
///
/// # Errors
/// Names the field that is missing, unknown or of the wrong type.
pub fn from_json<T: DeserializeOwned>(document: &str) -> Result<T> {
    serde_json::from_str(document).map_err(|error| Error::settings(format!("Settings do not fit: {error}")))
}

/// How to reach Kafka.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    pub bootstrap_servers: String,
    pub security_protocol: Option<String>,
    pub sasl_mechanism: Option<String>,
    pub sasl_username: Option<String>,
    pub sasl_password: Option<SecretString>,
    pub ssl_ca_location: Option<String>,
    pub ssl_certificate_location: Option<String>,
    pub ssl_key_location: Option<String>,
    pub ssl_key_password: Option<SecretString>,
    /// Any librdkafka property; wins over the settings above.
    pub properties: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            security_protocol: None,
            sasl_mechanism: None,
            sasl_username: None,
            sasl_password: None,
            ssl_ca_location: None,
            ssl_certificate_location: None,
            ssl_key_location: None,
            ssl_key_password: None,
            properties: BTreeMap::new(),
        }
    }
}

/// How to reach object stores.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub s3_endpoint: Option<String>,
    pub s3_region: Option<String>,
    pub s3_access_key_id: Option<String>,
    pub s3_secret_access_key: Option<SecretString>,
    pub s3_session_token: Option<SecretString>,
    pub s3_virtual_hosted: bool,
    pub obs_endpoint: Option<String>,
    pub obs_region: Option<String>,
    pub obs_access_key_id: Option<String>,
    pub obs_secret_access_key: Option<SecretString>,
    pub obs_virtual_hosted: bool,
    pub gcs_credentials_path: Option<String>,
    pub gcs_endpoint: Option<String>,
    /// Allow plain HTTP; only for servers on a trusted network.
    pub allow_http: bool,
    /// How long one request may take.
    pub timeout_seconds: f64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            s3_endpoint: None,
            s3_region: None,
            s3_access_key_id: None,
            s3_secret_access_key: None,
            s3_session_token: None,
            s3_virtual_hosted: false,
            obs_endpoint: None,
            obs_region: None,
            obs_access_key_id: None,
            obs_secret_access_key: None,
            obs_virtual_hosted: true,
            gcs_credentials_path: None,
            gcs_endpoint: None,
            allow_http: false,
            timeout_seconds: 60.0,
        }
    }
}

/// How to reach `MySQL` or `MariaDB`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mysql {
    /// Host, port, user and password in one; wins over the four below.
    pub mysql_url: Option<SecretString>,
    pub mysql_host: String,
    pub mysql_port: u16,
    pub mysql_user: String,
    pub mysql_password: Option<SecretString>,
    pub mysql_charset: String,
    pub mysql_tls: Tls,
    /// PEM file.
    pub mysql_ca_location: Option<String>,
}

/// How far a server must prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    Disabled,
    /// TLS where the server has it; proves nothing.
    Preferred,
    Required,
    /// Signed by a CA that is trusted. As sqlx 0.8 and this rustls are, the name is compared too.
    VerifyCa,
    /// And made out to the host's name.
    VerifyIdentity,
}

impl Default for Mysql {
    fn default() -> Self {
        Self {
            mysql_url: None,
            mysql_host: "localhost".to_owned(),
            mysql_port: 3306,
            mysql_user: "root".to_owned(),
            mysql_password: None,
            mysql_charset: "utf8mb4".to_owned(),
            mysql_tls: Tls::Preferred,
            mysql_ca_location: None,
        }
    }
}

/// How to reach Walmart's Marketplace API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Walmart {
    /// What the seller's account is called here.
    pub account_tag: String,
    /// Base64 of `client_id:client_secret`.
    pub walmart_token: Option<SecretString>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretString>,
    pub base_url: String,
    pub request_timeout_seconds: f64,
    /// Beside what the API itself says.
    pub max_requests_per_second: Option<f64>,
}

impl Default for Walmart {
    fn default() -> Self {
        Self {
            account_tag: "eForCity".to_owned(),
            walmart_token: None,
            client_id: None,
            client_secret: None,
            base_url: "https://marketplace.walmartapis.com/v3".to_owned(),
            request_timeout_seconds: 60.0,
            max_requests_per_second: None,
        }
    }
}

/// Where a group without a position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetReset {
    Earliest,
    Latest,
}

/// The type that a column is given by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    String,
    Int64,
    Float64,
    Boolean,
    Timestamp,
}
