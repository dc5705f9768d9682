//! What can go wrong while the simulator starts or is driven.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A failure of the simulator itself; faults it plays on purpose are never errors.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("cannot listen on {addr}: choose a free local address")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the TLS identity is not usable: the key must be PKCS#8 and belong to the first certificate")]
    Tls {
        #[source]
        source: rustls::Error,
    },
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the script is refused: {reason}")]
    Script { reason: String },
    #[error("no app `{app}` here: add it, or list the apps with GET /sim/apps")]
    UnknownApp { app: String },
    #[error("the payload is not a JSON document")]
    Payload {
        #[source]
        source: serde_json::Error,
    },
    #[error("`{url}` is not an http:// address of a simulator")]
    Url { url: String },
    #[error("no simulator answers at `{url}`: start one with `taut sim`")]
    Unreachable {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the simulator refused: {reason}")]
    Refused { reason: String },
}
