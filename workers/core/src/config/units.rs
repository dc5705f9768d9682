//! Values with units: spans of time, sizes in bytes, paces.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time, written like `9s`, `15m`, `14d`, `500ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| format!("`{text}` is not a span of time such as 500ms, 9s, 15m or 14d"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A size in bytes, written like `64KiB`, `16MiB`, `8GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

impl Size {
    /// A size of whole MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The size as a length in memory.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ByteSize::from_str(text)
            .map(|size| Self(size.as_u64()))
            .map_err(|_| format!("`{text}` is not a size such as 64KiB, 16MiB or 8GiB"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A pace: so many at once, then one each interval. Written like `3 then 1/20s`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpenRate {
    /// How many may come at once.
    pub burst: u32,
    /// Then one each.
    pub each: Duration,
}

impl Default for OpenRate {
    fn default() -> Self {
        Self { burst: 3, each: Duration::from_secs(20) }
    }
}

impl FromStr for OpenRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a pace such as `3 then 1/20s`");
        let (burst, each) = text.split_once(" then 1/").ok_or_else(wrong)?;
        let burst = burst.trim().parse().map_err(|_| wrong())?;
        let each = humantime::parse_duration(each.trim()).map_err(|_| wrong())?;
        if burst == 0 || each.is_zero() {
            return Err(wrong());
        }
        Ok(Self { burst, each })
    }
}

impl fmt::Display for OpenRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} then 1/{}", self.burst, humantime::format_duration(self.each))
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Span);
as_text!(Size);
as_text!(OpenRate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_they_are_written() {
        for text in ["9s", "15m", "14days", "500ms"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        for text in ["16MiB", "8GiB", "1000B", "64KiB"] {
            assert_eq!(text.parse::<Size>().map(|size| size.to_string()), Ok(text.to_owned()));
        }
        let pace = "3 then 1/20s".parse::<OpenRate>().expect("a pace");
        assert_eq!(
            (pace.burst, pace.each, pace.to_string()),
            (3, Duration::from_secs(20), "3 then 1/20s".into())
        );
        assert!("0 then 1/20s".parse::<OpenRate>().is_err());
        assert!("fast".parse::<Span>().is_err());
    }
}
