//! Text of others, without our secrets: a parser sees our environment and may put it into its errors.

use secrecy::ExposeSecret;

use crate::config;

#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// Shorter ones would blot out ordinary words.
const SHORTEST: usize = 4;

impl Secrets {
    #[must_use]
    pub fn of(kafka: &config::Kafka, store: &config::Store) -> Self {
        let secrets = [
            &kafka.sasl_password,
            &kafka.ssl_key_password,
            &store.s3_secret_access_key,
            &store.s3_session_token,
            &store.obs_secret_access_key,
        ];
        let keys = [&store.s3_access_key_id, &store.obs_access_key_id];
        let words = ["password", "secret", "token", "jaas", ".pem"];
        let properties = kafka.properties.iter().filter(|(name, _)| words.iter().any(|word| name.contains(word)));
        let found = secrets
            .into_iter()
            .flatten()
            .map(|secret| secret.expose_secret().to_owned())
            .chain(keys.into_iter().flatten().cloned())
            .chain(properties.map(|(_, value)| value.clone()));
        Self::default().with(found)
    }

    /// These and more.
    #[must_use]
    pub fn with(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.0.extend(more.into_iter().filter(|secret| secret.len() >= SHORTEST));
        // The longest first: one may be a part of another.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self
    }

    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "********"))
    }
}
