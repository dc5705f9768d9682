//! The golden requests of `tests/golden`, and a handler that keeps the bytes it is sent.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::cases::Wire;
use super::direct;
use crate::support::SOON;

/// The app that the golden payloads name.
pub(crate) const APP_ID: &str = "A1";
/// Signs what the recorder is sent.
pub(crate) const SECRET: &str = "bridge-test-secret-0001";
/// Signed at the moment of sending, so that no file can hold them.
const OF_THE_MOMENT: [&str; 2] = ["x-slack-request-timestamp", "x-slack-signature"];
/// What a delivery has beside Slack's own headers: HTTP's and taut's.
const BESIDE_SLACKS: [&str; 7] = [
    "host",
    "idempotency-key",
    "taut-attempt",
    "taut-deadline-ms",
    "taut-delivery-id",
    "taut-epoch",
    "taut-tenant",
];

/// A request as it travels.
#[derive(Debug)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn new(head: &str, body: &[u8]) -> Self {
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header has a name and a value");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { line, headers: lines.map(field).collect(), body: body.to_vec() }
    }

    /// A header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// One golden case.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) wire: Wire,
    pub(crate) secret: String,
    pub(crate) timestamp: u64,
    pub(crate) retry_attempt: u32,
    retry_reason: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) request: Request,
}

impl Golden {
    /// Every case of the index.
    pub(crate) fn all() -> Vec<Self> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let read =
            |name: &str| std::fs::read(home.join(name)).expect("tests/golden holds what its index names");
        let index = String::from_utf8(read("index.tsv")).expect("the index is UTF-8");
        let case = |row: &str| {
            let columns: Vec<&str> = row.split('\t').collect();
            let [name, wire, secret, timestamp, attempt, reason] = columns[..] else {
                panic!("six columns: {row}")
            };
            let request = read(&format!("{name}.request"));
            let head = request.windows(2).position(|window| window == b"\n\n").expect("a head and a body");
            let text = std::str::from_utf8(&request[..head]).expect("a head is ASCII");
            Self {
                name: name.to_owned(),
                wire: serde_json::from_value(wire.into()).expect("an envelope's type"),
                secret: secret.to_owned(),
                timestamp: timestamp.parse().expect("Unix seconds"),
                retry_attempt: attempt.parse().expect("a count"),
                retry_reason: reason.to_owned(),
                payload: read(&format!("{name}.payload.json")),
                request: Request::new(text, &request[head + 2..]),
            }
        };
        index.lines().skip(1).map(case).collect()
    }

    /// The envelope around the payload, with its retry words.
    pub(crate) fn envelope(&self) -> String {
        let (name, attempt, reason) = (&self.name, self.retry_attempt, &self.retry_reason);
        let kind = self.wire.envelope_type();
        let payload = std::str::from_utf8(&self.payload).expect("a payload is UTF-8");
        format!(
            r#"{{"envelope_id":"golden-{name}","payload":{payload},"type":"{kind}","accepts_response_payload":false,"retry_attempt":{attempt},"retry_reason":"{reason}"}}"#
        )
    }

    /// Panics unless the handler received these bytes under these headers, signed for them just now.
    pub(crate) fn assert_same(&self, received: &Request) {
        let (name, golden) = (&self.name, &self.request);
        assert_eq!(text(&received.body), text(&golden.body), "{name}: the body's text");
        assert_eq!(received.body, golden.body, "{name}: the body's bytes");
        assert_eq!(received.line, golden.line, "{name}: the request line");
        for (field, value) in
            golden.headers.iter().filter(|(field, _)| !OF_THE_MOMENT.contains(&field.as_str()))
        {
            assert_eq!(received.header(field), Some(value.as_str()), "{name}: {field}");
        }
        let slacks = golden.headers.iter().map(|(field, _)| field.as_str());
        let mut fields: Vec<&str> = slacks.chain(BESIDE_SLACKS).collect();
        let mut sent: Vec<&str> = received.headers.iter().map(|(field, _)| field.as_str()).collect();
        fields.sort_unstable();
        sent.sort_unstable();
        assert_eq!(sent, fields, "{name}: the headers' names");
        let timestamp = received.header("x-slack-request-timestamp").and_then(|text| text.parse().ok());
        let timestamp = timestamp.expect("a timestamp in decimal seconds");
        assert!(direct::now().abs_diff(timestamp) <= SOON.as_secs(), "{name}: signed at {timestamp}");
        let signature = direct::signature(SECRET, timestamp, &received.body);
        assert_eq!(received.header("x-slack-signature"), Some(signature.as_str()), "{name}: the signature");
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// A handler that answers 200 to everything and keeps the requests, byte for byte.
pub(crate) struct Recorder {
    port: u16,
    requests: mpsc::Receiver<Request>,
}

impl Recorder {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        /// Requests kept; the test reads each one before the next is sent.
        const KEPT: usize = 16;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (keep, requests) = mpsc::channel(KEPT);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, keep.clone()));
            }
        });
        Self { port, requests }
    }

    /// The Request URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, direct::PATH)
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Request {
        let request = timeout(SOON, self.requests.recv()).await.expect("a request comes");
        request.expect("the recorder listens as long as the test")
    }
}

/// One request, one answer, one connection.
async fn serve(mut stream: TcpStream, keep: mpsc::Sender<Request>) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {
        let Some(head) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let request = Request::new(&String::from_utf8_lossy(&read[..head]), &read[head + 4..]);
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if request.body.len() >= length {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            drop(stream.write_all(answer).await); // taut would report an answer it could not read
            drop(keep.send(request).await); // nobody listens after the test's end
            return;
        }
    }
}
