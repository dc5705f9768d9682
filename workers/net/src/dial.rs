//! The dialer: from a host's name to a byte stream, through a proxy where one is configured.

mod error;
mod stream;

use std::sync::Arc;

use taut_core::config::NetworkConfig;
use taut_vault::ProxyPassword;

pub use self::error::{DialError, DialFault, DialerError, Step};
pub use self::stream::Stream;

/// Where to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS comes on top.
    pub tls: bool,
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To Slack: the proxy's rules apply.
    Outside,
    /// To a handler: straight.
    Direct,
}

/// Dials everything. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<()>,
}

impl Dialer {
    /// A dialer as configured; reads CA files and, without a configured proxy, the environment. Blocks on files.
    ///
    /// # Errors
    /// [`DialerError`] if a proxy or a CA file cannot be used: taut never goes on without one that was asked for.
    pub fn new(config: &NetworkConfig, password: Option<ProxyPassword>) -> Result<Self, DialerError> {
        todo!("{config:?} {password:?}")
    }

    /// Reaches `target`. Every step has its own deadline.
    ///
    /// # Errors
    /// [`DialError`] names the step that failed.
    pub async fn dial(&self, target: &Endpoint, way: Way) -> Result<Stream, DialError> {
        todo!("{target:?} {way:?} {:?}", self.inner)
    }
}
