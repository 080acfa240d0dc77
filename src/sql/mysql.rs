//! `MySQL` and `MariaDB`: how to get in, what a session is like, and what their errors mean.

use std::str::FromStr;

use chrono::DateTime;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions, MySqlSslMode};
use sqlx::{Arguments, ConnectOptions, Executor, MySql, Pool};

use super::client::{CONNECT, Session};
use super::statement::{Value, decimal};
use crate::config::{Mysql, Tls};
use crate::error::{Error, Kind, Result};

/// Keeps others who make tables out until the session ends: a definition would end a transaction.
pub const MAKE_ALONE: &str = "SELECT GET_LOCK('pipeline_core.init_db', 86400)";

pub(super) fn pool(settings: &Mysql, session: &Session) -> Result<Pool<MySql>> {
    let silence = session.silence.as_secs().max(1);
    // Each server takes the part that is its own for a comment where it is not: MariaDB in seconds, MySQL in
    // milliseconds, and for a SELECT only.
    let limits = session.statement_timeout.map_or_else(String::new, |time| {
        let (seconds, millis) = (time.as_secs_f64(), time.as_millis().max(1));
        format!(
            " /*M!100101 , SESSION max_statement_time = {seconds} */ /*!50708 , SESSION max_execution_time = {millis} */"
        )
    });
    let pool = MySqlPoolOptions::new()
        .max_connections(session.connections.max(1))
        .acquire_timeout(CONNECT)
        // Strict: nothing is cut or rounded by the server. No gap locks: lanes do not wait for each other. A process
        // that is frozen in a transaction loses its connection, and with it its locks.
        .after_connect(move |connection, _| {
            let limits = limits.clone();
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                let session = format!(
                    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION wait_timeout = {silence}{limits}"
                );
                connection.execute(session.as_str()).await.map(drop)
            })
        });
    Ok(pool.connect_lazy_with(options(settings)?))
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

pub(super) fn bind<'a>(values: impl Iterator<Item = Value<'a>>) -> Result<MySqlArguments> {
    let mut arguments = MySqlArguments::default();
    for value in values {
        match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Hundredths(amount) => arguments.add(decimal(amount)),
            Value::Time(seconds) => arguments.add(DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc()),
            Value::Texts(_) | Value::Ints(_) => return Err(Error::internal("MySQL has no arrays")),
        }
        .map_err(|error| Error::internal(format!("A value cannot be sent to the database: {error}")))?;
    }
    Ok(arguments)
}

/// What can be done about an error. Numbers: `MySQL`'s and `MariaDB`'s error references.
pub(super) fn meaning(error: &dyn sqlx::error::DatabaseError, init: &str) -> (Kind, Option<String>) {
    match error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number) {
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
        1049 | 1146 => (Kind::NotFound, Some(format!("Run `pipeline-core init-db {init}` first."))),
        1054 | 1136 | 1364 => {
            (Kind::Settings, Some(format!("The table has another shape: run `pipeline-core init-db {init}`.")))
        }
        1021 | 1026 | 1114 | 1041 | 1037 => (Kind::Capacity, None),
        // Data that a column, a foreign key, a CHECK or a trigger of the user's does not take.
        1048 | 1216 | 1217 | 1264 | 1265 | 1292 | 1366 | 1406 | 1411 | 1438 | 1451 | 1452 | 1644 | 1690 | 3140
        | 3141 | 3819 | 4025 => (Kind::Rejected, None),
        _ => (Kind::Internal, None),
    }
}

/// Whether a row has a key that another row has: `Aborted` for those who may have met another writer.
#[must_use]
pub fn is_duplicate(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<sqlx::Error>());
    let found = source.and_then(|source| source.as_database_error());
    found.and_then(|found| found.try_downcast_ref::<MySqlDatabaseError>()).is_some_and(|found| found.number() == 1062)
}
