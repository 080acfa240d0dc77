//! `PostgreSQL`: how to get in, what a session is like, and what its errors mean.

use std::str::FromStr;

use chrono::DateTime;
use secrecy::ExposeSecret;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgDatabaseError, PgPoolOptions, PgSslMode, PgTypeInfo,
};
use sqlx::{Arguments, ConnectOptions, Encode, Executor, Pool, Postgres, Type};

use super::client::{CONNECT, Session};
use super::statement::{Value, decimal};
use crate::config::{self, Tls};
use crate::error::{Error, Kind, Result};

/// Begins a transaction that defines things: two that make the same at once would trip over each other.
pub const DEFINE_ALONE: &str = "SELECT pg_advisory_xact_lock(hashtext('pipeline_core.init_db'))";

pub(super) fn pool(settings: &config::Postgres, session: &Session) -> Result<Pool<Postgres>> {
    let mut statements = vec![
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        // Texts that one server writes are read by another.
        "SET IntervalStyle = 'postgres'".to_owned(),
        // A process that is frozen in a transaction loses its connection, and with it its locks.
        format!("SET idle_in_transaction_session_timeout = {}", session.silence.as_millis().max(1)),
        // What is committed is there after a crash; a stricter setting of the server's stays.
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
            .to_owned(),
    ];
    if let Some(time) = session.statement_timeout {
        statements.push(format!("SET statement_timeout = {}", time.as_millis()));
    }
    let statements = statements.join("; ");
    let pool = PgPoolOptions::new().max_connections(session.connections.max(1)).acquire_timeout(CONNECT).after_connect(
        move |connection, _| {
            let statements = statements.clone();
            Box::pin(async move { connection.execute(statements.as_str()).await.map(drop) })
        },
    );
    Ok(pool.connect_lazy_with(options(settings)?))
}

fn options(settings: &config::Postgres) -> Result<PgConnectOptions> {
    let options = if let Some(url) = &settings.url {
        PgConnectOptions::from_str(url.expose_secret()).map_err(|_| {
            Error::settings("That is no URL of a PostgreSQL database")
                .hint("Write postgresql://user:password@host:5432/database.")
        })?
    } else {
        let options = PgConnectOptions::new()
            .host(&settings.host)
            .port(settings.port)
            .username(&settings.user)
            .database(&settings.database);
        match &settings.password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    };
    let options = match settings.tls {
        Tls::Disabled => options.ssl_mode(PgSslMode::Disable),
        // What the URL says of TLS stands.
        Tls::Preferred => options,
        Tls::Required => options.ssl_mode(PgSslMode::Require),
        Tls::VerifyCa => options.ssl_mode(PgSslMode::VerifyCa),
        Tls::VerifyIdentity => options.ssl_mode(PgSslMode::VerifyFull),
    };
    let options = options.application_name("pipeline_core").disable_statement_logging();
    Ok(match &settings.ca_location {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| Error::io(format!("Cannot read the CA {path}"), error))?;
            options.ssl_root_cert_from_pem(pem)
        }
        None => options,
    })
}

/// A NULL whose type the server chooses.
struct Untyped;

impl Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

pub(super) fn bind<'a>(values: impl Iterator<Item = Value<'a>>) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Null => arguments.add(Untyped),
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Hundredths(amount) => arguments.add(decimal(amount)),
            Value::Time(seconds) => arguments.add(DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc()),
            Value::Texts(texts) => arguments.add(texts),
            Value::Ints(numbers) => arguments.add(numbers),
        }
        .map_err(|error| Error::internal(format!("A value cannot be sent to the database: {error}")))?;
    }
    Ok(arguments)
}

/// What can be done about an error. Codes: `PostgreSQL`'s manual, appendix A.
pub(super) fn meaning(error: &dyn sqlx::error::DatabaseError, init: &str) -> (Kind, Option<String>) {
    let code = error.try_downcast_ref::<PgDatabaseError>().map_or("", PgDatabaseError::code);
    match code {
        // Serialization failure, deadlock, lock timeout, statement timeout; a row that another transaction has made.
        "40001" | "40P01" | "40003" | "55P03" | "57014" => (Kind::Aborted, None),
        "42501" | "28000" | "28P01" => (Kind::Access, None),
        "3D000" => (Kind::NotFound, Some("Create the database, or name another.".to_owned())),
        "42P01" | "3F000" => (Kind::NotFound, Some(format!("Run `pipeline-core init-db {init}` first."))),
        "42703" | "42804" | "42P10" | "42830" | "0A000" => (
            Kind::Settings,
            Some(format!("The table has another shape: look at it, or run `pipeline-core init-db {init}`.")),
        ),
        // Read-only after a failover.
        "25006" | "25P03" => (Kind::Unavailable, None),
        "53100" => (Kind::Unavailable, Some("Make room on the database's disk: nothing is lost.".to_owned())),
        _ => match code.get(..2).unwrap_or_default() {
            // Connections; out of resources; the server stops or starts; its storage.
            "08" | "53" | "57" | "58" => (Kind::Unavailable, None),
            // Data that a column, a constraint or a trigger of the user's does not take.
            "22" | "23" | "44" | "P0" => (Kind::Rejected, None),
            "42" => (Kind::Settings, None),
            _ => (Kind::Internal, None),
        },
    }
}

/// `PostgreSQL 23514: …`, for a dead letter.
pub(super) fn said(error: &dyn sqlx::error::DatabaseError) -> Option<String> {
    let error = error.try_downcast_ref::<PgDatabaseError>()?;
    Some(format!("PostgreSQL {}: {}", error.code(), error.message()))
}
