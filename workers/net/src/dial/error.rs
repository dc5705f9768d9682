//! What can go wrong on the way, step by step, and whose fault it is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A step of reaching a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Name resolution.
    Dns,
    /// TCP connect, to the host or to the proxy.
    Tcp,
    /// TLS with the proxy itself (`https://` proxies).
    ProxyTls,
    /// The proxy's answer to CONNECT.
    Connect,
    /// TLS with the host.
    Tls,
    /// WebSocket upgrade.
    Upgrade,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "name resolution",
            Self::Tcp => "TCP connect",
            Self::ProxyTls => "TLS with the proxy",
            Self::Connect => "the proxy's CONNECT",
            Self::Tls => "TLS",
            Self::Upgrade => "WebSocket upgrade",
        })
    }
}

/// Why a host was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not reach `{host}`: {step}: {kind}")]
pub struct DialError {
    /// The step that failed.
    pub step: Step,
    /// The host of that step: the target's, or the proxy's.
    pub host: String,
    /// What happened.
    pub kind: DialFault,
}

/// What happened at a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialFault {
    /// The step's deadline passed.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// The step's deadline.
        limit: Duration,
    },
    /// The name has no address, or the resolver failed.
    #[error("the name was not found ({text}); check the name and this host's DNS")]
    Name {
        /// The resolver's words.
        text: String,
    },
    /// Nothing listens there.
    #[error("connection refused: nothing listens there, or a firewall rejects it")]
    Refused,
    /// The proxy wants credentials, or other ones.
    #[error("the proxy wants credentials (407); check network.proxy_user and network.proxy_password")]
    ProxyAuth,
    /// The proxy would not connect.
    #[error("the proxy answered {status}; its rules or its own way out decide that")]
    ProxyStatus {
        /// Its HTTP status.
        status: u16,
    },
    /// What answered CONNECT does not speak HTTP.
    #[error("what answered is not an HTTP proxy; check network.proxy")]
    NotAProxy,
    /// The certificate was not accepted.
    #[error("{text}")]
    Certificate {
        /// What is wrong with it and what to do.
        text: String,
    },
    /// The handshake failed for another reason than the certificate.
    #[error("handshake failed: {text}")]
    Handshake {
        /// The TLS library's words.
        text: String,
    },
    /// Any other failure of the operating system or of the connection.
    #[error("{text}")]
    Io {
        /// Its kind.
        kind: io::ErrorKind,
        /// Its words.
        text: String,
    },
}

impl From<io::Error> for DialFault {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::ConnectionRefused {
            return Self::Refused;
        }
        Self::Io { kind, text: error.to_string() }
    }
}

/// Why a dialer could not be built.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// The proxy's URL cannot be used.
    #[error("{place} is not a proxy taut can use: {rule}")]
    Proxy {
        /// The key or the variable, without its value: it may hold a password.
        place: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A CA file could not be read.
    #[error("network.ca_files: could not read certificates from `{path}`")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A CA file has no certificate in it.
    #[error("network.ca_files: `{path}` has no certificate (PEM) in it")]
    CaFileEmpty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be a root.
    #[error("network.ca_files: a certificate in `{path}` cannot be used as a root")]
    CaRefused {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// TLS could not be set up at all.
    #[error("could not set up TLS")]
    Tls {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}
