//! A handler on loopback that records what it is sent and answers as a test says.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("bodies are ASCII")
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or_else(String::new, |value| value.to_str().expect("plain").to_owned())
    }
}

/// An answer, after a while.
#[derive(Debug, Clone, Default)]
pub(crate) struct Say {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) after: Duration,
}

/// An answer with this status and body.
pub(crate) fn say(status: u16, body: &str) -> Say {
    Say { status, body: body.into(), ..Say::default() }
}

/// A running handler.
pub(crate) struct Handler {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Handler {
    /// Starts a handler; `answer` is asked with the request and how many came before it.
    pub(crate) async fn start(answer: impl Fn(&Seen, usize) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}/slack/events", listener.local_addr().expect("its address"));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (record, answer) = (Arc::clone(&seen), Arc::new(answer));
        let app = Router::new().fallback(move |request: Request| {
            let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 16 << 20).await.expect("a whole body");
                let one = Seen { headers: head.headers, body };
                let before = {
                    let mut record = record.lock();
                    record.push(one.clone());
                    record.len() - 1
                };
                let say = answer(&one, before);
                tokio::time::sleep(say.after).await;
                response(say)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, seen }
    }

    /// A handler that always answers the same.
    pub(crate) async fn always(answer: Say) -> Self {
        Self::start(move |_, _| answer.clone()).await
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

fn response(say: Say) -> Response {
    let mut response = Response::builder().status(say.status);
    if let Some(content_type) = say.content_type {
        response = response.header("content-type", content_type);
    }
    for (name, value) in say.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(say.body)).expect("a well-formed answer")
}

/// A URL on which nothing listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    format!("http://{}/slack/events", listener.local_addr().expect("its address"))
}
