//! Names of things: tenants, apps, routes, stored envelopes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Longest tenant id, in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 64;

/// A tenant: one customer-owned Slack app in one environment. `[a-z0-9._-]{1,64}`, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TenantId(Arc<str>);

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or with a character outside the allowed set.
    #[error("must match [a-z0-9._-]{{1,64}}")]
    Tenant,
    /// Not of the shape Slack gives app ids.
    #[error("must look like A0123456789 (a capital A, then capitals and digits)")]
    App,
    /// Empty, too long, or with a character outside the allowed set.
    #[error("must match [A-Za-z0-9._-]{{1,64}}")]
    Route,
}

impl TenantId {
    /// Checks and wraps a tenant id.
    ///
    /// # Errors
    /// [`IdError::Tenant`] if it does not match `[a-z0-9._-]{1,64}`.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > TENANT_ID_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(IdError::Tenant);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A Slack app id, `A…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AppId(Arc<str>);

impl AppId {
    /// Checks and wraps an app id.
    ///
    /// # Errors
    /// [`IdError::App`] if it is not a capital A followed by 2 to 30 capitals and digits.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let rest = text.strip_prefix('A').ok_or(IdError::App)?;
        let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if !(2..=30).contains(&rest.len()) || !rest.bytes().all(allowed) {
            return Err(IdError::App);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A route's name, unique within its tenant. `[A-Za-z0-9._-]{1,64}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RouteName(Arc<str>);

impl RouteName {
    /// Checks and wraps a route name.
    ///
    /// # Errors
    /// [`IdError::Route`] if it does not match `[A-Za-z0-9._-]{1,64}`.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > TENANT_ID_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(IdError::Route);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
text_id!(TenantId);
text_id!(AppId);
text_id!(RouteName);

/// Fencing token: grows with every new owner of a tenant and travels with every write. On one host it grows at
/// each opening of the store.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, serde::Deserialize,
)]
pub struct Epoch(pub u64);

/// A stored envelope's place in the log: unique in one store for good, grows with time; never 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, serde::Deserialize,
)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes two envelopes the same: Slack's `event_id`, else a hash of envelope id and payload.
///
/// Only the 128-bit hash of its text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DedupKey(pub u128);

impl DedupKey {
    /// The key of this text.
    pub fn of(text: &str) -> Self {
        Self(xxh3_128(text.as_bytes()))
    }
}
