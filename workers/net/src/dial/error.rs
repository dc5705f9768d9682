//! What can go wrong on the way, step by step, and whose fault it is.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A step of reaching a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Name resolution of the proxy.
    ProxyDns,
    /// TCP connect to the proxy.
    ProxyTcp,
    /// TLS with the proxy itself (`https://` proxies).
    ProxyTls,
    /// The proxy's answer to CONNECT.
    Connect,
    /// Name resolution of the host.
    Dns,
    /// TCP connect to the host.
    Tcp,
    /// TLS with the host.
    Tls,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProxyDns => "name resolution of the proxy",
            Self::ProxyTcp => "TCP connect to the proxy",
            Self::ProxyTls => "TLS with the proxy",
            Self::Connect => "the proxy's CONNECT",
            Self::Dns => "name resolution",
            Self::Tcp => "TCP connect",
            Self::Tls => "TLS",
        })
    }
}

/// Who has to act when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// This host: its resolver, its clock, its configuration.
    Host,
    /// The network between, or its firewall.
    Network,
    /// The proxy, or its rules.
    Proxy,
    /// The host that was to be reached.
    Target,
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

impl DialError {
    /// A stable word for machines, told apart by step and cause. It begins with `dns_`, `tcp_`, `proxy_` or `tls_`.
    pub fn code(&self) -> &'static str {
        match (self.step, &self.kind) {
            (_, DialFault::Descriptors { .. }) => "no_descriptors",
            (Step::ProxyDns | Step::ProxyTcp, _) => "proxy_unreachable",
            (Step::ProxyTls, DialFault::Certificate { .. }) => "proxy_certificate",
            (Step::ProxyTls, _) => "proxy_tls_failed",
            (Step::Connect, DialFault::ProxyAuth { .. }) => "proxy_auth",
            (Step::Connect, DialFault::ProxyStatus { .. }) => "proxy_refused",
            (Step::Connect, DialFault::NotAProxy) => "proxy_odd_answer",
            (Step::Connect, DialFault::Timeout { .. }) => "proxy_timeout",
            (Step::Connect, _) => "proxy_closed",
            (Step::Dns, DialFault::Timeout { .. }) => "dns_timeout",
            (Step::Dns, _) => "dns_failed",
            (Step::Tcp, DialFault::NotAllowed { .. }) => "tcp_not_allowed",
            (Step::Tcp, DialFault::Refused) => "tcp_refused",
            (Step::Tcp, DialFault::Timeout { .. }) => "tcp_timeout",
            (Step::Tcp, _) => "tcp_failed",
            (Step::Tls, DialFault::Certificate { flaw, .. }) => flaw.code(),
            (Step::Tls, DialFault::Timeout { .. }) => "tls_timeout",
            (Step::Tls, _) => "tls_failed",
        }
    }

    /// Who has to act, as far as the step tells.
    pub fn whose(&self) -> Whose {
        match (self.step, &self.kind) {
            (
                _,
                DialFault::ProxyAuth { .. } | DialFault::NotAllowed { .. } | DialFault::Descriptors { .. },
            ) => Whose::Host,
            (Step::ProxyDns | Step::Dns, _) => Whose::Host,
            (Step::ProxyTcp | Step::ProxyTls | Step::Connect, _) => Whose::Proxy,
            (Step::Tcp, DialFault::Refused) => Whose::Target,
            (Step::Tcp, _) => Whose::Network,
            (Step::Tls, DialFault::Certificate { flaw: Flaw::Untrusted | Flaw::NotYetValid, .. }) => {
                Whose::Host
            }
            (Step::Tls, DialFault::Certificate { .. }) => Whose::Target,
            (Step::Tls, _) => Whose::Network,
        }
    }
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// No root that is trusted here has signed it.
    Untrusted,
    /// It is for other names.
    WrongName,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Anything else.
    Other,
}

impl Flaw {
    const fn code(self) -> &'static str {
        match self {
            Self::Untrusted => "tls_untrusted",
            Self::WrongName => "tls_wrong_name",
            Self::Expired => "tls_expired",
            Self::NotYetValid => "tls_not_yet_valid",
            Self::Other => "tls_certificate",
        }
    }
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
    /// Every address of the name is one that this dialer must not go to.
    #[error(
        "it leads to {address}, which delivery.allow_hosts does not let through: correct the name's DNS, or list that network"
    )]
    NotAllowed {
        /// The first of them.
        address: IpAddr,
    },
    /// Nothing listens there.
    #[error("connection refused: nothing listens there, or a firewall rejects it")]
    Refused,
    /// The proxy wants credentials, or other ones.
    #[error("{}", proxy_auth(*.sent))]
    ProxyAuth {
        /// Whether it had been sent some.
        sent: bool,
    },
    /// The proxy would not connect.
    #[error("the proxy answered {status}; {}", proxy_status(*.status))]
    ProxyStatus {
        /// Its HTTP status.
        status: u16,
    },
    /// What answered CONNECT is no proxy that opened a tunnel.
    #[error(
        "what answered is not an HTTP proxy, or a page in its place: check the proxy's address, and for a login page in between"
    )]
    NotAProxy,
    /// The certificate was not accepted.
    #[error("{text}")]
    Certificate {
        /// The kind of fault.
        flaw: Flaw,
        /// What is wrong with it and what to do.
        text: String,
    },
    /// The handshake failed for another reason than the certificate.
    #[error("handshake failed: {text}")]
    Handshake {
        /// The TLS library's words.
        text: String,
    },
    /// This process has nearly as many files and connections open as it may.
    #[error(
        "this process may open {limit} files and connections and has few left; raise its limit (LimitNOFILE)"
    )]
    Descriptors {
        /// Its limit.
        limit: u64,
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

const fn proxy_auth(sent: bool) -> &'static str {
    if sent {
        "the proxy refused the configured credentials (407): check proxy_user and proxy_password"
    } else {
        "the proxy wants credentials (407) and none are configured: set proxy_user and proxy_password"
    }
}

const fn proxy_status(status: u16) -> &'static str {
    match status {
        401 | 403 | 405 => {
            "its rules forbid this host or this target: its operator allows CONNECT to Slack's hosts"
        }
        500..=599 => "its own way out is broken or too slow: tell its operator",
        _ => "its operator knows what that means",
    }
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
