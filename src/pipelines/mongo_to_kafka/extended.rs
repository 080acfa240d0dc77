//! Values of BSON as canonical extended JSON, for `serde(with)`.

use bson::Bson;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(value: &Bson, serializer: S) -> Result<S::Ok, S::Error> {
    value.clone().into_canonical_extjson().serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bson, D::Error> {
    Bson::try_from(serde_json::Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// The same where there may be none.
pub(super) mod option {
    use super::{Bson, Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(in crate::pipelines::mongo_to_kafka) fn serialize<S: Serializer>(
        value: &Option<Bson>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.clone().map(Bson::into_canonical_extjson).serialize(serializer)
    }

    pub(in crate::pipelines::mongo_to_kafka) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bson>, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(deserializer)?;
        value.map(Bson::try_from).transpose().map_err(serde::de::Error::custom)
    }
}
