//! Go's idea of time on the wire: RFC 3339 with nanoseconds, year 1 for "never".

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// What Go writes for a time that was never set.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `None` travels as Go's zero time.
pub(crate) mod or_never {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_str(NEVER),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        match text.as_deref() {
            None | Some("" | NEVER) => Ok(None),
            Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
        }
    }
}
