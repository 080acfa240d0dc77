//! What can go wrong, named by what the caller can do about it.
//!
//! `kind`, `is_transient` and the default hint of each kind are decided here and nowhere else;
//! rooms that speak to a system turn its errors into these.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The answer to "what can the caller do?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Change a setting or an argument.
    Settings,
    /// Change credentials or permissions.
    Access,
    /// Create or rename the thing that is not there.
    NotFound,
    /// Wait and try again.
    Unavailable,
    /// Data that was promised is gone: decide what to do about it.
    DataLoss,
    /// Somebody else has written where we must write.
    Conflict,
    /// Too many records were refused: look at the dead letters.
    Rejected,
    /// Make room.
    Capacity,
    /// Another member of the group has taken over; never leaves the engine.
    Fenced,
    /// A transaction came to nothing: its records must be sent again; never leaves the engine.
    Aborted,
    /// Report a bug.
    Internal,
}

impl Kind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Access => "access",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Capacity => "capacity",
            Self::Fenced => "fenced",
            Self::Aborted => "aborted",
            Self::Internal => "internal",
        }
    }
}

#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(Kind::Settings, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The file system's error about `what`, e.g. "Cannot read orders.csv".
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => Kind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Kind::Access,
            Io::NotADirectory | Io::IsADirectory | Io::AlreadyExists | Io::InvalidFilename | Io::InvalidInput => {
                Kind::Settings
            }
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => Kind::Capacity,
            _ => Kind::Unavailable,
        };
        Self::new(kind, format!("{what}: {error}")).caused_by(error)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True when the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref().or(match self.kind {
            Kind::NotFound => Some("Check the name."),
            Kind::DataLoss => Some("Nothing more was written: decide what to do about the missing data first."),
            Kind::Conflict => Some("Nothing was overwritten: find out who else writes there."),
            Kind::Unavailable => Some("Nothing is lost: run the same command again when the service is back."),
            Kind::Access => Some("Check the credentials and what they may do."),
            Kind::Capacity => Some("Make room and run the same command again: nothing is lost."),
            Kind::Rejected => Some("Look at the dead letters; raise max_rejected_share if they are expected."),
            Kind::Internal => Some("This is a bug: please report it with the log."),
            Kind::Settings => Some("Change the setting; `pipeline-core config show` lists them all."),
            Kind::Fenced | Kind::Aborted => None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
