//! Durations: read from `"1500ms"`, `"10s"`, `"5m"` in scripts and requests, written as milliseconds in the journal.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Reads one duration; the error names the text and the expected form.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration such as \"1500ms\" or \"10s\""))
}

/// Writes milliseconds, to the microsecond.
pub(crate) fn as_millis<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((value.as_secs_f64() * 1_000_000.0).round() / 1_000.0)
}

/// An optional duration; use with `#[serde(default)]`.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Duration, Error, parse};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| parse(&text)).transpose().map_err(D::Error::custom)
    }
}

/// Exactly three durations, in order.
pub(crate) mod triple {
    use super::{Deserialize, Deserializer, Duration, Error, parse};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[Duration; 3], D::Error> {
        let [first, second, third] = <[String; 3]>::deserialize(from)?;
        let read = |text: String| parse(&text).map_err(D::Error::custom);
        Ok([read(first)?, read(second)?, read(third)?])
    }
}
