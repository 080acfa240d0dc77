//! Client settings, and librdkafka's errors in our words.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use secrecy::ExposeSecret;
use tracing::Span;

use crate::config;
use crate::error::{Error, Kind, Result};

/// How long a question to the cluster may take.
pub(super) const ASK: Duration = Duration::from_secs(15);

/// One turn of asking.
const TURN: Duration = Duration::from_secs(1);

/// The settings of a client, before those of its role.
pub(super) fn base_config(settings: &config::Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", "pipeline_core")
        // Half of it is the pause before a new client's second connection.
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "3000");
    let plain = [
        ("security.protocol", &settings.security_protocol),
        ("sasl.mechanism", &settings.sasl_mechanism),
        ("sasl.username", &settings.sasl_username),
        ("ssl.ca.location", &settings.ssl_ca_location),
        ("ssl.certificate.location", &settings.ssl_certificate_location),
        ("ssl.key.location", &settings.ssl_key_location),
    ];
    for (name, value) in plain {
        if let Some(value) = value {
            config.set(name, value);
        }
    }
    for (name, secret) in [("sasl.password", &settings.sasl_password), ("ssl.key.password", &settings.ssl_key_password)]
    {
        if let Some(secret) = secret {
            config.set(name, secret.expose_secret());
        }
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// The user's own properties; they win over all others. With `debug`, what librdkafka says of it is logged.
pub(super) fn with_properties(mut config: ClientConfig, settings: &config::Kafka) -> ClientConfig {
    if settings.properties.contains_key("debug") {
        config.set_log_level(RDKafkaLogLevel::Debug);
    }
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    config
}

/// What librdkafka said lately that explains why a call came to nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Error>>>);

impl Trouble {
    fn note(&self, error: Error) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What needs a person outranks what may pass by itself; of those that may, the first tells most.
        let is_graver = !error.is_transient() && noted.as_ref().is_some_and(Error::is_transient);
        if noted.is_none() || is_graver {
            *noted = Some(error);
        }
    }

    fn is_lasting(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|error| !error.is_transient())
    }

    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes only what will not pass by itself.
    pub(super) fn take_lasting(&self) -> Option<Error> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref().is_some_and(|error| !error.is_transient()) { noted.take() } else { None }
    }
}

/// Carries librdkafka's logs and errors.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) trouble: Trouble,
    /// Who made the client: librdkafka logs on threads of its own.
    maker: Span,
}

impl Default for Watch {
    fn default() -> Self {
        Self { trouble: Trouble::default(), maker: Span::current() }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.maker.in_scope(|| match level {
            // A connection that fails is told by the error that it leads to, if it does.
            _ if facility == "FAIL" => tracing::debug!(target: "pipeline_core::kafka", facility, "{message}"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "pipeline_core::kafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "pipeline_core::kafka", facility, "{message}"),
        });
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.maker.in_scope(|| tracing::debug!(target: "pipeline_core::kafka", %error, "{reason}"));
        self.trouble.note(of_kafka(reason, error));
    }
}

impl ConsumerContext for Watch {}

/// A client that asks and does not read: metadata, watermarks, committed offsets.
pub struct Client {
    pub(super) consumer: BaseConsumer<Watch>,
    servers: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Client {
    /// # Errors
    /// When a setting is wrong.
    pub fn new(settings: &config::Kafka, group_id: Option<&str>) -> Result<Self> {
        let mut config = base_config(settings);
        config.set("enable.auto.commit", "false");
        let mut config = with_properties(config, settings);
        if let Some(group_id) = group_id {
            config.set("group.id", group_id);
        }
        let consumer = config
            .create_with_context(Watch::default())
            .map_err(|error| of_kafka("Cannot make a Kafka client", error))?;
        Ok(Self { consumer, servers: settings.bootstrap_servers.clone() })
    }

    /// Asks in short turns, so that a refused login is said at once and not when all time is over.
    fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        let deadline = Instant::now() + ASK;
        loop {
            match self.consumer.fetch_metadata(topic, TURN) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => {
                    self.serve_events();
                    if self.consumer.context().trouble.is_lasting() || Instant::now() >= deadline {
                        return Err(self.explain(error));
                    }
                }
            }
        }
    }

    /// Errors of connections come as events.
    fn serve_events(&self) {
        while self.consumer.poll(Duration::from_millis(10)).is_some() {}
    }

    /// How many brokers the cluster has.
    ///
    /// # Errors
    /// When none answers, or lets us in.
    pub fn brokers(&self) -> Result<usize> {
        let metadata = self.metadata(None)?;
        Ok(metadata.brokers().len())
    }

    /// The partitions of a topic, 0 when there is no such topic.
    ///
    /// # Errors
    /// When no broker answers, or lets us in.
    pub fn partitions(&self, topic: &str) -> Result<i32> {
        let metadata = self.metadata(Some(topic))?;
        let Some(found) = metadata.topics().first() else { return Ok(0) };
        match found.error().map(Code::from) {
            None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(0),
            Some(code) => Err(of_kafka(&format!("Cannot use topic {topic}"), KafkaError::MetadataFetch(code))),
        }
    }

    /// The partitions of a topic that must be there.
    ///
    /// # Errors
    /// `NotFound` when there is no such topic.
    pub fn existing_partitions(&self, topic: &str) -> Result<i32> {
        match self.partitions(topic)? {
            0 => Err(Error::new(Kind::NotFound, format!("There is no topic {topic} on {}", self.servers))
                .hint("Check the name; the pipeline that sends to a topic creates it.")),
            partitions => Ok(partitions),
        }
    }

    /// The first offset there is, and the one after the last that can be read.
    ///
    /// # Errors
    /// When the partition's leader does not answer.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        self.consumer.fetch_watermarks(topic, partition, ASK).map_err(|error| self.explain(error))
    }

    /// Where the group stands: partition, offset and what is written beside it; nothing where it has no position.
    ///
    /// # Errors
    /// When the group's coordinator does not answer.
    pub fn committed(&self, topic: &str, partitions: i32) -> Result<Vec<(i32, i64, String)>> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..partitions {
            asked.add_partition(topic, partition);
        }
        let found = self.consumer.committed_offsets(asked, ASK).map_err(|error| self.explain(error))?;
        let known = found.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset, element.metadata().to_owned())),
            _ => None,
        });
        Ok(known.collect())
    }

    fn explain(&self, error: KafkaError) -> Error {
        self.serve_events();
        let what = format!("Cannot reach Kafka at {}", self.servers);
        match self.consumer.context().trouble.take() {
            Some(trouble) if trouble.kind() != Kind::Internal => {
                Error::new(trouble.kind(), format!("{what}: {trouble}")).hint(hint_of(trouble.kind()))
            }
            _ => of_kafka(&what, error).hint(hint_of(Kind::Unavailable)),
        }
    }
}

fn hint_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Access => {
            "Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SASL_MECHANISM and KAFKA_SSL_CA_LOCATION."
        }
        _ => "Check KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL, and that the broker is up.",
    }
}

/// librdkafka's error in our words; `what` says what we were about.
#[must_use]
pub fn of_kafka(what: &str, error: KafkaError) -> Error {
    let code = error.rdkafka_error_code();
    let kind = match code {
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SSL,
        ) => Kind::Access,
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => Kind::NotFound,
        Some(
            Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::ProducerFenced
            | Code::Fenced
            | Code::InvalidProducerEpoch
            | Code::AssignmentLost,
        ) => Kind::Fenced,
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Kind::Rejected,
        Some(Code::PolicyViolation) => Kind::Capacity,
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Kind::DataLoss,
        Some(
            Code::InvalidArgument
            | Code::InvalidConfig
            | Code::UnsupportedFeature
            | Code::InvalidTopic
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions,
        ) => Kind::Settings,
        Some(_) => Kind::Unavailable,
        None => match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Kind::Settings,
            _ => Kind::Unavailable,
        },
    };
    let said = match &error {
        KafkaError::ClientConfig(_, reason, name, _) => format!("{name}: {reason}"),
        KafkaError::ClientCreation(reason) => reason.clone(),
        KafkaError::MockCluster(code) => code.to_string(),
        _ => code.map_or_else(|| error.to_string(), |code| code.to_string()),
    };
    let is_setting = matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_));
    let said = Error::new(kind, format!("{what}: {said}")).caused_by(error);
    if is_setting {
        said.hint("Check the KAFKA_ settings, the certificate files they name, and --property.")
    } else {
        said
    }
}
