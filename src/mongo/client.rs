//! A client of a server, and what its errors mean.

use std::time::Duration;

use bson::{Bson, Document, Timestamp, doc};
use mongodb::error::{Error as Failure, ErrorKind};
use mongodb::options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions};
use mongodb::{Collection, Database};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::error::{Error, Kind, Result};
use crate::retry::patiently;

/// A server that does not answer for so long is taken to be away.
const SILENCE: Duration = Duration::from_secs(30);

/// What a server says while it starts, steps down or shuts down.
const PASSING: [i32; 15] = [6, 7, 43, 89, 91, 134, 175, 189, 237, 262, 9001, 10107, 11600, 11602, 13435];

/// Who we are is not known, or not allowed to do this.
const ACCESS: [i32; 4] = [8000, 13, 18, 33];

/// What we ask is not what it takes.
const WRONG: [i32; 6] = [2, 9, 14, 40324, 40415, NO_REPLICA_SET];

const NO_REPLICA_SET: i32 = 40573;

/// One database of a server.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) database: Database,
    said: String,
}

/// What time it is for the server.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since 1970.
    pub millis: i64,
    /// Of the last operation on its log; `None` where it has no log.
    pub operation: Option<Timestamp>,
    /// An empty batch of changes says nothing of the other shards.
    pub is_sharded: bool,
}

impl Client {
    /// Tries until the server answers.
    ///
    /// # Errors
    /// When a setting is wrong, the server refuses us, or it does not answer in time.
    pub async fn connect(settings: &config::Mongodb, stop: &CancellationToken) -> Result<Self> {
        patiently("Connecting to MongoDB", stop, || Self::open(settings)).await
    }

    /// Tries once.
    ///
    /// # Errors
    /// As `connect`.
    pub async fn open(settings: &config::Mongodb) -> Result<Self> {
        let (options, name) = (options(settings).await?, database_name(settings));
        let client =
            mongodb::Client::with_options(options).map_err(|error| of_mongo("The settings of MongoDB", &error))?;
        let database = client.database(&name);
        let mut this = Self { database, said: String::new() };
        let built = this.run(doc! {"buildInfo": 1}).await?;
        this.said = format!("MongoDB {}", built.get_str("version").unwrap_or("of an unknown version"));
        Ok(this)
    }

    /// The server and its version.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.said
    }

    #[must_use]
    pub fn database_name(&self) -> &str {
        self.database.name()
    }

    pub(super) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    async fn run(&self, command: Document) -> Result<Document> {
        let name = command.keys().next().cloned().unwrap_or_default();
        answered(&name, self.database.run_command(command)).await
    }

    /// What `call` gives, however long the server works on it, as long as it answers to others.
    pub(super) async fn awaited<T>(&self, what: &str, call: impl IntoFuture<Output = T>) -> Result<T> {
        let call = call.into_future();
        tokio::pin!(call);
        loop {
            if let Ok(outcome) = tokio::time::timeout(SILENCE, &mut call).await {
                return Ok(outcome);
            }
            if let Err(error) = self.run(doc! {"ping": 1}).await {
                return Err(Error::new(Kind::Unavailable, format!("{what}: {error}")));
            }
        }
    }

    /// # Errors
    /// When the server does not answer.
    pub async fn now(&self) -> Result<Now> {
        let hello = self.run(doc! {"hello": 1}).await?;
        let local = hello.get_datetime("localTime").map_err(|_| Error::internal("The server does not say its time"))?;
        let last_write = hello.get_document("lastWrite").and_then(|last| last.get_document("opTime")).ok();
        let operation =
            hello.get_timestamp("operationTime").ok().or(last_write.and_then(|last| last.get_timestamp("ts").ok()));
        let is_sharded = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        Ok(Now { millis: local.timestamp_millis(), operation, is_sharded })
    }

    /// Whether there is such a collection.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn has(&self, collection: &str) -> Result<bool> {
        let names = self.database.list_collection_names().filter(doc! {"name": collection});
        Ok(!answered("listCollections", names).await?.is_empty())
    }

    /// Documents of the collection, by its own count.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn estimate(&self, collection: &str) -> Result<u64> {
        let collection = self.collection(collection);
        answered("count", collection.estimated_document_count()).await
    }

    /// Whether an index begins with the field.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn has_index(&self, collection: &str, field: &str) -> Result<bool> {
        let listed = self.run(doc! {"listIndexes": collection}).await?;
        let indexes = listed.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let begins = |index: &Bson| {
            let key = index.as_document().and_then(|index| index.get_document("key").ok());
            key.and_then(|key| key.keys().next()).is_some_and(|first| first == field)
        };
        Ok(indexes.is_ok_and(|indexes| indexes.iter().any(begins)))
    }

    /// Waits until what was written up to `time` can no longer be undone.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn settle(&self, collection: &str, time: Timestamp) -> Result<()> {
        let concern = doc! {"level": "majority", "afterClusterTime": time};
        let command = doc! {"find": collection, "limit": 1, "projection": {"_id": 1}, "readConcern": concern};
        match self.run(command).await {
            // A server that does not know of it has nothing to wait for.
            Err(error) if !matches!(error.kind(), Kind::Unavailable | Kind::Access) => {
                tracing::debug!(%error, "reading what a majority has");
                Ok(())
            }
            other => other.map(drop),
        }
    }
}

async fn options(settings: &config::Mongodb) -> Result<ClientOptions> {
    let mut options = if let Some(uri) = &settings.uri {
        ClientOptions::parse(uri.expose_secret()).await.map_err(|error| {
            let error = of_mongo("The URI of MongoDB", &error);
            Error::new(error.kind(), hidden(uri.expose_secret(), &error.to_string()))
        })?
    } else {
        let host = ServerAddress::Tcp { host: settings.host.clone(), port: Some(settings.port) };
        ClientOptions::builder().hosts(vec![host]).direct_connection(true).build()
    };
    if let (None, Some(user)) = (&settings.uri, &settings.user) {
        let mut credential = Credential::default();
        credential.username = Some(user.clone());
        credential.password = settings.password.as_ref().map(|password| password.expose_secret().to_owned());
        credential.source = Some(settings.auth_source.clone());
        options.credential = Some(credential);
    }
    if let Some(direct) = settings.direct_connection {
        options.direct_connection = Some(direct);
    }
    if settings.tls || settings.ca_location.is_some() {
        let mut tls = match options.tls.take() {
            Some(Tls::Enabled(tls)) => tls,
            _ => TlsOptions::default(),
        };
        if let Some(path) = &settings.ca_location {
            tls.ca_file_path = Some(path.into());
        }
        options.tls = Some(Tls::Enabled(tls));
    }
    options.app_name.get_or_insert_with(|| "pipeline_core".to_owned());
    options.connect_timeout.get_or_insert(Duration::from_secs(10));
    options.server_selection_timeout.get_or_insert(Duration::from_secs(10));
    options.min_pool_size.get_or_insert(settings.min_pool_size);
    options.max_pool_size.get_or_insert(settings.max_pool_size.max(1));
    Ok(options)
}

/// The database, without asking a server. What the user names goes before what the URI names.
#[must_use]
pub fn database_name(settings: &config::Mongodb) -> String {
    let is_named = settings.database != config::Mongodb::default().database;
    let uri = settings.uri.as_ref().filter(|_| !is_named).map(ExposeSecret::expose_secret);
    let path = uri.and_then(|uri| uri.split_once("://")?.1.split_once('/')).map(|(_, path)| path);
    let name = path.map(|path| path.split('?').next().unwrap_or_default()).filter(|name| !name.is_empty());
    name.map_or_else(|| settings.database.clone(), str::to_owned)
}

/// What stands before the server in a URI.
fn user_of(uri: &str) -> Option<&str> {
    uri.split_once("://")?.1.rsplit_once('@').map(|(user, _)| user).filter(|user| !user.is_empty())
}

fn password_in(uri: &str) -> Option<&str> {
    user_of(uri)?.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

/// The password that stands in the URI, as it is written there.
#[must_use]
pub fn password_of(settings: &config::Mongodb) -> Option<String> {
    password_in(settings.uri.as_ref()?.expose_secret()).map(str::to_owned)
}

/// An error about a URI may quote it.
fn hidden(uri: &str, said: &str) -> String {
    let secrets = [user_of(uri), password_in(uri)].into_iter().flatten();
    secrets.fold(said.to_owned(), |said, secret| said.replace(secret, "***"))
}

/// Waits for an answer, but not for ever: a server that is frozen keeps its connections.
async fn answered<T>(what: &str, call: impl IntoFuture<Output = Result<T, Failure>>) -> Result<T> {
    let Ok(outcome) = tokio::time::timeout(SILENCE, call.into_future()).await else {
        let said = format!("{what}: MongoDB has not answered for {} s", SILENCE.as_secs());
        return Err(Error::new(Kind::Unavailable, said));
    };
    outcome.map_err(|error| of_mongo(what, &error))
}

/// The server's number of an error; 0 where it has none.
pub(super) fn code_of(error: &Failure) -> i32 {
    match &*error.kind {
        ErrorKind::Command(command) => command.code,
        _ => 0,
    }
}

pub(super) fn of_mongo(what: &str, error: &Failure) -> Error {
    let said = match &*error.kind {
        ErrorKind::Command(command) => format!("MongoDB {} ({}): {}", command.code, command.code_name, command.message),
        kind => kind.to_string(),
    };
    let message = if what.is_empty() { said } else { format!("{what}: {said}") };
    let kind = match &*error.kind {
        ErrorKind::Authentication { .. } => Kind::Access,
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. } => Kind::Settings,
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::ConnectionPoolCleared { .. } => Kind::Unavailable,
        ErrorKind::Command(command) => match command.code {
            code if ACCESS.contains(&code) => Kind::Access,
            code if PASSING.contains(&code) => Kind::Unavailable,
            26 => Kind::NotFound,
            code if WRONG.contains(&code) => Kind::Settings,
            _ if error.contains_label("RetryableError") || error.contains_label("ResumableChangeStreamError") => {
                Kind::Unavailable
            }
            _ => Kind::Internal,
        },
        _ => Kind::Internal,
    };
    let (error, code) = (Error::new(kind, message), code_of(error));
    match (kind, code) {
        (Kind::Settings, NO_REPLICA_SET) => {
            error.hint("A change stream needs a replica set; `--mode cursor` does not.")
        }
        (Kind::Internal, _) => error.hint("The server's words say why."),
        _ => error,
    }
}
