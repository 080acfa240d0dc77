//! A URL to a store and a place in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;
use url::Url;

use super::wire::{Signer, Wire, disguised};
use crate::config;
use crate::error::{Error, Kind, Result};

/// A store and the folder in it that a URL names.
#[derive(Clone)]
pub struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Lists the same store page by page, where it has pages.
    lister: Option<Arc<dyn PaginatedListStore>>,
    pub(super) root: Path,
    /// As the user wrote it, for messages; ends without a slash.
    url: String,
    /// The folder, for a place in the file system.
    folder: Option<PathBuf>,
    /// Its `ETag`s look like MD5 sums and are none, as with server-side encryption.
    other_etags: Arc<AtomicBool>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Place {
    /// Opens `gs://`, `s3://`, `obs://`, `file://` or a path. Makes a local folder that is missing; reaches nothing.
    ///
    /// # Errors
    /// When the URL cannot be read, or a setting that it needs is missing.
    pub fn open(url: &str, settings: &config::Store) -> Result<Self> {
        let trimmed = url.trim_end_matches('/');
        let Some(parsed) = Url::parse(url).ok().filter(|parsed| parsed.scheme().len() > 1) else {
            return Self::local(trimmed, std::path::Path::new(if trimmed.is_empty() { url } else { trimmed }));
        };
        let bucket = || {
            parsed.host_str().filter(|host| !host.is_empty()).map(str::to_owned).ok_or_else(|| {
                Error::settings(format!("No bucket in {url:?}")).hint("Write it as scheme://bucket/folder.")
            })
        };
        let opened = match parsed.scheme() {
            "file" => {
                let path = parsed.to_file_path().map_err(|()| Error::settings(format!("Not a local path: {url}")))?;
                return Self::local(trimmed, &path);
            }
            "s3" | "s3a" => s3(&bucket()?, settings)?,
            "obs" => obs(&bucket()?, settings)?,
            "gs" | "gcs" => gcs(&bucket()?, settings)?,
            other => {
                return Err(Error::settings(format!("Unknown scheme {other}:// in {url:?}"))
                    .hint("Use gs://, s3://, obs://, file:// or a path."));
            }
        };
        let root = Path::from_url_path(parsed.path()).map_err(|error| invalid(url, error))?;
        let Opened { store, lister } = opened;
        Ok(Self {
            store,
            lister: Some(lister),
            root,
            url: trimmed.to_owned(),
            folder: None,
            other_etags: Arc::default(),
        })
    }

    fn local(url: &str, folder: &std::path::Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(format!("Cannot make the folder {url}"), error))?;
        let folder =
            folder.canonicalize().map_err(|error| Error::io(format!("Cannot open the folder {url}"), error))?;
        let root = Path::from_absolute_path(&folder).map_err(|error| invalid(url, error))?;
        let store = LocalFileSystem::new().with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            lister: None,
            root,
            url: url.to_owned(),
            folder: Some(folder),
            other_etags: Arc::default(),
        })
    }

    /// The path of `name` under this place.
    pub(super) fn path(&self, name: &str) -> Result<Path> {
        let path = match &self.folder {
            Some(folder) => Path::from_absolute_path(folder.join(name)),
            None => Path::parse(format!("{}/{name}", self.root).trim_start_matches('/')),
        };
        path.map_err(|error| invalid(name, error))
    }

    /// The path of the object whose key is `key`, letter for letter.
    pub(super) fn exact(&self, key: &str) -> Result<Path> {
        let is_path = Path::parse(key).is_ok_and(|parsed| parsed.as_ref() == key);
        if is_path && !key.is_empty() {
            return self.path(key);
        }
        if self.is_local() || key.is_empty() || key.split('/').any(|part| part == "." || part == "..") {
            return Err(invalid(key, "no request can name it"));
        }
        self.path(&disguised(key))
    }

    pub(super) fn lister(&self) -> Option<&dyn PaginatedListStore> {
        self.lister.as_deref()
    }

    pub(super) fn is_local(&self) -> bool {
        self.folder.is_some()
    }

    pub(super) fn has_other_etags(&self) -> bool {
        self.other_etags.load(Ordering::Relaxed)
    }

    /// From now on no `ETag` of it is taken for an MD5 sum.
    pub(super) fn doubt_etags(&self) {
        if !self.other_etags.swap(true, Ordering::Relaxed) {
            let bucket = &self.url;
            tracing::warn!(bucket, "the ETags of this bucket are no MD5 sums; they are not compared any more");
        }
    }

    /// Where `name` is in the file system, for a place there.
    pub(super) fn local_path(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    /// The URL of what the store itself calls `location`, for people.
    #[must_use]
    pub fn full_url(&self, location: &str) -> String {
        match location.strip_prefix(self.root.as_ref()) {
            Some(name) => self.url(name.trim_start_matches('/')),
            None => location.to_owned(),
        }
    }

    /// The URL of `name` in this place, for people.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        let named = format!("{}/{name}", self.url);
        if !named.contains(char::is_control) {
            return named;
        }
        let shown =
            |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
        named.chars().map(shown).collect::<String>()
    }
}

/// A store and its other face.
struct Opened {
    store: Arc<dyn ObjectStore>,
    lister: Arc<dyn PaginatedListStore>,
}

impl Opened {
    fn of(store: impl ObjectStore + PaginatedListStore) -> Self {
        let store = Arc::new(store);
        Self { lister: store.clone(), store }
    }
}

fn invalid(what: &str, error: impl std::fmt::Display) -> Error {
    Error::settings(format!("{what:?} is not a place in a store: {error}"))
}

fn client_options(settings: &config::Store, endpoint: Option<&str>) -> ClientOptions {
    let is_plain = settings.allow_http || endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new()
        .with_allow_http(is_plain)
        .with_timeout(Duration::from_secs_f64(settings.timeout_seconds))
        .with_connect_timeout(Duration::from_secs(10))
}

/// Short pauses: what outlasts them is tried again, and told, by the caller.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 5,
        retry_timeout: Duration::from_secs(30),
    }
}

fn s3(bucket: &str, settings: &config::Store) -> Result<Opened> {
    let wire = Wire::default();
    let region = settings.s3_region.as_deref().unwrap_or("us-east-1");
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(wire.clone())
        .with_retry(retries())
        .with_client_options(client_options(settings, settings.s3_endpoint.as_deref()))
        .with_virtual_hosted_style_request(settings.s3_virtual_hosted)
        .with_region(region);
    if let Some(endpoint) = &settings.s3_endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let (Some(id), Some(secret)) = (&settings.s3_access_key_id, &settings.s3_secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose_secret());
    }
    if let Some(token) = &settings.s3_session_token {
        builder = builder.with_token(token.expose_secret());
    }
    signed(bucket, builder, &wire, region)
}

/// Huawei OBS speaks S3's dialect at its own endpoint; what it really honours is probed.
fn obs(bucket: &str, settings: &config::Store) -> Result<Opened> {
    let missing = |what| {
        Error::settings(format!("obs:// needs {what}"))
            .hint("Set it in the environment, in .env or in the settings file.")
    };
    let endpoint = settings.obs_endpoint.as_deref().ok_or_else(|| missing("OBS_ENDPOINT"))?;
    let endpoint = if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") };
    let id = settings.obs_access_key_id.as_deref().ok_or_else(|| missing("OBS_ACCESS_KEY_ID"))?;
    let secret = settings.obs_secret_access_key.as_ref().ok_or_else(|| missing("OBS_SECRET_ACCESS_KEY"))?;
    let address = if settings.obs_virtual_hosted {
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        format!("{scheme}://{bucket}.{host}")
    } else {
        endpoint.clone()
    };
    let wire = Wire::default();
    let region = settings.obs_region.as_deref().unwrap_or("cn-north-4");
    let builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(address)
        .with_region(region)
        .with_access_key_id(id)
        .with_secret_access_key(secret.expose_secret())
        .with_virtual_hosted_style_request(settings.obs_virtual_hosted)
        .with_http_connector(wire.clone())
        .with_retry(retries())
        .with_client_options(client_options(settings, Some(&endpoint)));
    signed(bucket, builder, &wire, region)
}

fn signed(bucket: &str, builder: AmazonS3Builder, wire: &Wire, region: &str) -> Result<Opened> {
    let store = builder.build().map_err(|error| of_store(bucket, error))?;
    let _ = wire.signer.set(Signer { credentials: store.credentials().clone(), region: region.to_owned() });
    Ok(Opened::of(store))
}

fn gcs(bucket: &str, settings: &config::Store) -> Result<Opened> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(Wire::default())
        .with_retry(retries())
        .with_client_options(client_options(settings, settings.gcs_endpoint.as_deref()));
    if let Some(endpoint) = &settings.gcs_endpoint {
        // A local server asks for no token; without this key the client asks the metadata server for one.
        let key = serde_json::json!({
            "gcs_base_url": endpoint.trim_end_matches('/'), "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        builder = builder.with_service_account_key(key.to_string());
    } else if let Some(path) = &settings.gcs_credentials_path {
        if !std::path::Path::new(path).is_file() {
            return Err(Error::settings(format!("The credentials file {path} is not there"))
                .hint("Set GCS_CREDENTIALS_PATH or GOOGLE_APPLICATION_CREDENTIALS to the key file."));
        }
        builder = builder.with_application_credentials(path);
    }
    Ok(Opened::of(builder.build().map_err(|error| of_store(bucket, error))?))
}

/// The store's error about `what`, by what the caller can do.
pub(super) fn of_store(what: impl std::fmt::Display, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let text = error.to_string();
    let kind = match &error {
        Store::NotFound { .. } => Kind::NotFound,
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Kind::Access,
        Store::AlreadyExists { .. } | Store::Precondition { .. } => Kind::Conflict,
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } | Store::NotSupported { .. } => {
            Kind::Settings
        }
        Store::NotImplemented { .. } => Kind::Internal,
        _ => match io_cause(&error) {
            Some(cause) => Error::io("", std::io::Error::from(cause)).kind(),
            None => between(&text, "<Code>", "</Code>").map_or(Kind::Unavailable, kind_of_code),
        },
    };
    Error::new(kind, format!("{what}: {}", plain(&text))).caused_by(error)
}

/// What `object_store` does not tell apart, as with a bucket that cannot be listed.
fn kind_of_code(code: &str) -> Kind {
    match code {
        "NoSuchBucket" | "NoSuchKey" | "NoSuchUpload" => Kind::NotFound,
        "AccessDenied"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        | "ExpiredToken"
        | "InvalidToken"
        | "RequestTimeTooSkewed"
        | "AllAccessDisabled"
        | "AccountProblem" => Kind::Access,
        "InvalidBucketName" | "KeyTooLongError" | "KeyTooLong" => Kind::Settings,
        _ => Kind::Unavailable,
    }
}

fn io_cause(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

/// The innermost cause on one line: the layers above it repeat each other.
fn plain(text: &str) -> String {
    let code = between(text, "<Code>", "</Code>");
    let said = match (code, between(text, "<Message>", "</Message>")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect(),
    };
    said.replace("&#39;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
