//! The command line's end of the worker's Unix socket.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Refusal;

/// Largest answer taken from a worker, in bytes: the status of ten thousand tenants is some 8 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A worker, reached through its socket file.
#[derive(Debug, Clone)]
pub struct Worker {
    socket: PathBuf,
}

impl Worker {
    /// The worker behind this socket file.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// A sentence for the person at the terminal.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// A sentence for the person at the terminal.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, String> {
        let unreachable = |cause: &dyn std::fmt::Display| {
            format!(
                "no worker answers at {}: {cause}. Is it running, and may you open its socket? (--socket PATH names another)",
                self.socket.display()
            )
        };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "taut")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| unreachable(&error))?
            .to_bytes();
        connection.abort();
        if !status.is_success() {
            let refusal: Result<Refusal, _> = serde_json::from_slice(&body);
            return Err(
                refusal.map_or_else(|_| format!("the worker answered with status {status}"), |r| r.error)
            );
        }
        serde_json::from_slice(&body)
            .map_err(|error| format!("the worker's answer could not be read: {error}"))
    }
}
