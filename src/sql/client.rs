//! Connections and transactions, the same for each server.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::{Executor, MySql, Pool, Postgres, Row, TypeInfo, ValueRef};
use tokio_util::sync::CancellationToken;

use super::statement::{Dialect, Value, numbered};
use super::{mysql, postgres};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::retry::patiently;

/// How long a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(15);

/// Of one database these are e.g. `mysql_tls` and `mysql_ca_location`.
const CHECK_TLS: &str = "Check the settings …_tls and …_ca_location of this database.";

/// Which server, and how to get in.
#[derive(Debug, Clone, Copy)]
pub enum Server<'a> {
    MySql(&'a config::Mysql),
    Postgres(&'a config::Postgres),
}

/// What connections are for.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    pub connections: u32,
    /// The server ends a connection that is silent for so long, with a transaction that is open in it.
    pub silence: Duration,
    /// A statement that takes longer is broken off.
    pub statement_timeout: Option<Duration>,
    /// What `pipeline-core init-db` makes the tables of, for hints.
    pub init: &'static str,
}

/// A server that is reached through a few connections.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Connections,
    dialect: Dialect,
    version: String,
    init: &'static str,
}

#[derive(Debug, Clone)]
enum Connections {
    MySql(Pool<MySql>),
    Postgres(Pool<Postgres>),
}

/// A transaction; dropped without a commit, it is rolled back.
pub struct Transaction {
    inner: Inner,
    init: &'static str,
}

enum Inner {
    MySql(sqlx::Transaction<'static, MySql>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

/// Who can be asked: a database, or a transaction in it.
pub trait Asked {
    /// The rows of a query.
    ///
    /// # Errors
    /// When the server refuses it.
    fn ask(self, sql: &str, values: &[Value<'_>]) -> impl Future<Output = Result<Vec<Fetched>>> + Send;
}

impl Asked for &Database {
    async fn ask(self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fetched>> {
        self.query(sql, values).await
    }
}

impl Asked for &mut Transaction {
    async fn ask(self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fetched>> {
        self.query(sql, values).await
    }
}

impl Database {
    /// Connects; waits for a server that is away.
    ///
    /// # Errors
    /// When the server cannot be reached, or does not let us in.
    pub async fn connect(server: Server<'_>, session: Session, stop: &CancellationToken) -> Result<Self> {
        patiently("Reaching the database", stop, || Self::open(server, session)).await
    }

    /// The same for a server that is there.
    ///
    /// # Errors
    /// As `connect`; `Unavailable` where it may be there later.
    pub async fn open(server: Server<'_>, session: Session) -> Result<Self> {
        // Two are compiled in, and rustls does not choose by itself. An error says that one is there already.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let pool = match server {
            Server::MySql(settings) => Connections::MySql(mysql::pool(settings, &session)?),
            Server::Postgres(settings) => Connections::Postgres(postgres::pool(settings, &session)?),
        };
        let asked = async {
            match &pool {
                Connections::MySql(pool) => sqlx::query("SELECT VERSION()").fetch_one(pool).await?.try_get(0),
                Connections::Postgres(pool) => sqlx::query("SHOW server_version").fetch_one(pool).await?.try_get(0),
            }
        };
        let version: String = asked.await.map_err(|error| explain("Cannot reach the database", error, session.init))?;
        let dialect = match &pool {
            Connections::MySql(_) => Dialect::of(&version),
            Connections::Postgres(_) => Dialect::Postgres,
        };
        Ok(Self { pool, dialect, version, init: session.init })
    }

    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// As the server calls itself: `MariaDB 10.11.6`.
    #[must_use]
    pub fn server(&self) -> String {
        if self.dialect == Dialect::Postgres {
            return format!("PostgreSQL {}", self.version);
        }
        match self.version.split_once("-MariaDB") {
            Some((version, _)) => format!("MariaDB {}", version.trim_start_matches("5.5.5-")),
            None => format!("MySQL {}", self.version),
        }
    }

    /// The version's first number.
    #[must_use]
    pub fn major_version(&self) -> u32 {
        self.version.split(|sign: char| !sign.is_ascii_digit()).next().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// # Errors
    /// When the server cannot be reached.
    pub async fn begin(&self) -> Result<Transaction> {
        let begun = match &self.pool {
            Connections::MySql(pool) => pool.begin().await.map(Inner::MySql),
            Connections::Postgres(pool) => pool.begin().await.map(Inner::Postgres),
        };
        let inner = begun.map_err(|error| explain("Cannot begin a transaction", error, self.init))?;
        Ok(Transaction { inner, init: self.init })
    }

    /// One statement by itself, such as a definition.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn execute(&self, sql: &str) -> Result<u64> {
        let done = match &self.pool {
            Connections::MySql(pool) => pool.execute(sql).await.map(|done| done.rows_affected()),
            Connections::Postgres(pool) => pool.execute(sql).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| explain(&shortened(sql), error, self.init))
    }

    /// The rows of a query outside any transaction.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fetched>> {
        let values = values.iter().copied();
        let rows = match &self.pool {
            Connections::MySql(pool) => {
                let rows = sqlx::query_with(sql, mysql::bind(values)?).fetch_all(pool).await;
                rows.map(|rows| rows.into_iter().map(Fetched::MySql).collect())
            }
            Connections::Postgres(pool) => {
                let rows = sqlx::query_with(&numbered(sql), postgres::bind(values)?).fetch_all(pool).await;
                rows.map(|rows| rows.into_iter().map(Fetched::Postgres).collect())
            }
        };
        rows.map_err(|error| explain(&shortened(sql), error, self.init))
    }

    pub async fn close(&self) {
        match &self.pool {
            Connections::MySql(pool) => pool.close().await,
            Connections::Postgres(pool) => pool.close().await,
        }
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
        let values = values.iter().copied();
        let done = match &mut self.inner {
            Inner::MySql(inner) => {
                let query = sqlx::query_with(sql, mysql::bind(values)?).persistent(comes_again);
                query.execute(&mut **inner).await.map(|done| done.rows_affected())
            }
            Inner::Postgres(inner) => {
                let sql = numbered(sql);
                let query = sqlx::query_with(&sql, postgres::bind(values)?).persistent(comes_again);
                query.execute(&mut **inner).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|error| explain(&shortened(sql), error, self.init))
    }

    /// A statement that cannot be prepared, such as SAVEPOINT.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn say(&mut self, sql: &str) -> Result<()> {
        let done = match &mut self.inner {
            Inner::MySql(inner) => inner.execute(sql).await.map(drop),
            Inner::Postgres(inner) => inner.execute(sql).await.map(drop),
        };
        done.map_err(|error| explain(&shortened(sql), error, self.init))
    }

    /// # Errors
    /// When the server refuses it.
    pub async fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fetched>> {
        let values = values.iter().copied();
        let rows = match &mut self.inner {
            Inner::MySql(inner) => {
                let rows = sqlx::query_with(sql, mysql::bind(values)?).fetch_all(&mut **inner).await;
                rows.map(|rows| rows.into_iter().map(Fetched::MySql).collect())
            }
            Inner::Postgres(inner) => {
                let rows = sqlx::query_with(&numbered(sql), postgres::bind(values)?).fetch_all(&mut **inner).await;
                rows.map(|rows| rows.into_iter().map(Fetched::Postgres).collect())
            }
        };
        rows.map_err(|error| explain(&shortened(sql), error, self.init))
    }

    /// `COPY … FROM STDIN` with these bytes; `PostgreSQL` alone has it.
    ///
    /// # Errors
    /// When the server refuses a row.
    pub async fn copy(&mut self, sql: &str, bytes: &[u8]) -> Result<u64> {
        let Inner::Postgres(inner) = &mut self.inner else { return Err(Error::internal("MySQL has no COPY")) };
        let copied = async {
            let mut copy = inner.copy_in_raw(sql).await?;
            copy.send(bytes).await?;
            copy.finish().await
        };
        copied.await.map_err(|error| explain(&shortened(sql), error, self.init))
    }

    /// # Errors
    /// `Unavailable` where nobody knows whether it was committed: look at the positions.
    pub async fn commit(self) -> Result<()> {
        let done = match self.inner {
            Inner::MySql(inner) => inner.commit().await,
            Inner::Postgres(inner) => inner.commit().await,
        };
        done.map_err(|error| explain("COMMIT", error, self.init))
    }

    /// # Errors
    /// When the connection is lost; the server rolls back then too.
    pub async fn roll_back(self) -> Result<()> {
        let done = match self.inner {
            Inner::MySql(inner) => inner.rollback().await,
            Inner::Postgres(inner) => inner.rollback().await,
        };
        done.map_err(|error| explain("ROLLBACK", error, self.init))
    }
}

/// A row that was read.
#[derive(Debug)]
pub enum Fetched {
    MySql(MySqlRow),
    Postgres(PgRow),
}

impl Fetched {
    /// # Errors
    /// When the column is no such thing.
    pub fn int(&self, at: usize) -> Result<Option<i64>> {
        match self {
            Self::MySql(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get_raw(at).and_then(|value| match value.type_info().name() {
                "INT2" => row.try_get::<Option<i16>, _>(at).map(|number| number.map(i64::from)),
                "INT4" => row.try_get::<Option<i32>, _>(at).map(|number| number.map(i64::from)),
                _ => row.try_get(at),
            }),
        }
        .map_err(unreadable)
    }

    /// # Errors
    /// When the column is no such thing.
    pub fn text(&self, at: usize) -> Result<Option<String>> {
        // Unchecked: text of a binary collation, as also the server's own tables have it, counts as bytes with sqlx.
        match self {
            Self::MySql(row) => row.try_get_unchecked(at),
            Self::Postgres(row) => row.try_get_unchecked(at),
        }
        .map_err(unreadable)
    }

    /// The same without a copy.
    ///
    /// # Errors
    /// When the column is no such thing.
    pub fn str(&self, at: usize) -> Result<Option<&str>> {
        match self {
            Self::MySql(row) => row.try_get_unchecked(at),
            Self::Postgres(row) => row.try_get_unchecked(at),
        }
        .map_err(unreadable)
    }

    /// # Errors
    /// When the column is no such thing.
    pub fn bool(&self, at: usize) -> Result<Option<bool>> {
        match self {
            Self::MySql(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
        .map_err(unreadable)
    }

    /// # Errors
    /// When the column is no such thing.
    pub fn bytes(&self, at: usize) -> Result<Option<Vec<u8>>> {
        match self {
            Self::MySql(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
        .map_err(unreadable)
    }

    /// Seconds since 1970 of a DATETIME or TIMESTAMP.
    ///
    /// # Errors
    /// When the column is no such thing.
    pub fn time(&self, at: usize) -> Result<Option<i64>> {
        let time: Option<chrono::NaiveDateTime> = match self {
            Self::MySql(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
        .map_err(unreadable)?;
        Ok(time.map(|time| time.and_utc().timestamp()))
    }
}

fn unreadable(error: sqlx::Error) -> Error {
    Error::internal(format!("Cannot read a row: {error}")).caused_by(error)
}

/// What can be done about an error.
fn explain(what: &str, error: sqlx::Error, init: &str) -> Error {
    let mut said = format!("{what}: {error}");
    let (kind, hint) = match &error {
        sqlx::Error::Database(found) => {
            if let Some(own) = postgres::said(&**found) {
                let meaning = postgres::meaning(&**found, init);
                // What a row does is not the statement's fault, and goes to the dead letters as it is.
                said = if meaning.0 == Kind::Rejected { own } else { format!("{what}: {own}") };
                meaning
            } else {
                mysql::meaning(&**found, init)
            }
        }
        sqlx::Error::Configuration(_) => (Kind::Settings, None),
        sqlx::Error::Tls(_) => (Kind::Access, Some(CHECK_TLS.to_owned())),
        // A certificate that is not to be trusted.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            (Kind::Access, Some(CHECK_TLS.to_owned()))
        }
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => {
            (Kind::Unavailable, None)
        }
        _ => (Kind::Internal, None),
    };
    let explained = Error::new(kind, said).caused_by(error);
    match hint {
        Some(hint) => explained.hint(hint),
        None => explained,
    }
}

/// The beginning of a statement, for messages.
fn shortened(sql: &str) -> Cow<'_, str> {
    match sql.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &sql[..end]).into(),
        None => sql.into(),
    }
}
