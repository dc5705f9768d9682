//! A client that does exactly what a test says, and nothing by itself.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::{LONG, TOKEN};

/// An answer with its body read.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One HTTP exchange on a connection of its own.
pub(crate) async fn request(url: &str, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let uri: http::Uri = url.parse().unwrap();
    let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response: Response<_> = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    driver.abort();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

pub(crate) async fn post(url: &str, token: Option<&str>, body: &str) -> Answer {
    try_post(url, token, body).await.unwrap()
}

pub(crate) async fn try_post(url: &str, token: Option<&str>, body: &str) -> Result<Answer, hyper::Error> {
    let mut builder = Request::post(url);
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    request(url, builder.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()).await
}

pub(crate) async fn get(url: &str) -> Answer {
    request(url, Request::get(url).body(Full::default()).unwrap()).await.unwrap()
}

/// Calls `apps.connections.open` and returns the whole answer.
pub(crate) async fn open(sim: &taut_sim::Sim) -> Answer {
    post(&format!("{}apps.connections.open", sim.api_url()), Some(TOKEN), "").await
}

pub(crate) async fn socket_url(sim: &taut_sim::Sim) -> String {
    open(sim).await.json()["url"].as_str().unwrap().to_owned()
}

/// One WebSocket.
pub(crate) struct Socket {
    pub stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Opens a socket and reads nothing.
    pub(crate) async fn dial(url: &str) -> Result<Self, Error> {
        let uri: http::Uri = url.parse().unwrap();
        let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await.unwrap();
        let limits =
            WebSocketConfig::default().max_message_size(Some(512 << 20)).max_frame_size(Some(512 << 20));
        let (stream, _) = client_async_with_config(url, stream, Some(limits)).await?;
        Ok(Self { stream })
    }

    /// Opens a socket and reads its hello.
    pub(crate) async fn connect(sim: &taut_sim::Sim) -> (Self, Value) {
        let mut socket = Self::dial(&socket_url(sim).await).await.unwrap();
        let hello = socket.json().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        (socket, hello)
    }

    /// The next message, whatever it is; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(LONG, self.stream.next()).await.expect("a message in time")?.ok()
    }

    /// The next text message as JSON; pings in between are answered by tungstenite.
    pub(crate) async fn json(&mut self) -> Value {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a text message was expected, not {other:?}"),
            }
        }
    }

    /// Whether nothing but pings comes within `time`.
    pub(crate) async fn is_quiet_for(&mut self, time: Duration) -> bool {
        let anything = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(time, anything).await.is_err()
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn ack(&mut self, envelope: &Value) {
        self.send(json!({ "envelope_id": envelope["envelope_id"] }).to_string()).await;
    }

    pub(crate) async fn ack_with(&mut self, envelope: &Value, payload: Value) {
        self.send(json!({ "envelope_id": envelope["envelope_id"], "payload": payload }).to_string()).await;
    }
}
