//! Connections, and what their errors mean.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions, MySqlRow, MySqlSslMode};
use sqlx::{ConnectOptions, Executor, MySql, Pool, Row};
use tokio_util::sync::CancellationToken;

use super::statement::{Dialect, Value, bind};
use crate::config::{Mysql, Tls};
use crate::error::{Error, Kind, Result};
use crate::retry::patiently;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// A server that is reached through a few connections.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool<MySql>,
    dialect: Dialect,
    version: String,
}

/// A transaction; dropped without a commit, it is rolled back.
pub struct Transaction {
    inner: sqlx::Transaction<'static, MySql>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

impl Database {
    /// Connects; waits for a server that is away. The server ends connections that are silent for `silence`.
    ///
    /// # Errors
    /// When the server cannot be reached, or does not let us in.
    pub async fn connect(
        settings: &Mysql,
        connections: u32,
        silence: Duration,
        stop: &CancellationToken,
    ) -> Result<Self> {
        patiently("Reaching the database", stop, || Self::open(settings, connections, silence)).await
    }

    /// The same for a server that is there.
    ///
    /// # Errors
    /// As `connect`; `Unavailable` where it may be there later.
    pub async fn open(settings: &Mysql, connections: u32, silence: Duration) -> Result<Self> {
        // Two are compiled in, and rustls does not choose by itself. An error says that one is there already.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let options = options(settings)?;
        let pool = MySqlPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(CONNECT)
            // Strict: nothing is cut or rounded by the server. No gap locks: lanes do not wait for each other. A process
            // that is frozen in a transaction loses its connection, and with it its locks.
            .after_connect(move |connection, _| {
                let silence = silence.as_secs().max(1);
                Box::pin(async move {
                    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                    let session = format!(
                        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION wait_timeout = {silence}"
                    );
                    connection.execute(session.as_str()).await.map(drop)
                })
            })
            .connect_lazy_with(options);
        let row = sqlx::query("SELECT VERSION()").fetch_one(&pool).await;
        let row = row.map_err(|error| explain("Cannot reach the database", error))?;
        let version: String = row.try_get(0).map_err(|error| explain("Cannot read the server's version", error))?;
        let dialect = Dialect::of(&version);
        Ok(Self { pool, dialect, version })
    }

    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// As the server calls itself: `MariaDB 10.11.6`.
    #[must_use]
    pub fn server(&self) -> String {
        match self.version.split_once("-MariaDB") {
            Some((version, _)) => format!("MariaDB {}", version.trim_start_matches("5.5.5-")),
            None => format!("MySQL {}", self.version),
        }
    }

    /// # Errors
    /// When the server cannot be reached.
    pub async fn begin(&self) -> Result<Transaction> {
        let inner = self.pool.begin().await.map_err(|error| explain("Cannot begin a transaction", error))?;
        Ok(Transaction { inner })
    }

    /// One statement by itself, such as a definition.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn execute(&self, sql: &str) -> Result<u64> {
        let done = self.pool.execute(sql).await.map_err(|error| explain(&shortened(sql), error))?;
        Ok(done.rows_affected())
    }

    /// The rows of a query outside any transaction.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fetched>> {
        let rows = sqlx::query_with(sql, bind(values.iter().copied())?).fetch_all(&self.pool).await;
        Ok(rows.map_err(|error| explain(&shortened(sql), error))?.into_iter().map(Fetched).collect())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Transaction {
    /// # Errors
    /// When the server refuses it.
    pub async fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.send(sql, values, true).await
    }

    /// A statement that comes again is kept prepared; one for the rest of a batch is not.
    pub(super) async fn send(&mut self, sql: &str, values: &[Value<'_>], comes_again: bool) -> Result<u64> {
        let query = sqlx::query_with(sql, bind(values.iter().copied())?).persistent(comes_again);
        let done = query.execute(&mut *self.inner).await;
        Ok(done.map_err(|error| explain(&shortened(sql), error))?.rows_affected())
    }

    /// A statement that cannot be prepared, such as SAVEPOINT.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn say(&mut self, sql: &str) -> Result<()> {
        let done = self.inner.execute(sql).await;
        done.map(drop).map_err(|error| explain(&shortened(sql), error))
    }

    /// # Errors
    /// When the server refuses it.
    pub async fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fetched>> {
        let rows = sqlx::query_with(sql, bind(values.iter().copied())?).fetch_all(&mut *self.inner).await;
        Ok(rows.map_err(|error| explain(&shortened(sql), error))?.into_iter().map(Fetched).collect())
    }

    /// # Errors
    /// `Unavailable` where nobody knows whether it was committed: look at the positions.
    pub async fn commit(self) -> Result<()> {
        self.inner.commit().await.map_err(|error| explain("COMMIT", error))
    }

    /// # Errors
    /// When the connection is lost; the server rolls back then too.
    pub async fn roll_back(self) -> Result<()> {
        self.inner.rollback().await.map_err(|error| explain("ROLLBACK", error))
    }
}

/// A row that was read.
#[derive(Debug)]
pub struct Fetched(MySqlRow);

impl Fetched {
    /// # Errors
    /// When the column is no such thing.
    pub fn int(&self, at: usize) -> Result<Option<i64>> {
        self.0.try_get(at).map_err(|error| explain("Cannot read a row", error))
    }

    /// # Errors
    /// When the column is no such thing.
    pub fn text(&self, at: usize) -> Result<Option<String>> {
        // Unchecked: text of a binary collation, as also the server's own tables have it, counts as bytes with sqlx.
        self.0.try_get_unchecked(at).map_err(|error| explain("Cannot read a row", error))
    }

    /// # Errors
    /// When the column is no such thing.
    pub fn bytes(&self, at: usize) -> Result<Option<Vec<u8>>> {
        self.0.try_get(at).map_err(|error| explain("Cannot read a row", error))
    }

    /// Seconds since 1970 of a DATETIME.
    ///
    /// # Errors
    /// When the column is no such thing.
    pub fn time(&self, at: usize) -> Result<Option<i64>> {
        let time: Option<chrono::NaiveDateTime> =
            self.0.try_get(at).map_err(|error| explain("Cannot read a row", error))?;
        Ok(time.map(|time| time.and_utc().timestamp()))
    }
}

fn options(settings: &Mysql) -> Result<MySqlConnectOptions> {
    let options = if let Some(url) = &settings.mysql_url {
        MySqlConnectOptions::from_str(url.expose_secret()).map_err(|_| {
            Error::settings("mysql_url is no URL of a database").hint("Write mysql://user:password@host:3306.")
        })?
    } else {
        let options = MySqlConnectOptions::new()
            .host(&settings.mysql_host)
            .port(settings.mysql_port)
            .username(&settings.mysql_user);
        match &settings.mysql_password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    };
    let mode = match settings.mysql_tls {
        Tls::Disabled => MySqlSslMode::Disabled,
        Tls::Preferred => MySqlSslMode::Preferred,
        Tls::Required => MySqlSslMode::Required,
        Tls::VerifyCa => MySqlSslMode::VerifyCa,
        Tls::VerifyIdentity => MySqlSslMode::VerifyIdentity,
    };
    let options = options.ssl_mode(mode).charset(&settings.mysql_charset).timezone(Some("+00:00".to_owned()));
    Ok(match &settings.mysql_ca_location {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| Error::io(format!("Cannot read the CA {path}"), error))?;
            options.ssl_ca_from_pem(pem)
        }
        None => options,
    }
    .disable_statement_logging())
}

/// What can be done about an error. Numbers: `MySQL`'s and `MariaDB`'s error references.
pub(super) fn explain(what: &str, error: sqlx::Error) -> Error {
    let (kind, hint) = match &error {
        sqlx::Error::Database(found) => {
            let number = found.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
            of_number(number)
        }
        sqlx::Error::Configuration(_) => (Kind::Settings, None),
        sqlx::Error::Tls(_) => (Kind::Access, Some(CHECK_TLS)),
        // A certificate that is not to be trusted.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => (Kind::Access, Some(CHECK_TLS)),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => {
            (Kind::Unavailable, None)
        }
        _ => (Kind::Internal, None),
    };
    let explained = Error::new(kind, format!("{what}: {error}")).caused_by(error);
    match hint {
        Some(hint) => explained.hint(hint),
        None => explained,
    }
}

const CHECK_TLS: &str = "Check mysql_tls and mysql_ca_location.";

fn of_number(number: u16) -> (Kind, Option<&'static str>) {
    match number {
        // Deadlock, lock timeout, and a row that another transaction has made meanwhile.
        1205 | 1213 | 1020 | 1062 => (Kind::Aborted, None),
        // Too many connections, shutdown, killed, read-only after a failover, rolled back for a statement's time.
        1040
        | 1042
        | 1053
        | 1077
        | 1079
        | 1152
        | 1158..=1161
        | 1180
        | 1203
        | 1290
        | 1317
        | 1836
        | 1927
        | 1969
        | 3024
        | 4031 => (Kind::Unavailable, None),
        1044 | 1045 | 1142 | 1143 | 1227 | 1698 | 3159 => (Kind::Access, None),
        1049 | 1146 => (Kind::NotFound, Some("Run `pipeline-core init-db walmart-to-mysql` first.")),
        1054 | 1136 | 1364 => {
            (Kind::Settings, Some("The table has another shape: run `pipeline-core init-db walmart-to-mysql`."))
        }
        1021 | 1026 | 1114 | 1041 | 1037 => (Kind::Capacity, None),
        // Data that a column does not take.
        1048 | 1264 | 1265 | 1292 | 1366 | 1406 | 1411 | 1438 | 3140 | 3141 | 4025 => (Kind::Rejected, None),
        _ => (Kind::Internal, None),
    }
}

/// The beginning of a statement, for messages.
fn shortened(sql: &str) -> String {
    match sql.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.to_owned(),
    }
}
