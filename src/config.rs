//! Settings that several pipelines share. They arrive as one JSON document from the Python models;
//! unknown fields are refused, so that the two sides cannot drift apart.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

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

/// A database of `MySQL` or `MariaDB`, where two of them meet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MysqlDatabase {
    /// Host, port, user and password in one; wins over the four below.
    pub url: Option<SecretString>,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    pub tls: Tls,
    /// PEM file.
    pub ca_location: Option<String>,
}

impl Default for MysqlDatabase {
    fn default() -> Self {
        Self {
            url: None,
            host: "localhost".to_owned(),
            port: 3306,
            user: "root".to_owned(),
            password: None,
            database: String::new(),
            tls: Tls::Preferred,
            ca_location: None,
        }
    }
}

impl MysqlDatabase {
    /// How to reach its server.
    #[must_use]
    pub fn server(&self) -> Mysql {
        let Self { url, host, port, user, password, database: _, tls, ca_location } = self.clone();
        Mysql {
            mysql_url: url,
            mysql_host: host,
            mysql_port: port,
            mysql_user: user,
            mysql_password: password,
            mysql_tls: tls,
            mysql_ca_location: ca_location,
            ..Mysql::default()
        }
    }
}

/// How to reach a `PostgreSQL` database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// All in one; wins over the five below.
    pub url: Option<SecretString>,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    pub tls: Tls,
    /// PEM file.
    pub ca_location: Option<String>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            url: None,
            host: "localhost".to_owned(),
            port: 5432,
            user: "postgres".to_owned(),
            password: None,
            database: "postgres".to_owned(),
            tls: Tls::Preferred,
            ca_location: None,
        }
    }
}

/// How to reach a `MongoDB` server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mongodb {
    /// `mongodb://` or `mongodb+srv://`. Goes before host, port, user and password.
    pub uri: Option<SecretString>,
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    /// Where the user is known.
    pub auth_source: String,
    pub database: String,
    /// Speak to this server alone, whatever its replica set says. Not said: where host and port name it.
    pub direct_connection: Option<bool>,
    pub tls: bool,
    /// PEM file.
    pub ca_location: Option<String>,
    pub min_pool_size: u32,
    pub max_pool_size: u32,
}

impl Default for Mongodb {
    fn default() -> Self {
        Self {
            uri: None,
            host: "localhost".to_owned(),
            port: 27017,
            user: None,
            password: None,
            auth_source: "admin".to_owned(),
            database: "raw_data_temp".to_owned(),
            direct_connection: None,
            tls: false,
            ca_location: None,
            min_pool_size: 0,
            max_pool_size: 10,
        }
    }
}

/// How rows of a table are told in change events. The default is the table `employees`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Columns of the primary key.
    pub key: Vec<String>,
    pub columns: Vec<MappedColumn>,
    /// The change's number: its column in the change table, and its field in the message.
    pub id_column: String,
    pub id_field: String,
    pub action_column: String,
    pub action_field: String,
}

/// A column and its field in the message.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedColumn {
    pub name: String,
    /// As `PostgreSQL` writes it: `varchar(100)`.
    #[serde(rename = "type")]
    pub of: String,
    pub field: String,
    /// Other names of the field that are read.
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub required: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        let column = |name: &str, of: &str, field: &str, required| MappedColumn {
            name: name.to_owned(),
            of: of.to_owned(),
            field: field.to_owned(),
            aliases: Vec::new(),
            required,
        };
        Self {
            key: vec!["emp_id".to_owned()],
            columns: vec![
                column("emp_id", "integer", "emp_id", true),
                column("first_name", "varchar(100)", "emp_FN", true),
                column("last_name", "varchar(100)", "emp_LN", true),
                column("dob", "date", "emp_dob", false),
                column("city", "varchar(100)", "emp_city", false),
                column("salary", "integer", "emp_salary", false),
            ],
            id_column: "action_id".to_owned(),
            id_field: "action_id".to_owned(),
            action_column: "action".to_owned(),
            action_field: "action".to_owned(),
        }
    }
}

/// A data type of documents: a mapping, or `module:Class` of the user's model.
#[derive(Debug, Clone, PartialEq)]
pub enum DataType {
    Model(String),
    Mapping(DocumentMapping),
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrMapping)
    }
}

/// What is wrong with a mapping is said by name, which an untagged enum does not.
struct TextOrMapping;

impl<'de> Visitor<'de> for TextOrMapping {
    type Value = DataType;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a mapping or the text \"module:Class\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<DataType, E> {
        Ok(DataType::Model(text.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<DataType, M::Error> {
        DocumentMapping::deserialize(MapAccessDeserializer::new(map)).map(DataType::Mapping)
    }
}

/// Which values of a document make a message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentMapping {
    pub fields: Vec<DocumentField>,
}

/// A value of the message: that at a path of the document, a constant, or a variable.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentField {
    /// Its place in the message: `data.info_date` stands in the object `data`.
    pub name: String,
    /// Its place in the document: names in objects, numbers in arrays.
    pub path: Option<String>,
    pub constant: Option<serde_json::Value>,
    pub variable: Option<Variable>,
    /// For a value that is missing, and for null where it is not `nullable`.
    pub default: Option<serde_json::Value>,
    /// Null stays null.
    #[serde(default)]
    pub nullable: bool,
    /// Without a default: a document without the value is refused; else the value is null.
    #[serde(default = "is_required")]
    pub required: bool,
    #[serde(default)]
    pub form: DocumentForm,
    /// Texts that are taken out of a text.
    #[serde(default)]
    pub remove: Vec<String>,
}

fn is_required() -> bool {
    true
}

impl DocumentField {
    /// With nothing but a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: None,
            constant: None,
            variable: None,
            default: None,
            nullable: false,
            required: true,
            form: DocumentForm::Any,
            remove: Vec::new(),
        }
    }
}

/// What a message may hold that no document does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    Topic,
    DataType,
    Collection,
}

/// What a value of a document becomes in the message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentForm {
    /// JSON in the form of the run.
    #[default]
    Any,
    /// The text that Python's `str` gives; arrays and objects have none.
    Text,
    /// The same as any, and must be an array.
    List,
    /// The same as any, and must be an object.
    Object,
    /// A text that holds JSON, as Python's `json.dumps` writes it.
    JsonText,
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

/// Where a run's numbers and its health are served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    pub host: String,
    /// Nowhere without it.
    pub port: Option<u16>,
    /// A run that has not moved for so long is not ready.
    pub ready_seconds: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: None, ready_seconds: 60.0 }
    }
}

impl Metrics {
    /// How often it is asked how much there is to do yet; never where nobody looks.
    #[must_use]
    pub fn lag_interval(&self) -> Option<Duration> {
        self.port.map(|_| Duration::from_secs(2))
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
