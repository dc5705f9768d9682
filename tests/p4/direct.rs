//! A request as Slack documents it, sent straight to an app. Shares no code with taut's delivery: an error would have
//! to be made twice to go unseen.
//! (<https://docs.slack.dev/authentication/verifying-requests-from-slack>,
//! <https://docs.slack.dev/interactivity/implementing-slash-commands>)

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::cases::{Case, Wire};
use crate::support::SOON;

/// Where all apps take requests.
pub(crate) const PATH: &str = "/slack/events";

/// An HTTP answer, and how long it took.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

impl Answer {
    /// For failures: status and the beginning of the body.
    pub(crate) fn shown(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(80).collect();
        format!("{} {body:?} after {:.1} s", self.status, self.took.as_secs_f64())
    }
}

/// Sends a case to the app on this port, signed now.
pub(crate) async fn send(port: u16, secret: &str, case: &Case) -> Answer {
    let body = body(case.wire, &case.payload);
    let timestamp = now();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         User-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\nAccept: application/json,*/*\r\n\
         X-Slack-Request-Timestamp: {timestamp}\r\nX-Slack-Signature: {}\r\n\r\n",
        content_type(case.wire),
        body.len(),
        signature(secret, timestamp, body.as_bytes())
    );
    exchange(port, &[head.as_bytes(), body.as_bytes()].concat()).await
}

/// A plain GET.
pub(crate) async fn get(port: u16, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    exchange(port, head.as_bytes()).await
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs()
}

/// The exact media type: Bolt for JavaScript compares the whole string.
pub(crate) const fn content_type(wire: Wire) -> &'static str {
    match wire {
        Wire::Event => "application/json",
        Wire::Interactive | Wire::Command => "application/x-www-form-urlencoded",
    }
}

/// The request's body.
pub(crate) fn body(wire: Wire, payload: &Value) -> String {
    match wire {
        Wire::Event => ascii(&payload.to_string()),
        Wire::Interactive => format!("payload={}", form(&ascii(&payload.to_string()))),
        Wire::Command => {
            let fields = payload.as_object().expect("a command's payload is an object").iter();
            let pair = |(name, value): (&String, &Value)| match value {
                Value::Null => None,
                Value::String(text) => Some(format!("{}={}", form(name), form(text))),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    Some(format!("{}={}", form(name), form(&ascii(&value.to_string()))))
                }
            };
            fields.filter_map(pair).collect::<Vec<_>>().join("&")
        }
    }
}

/// `v0=` and the hex of HMAC-SHA256 over `v0:timestamp:body`.
pub(crate) fn signature(secret: &str, timestamp: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let base = [format!("v0:{timestamp}:").as_bytes(), body].concat();
    let mut text = String::from("v0=");
    for byte in hmac::sign(&key, &base).as_ref() {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}

/// JSON with every character beyond ASCII as `\uxxxx`.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            Ok(_) | Err(_) => write!(out, "\\u{unit:04x}").expect("a String takes every write"),
        }
    }
    out
}

/// `application/x-www-form-urlencoded`, as WHATWG has it.
fn form(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    out
}

/// One request on a connection of its own; the answer ends with the connection, and its time counts from the sending.
async fn exchange(port: u16, request: &[u8]) -> Answer {
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let started = Instant::now();
        // A server may answer and close before it has read a large body; its answer still counts.
        let written = stream.write_all(request).await;
        let mut read = Vec::new();
        let end = stream.read_to_end(&mut read).await;
        let took = started.elapsed();
        if read.is_empty() { written.and(end.map(drop)).map(|()| (read, took)) } else { Ok((read, took)) }
    };
    let talked = timeout(SOON, talk).await.expect("an app answers in time");
    let (read, took) = talked.expect("an app takes connections");
    parse(&read, took)
}

fn parse(read: &[u8], took: Duration) -> Answer {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8_lossy(&read[..end]);
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let header = |name: &str| {
        let mut fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let raw = &read[end + 4..];
    let chunked = header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = if chunked { unchunked(raw) } else { raw.to_vec() };
    Answer { status, content_type: header("content-type"), body, took }
}

fn unchunked(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = raw.windows(2).position(|window| window == b"\r\n").expect("a chunk begins with its size");
        let size =
            std::str::from_utf8(&raw[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk's size is hexadecimal");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&raw[line + 2..line + 2 + size]);
        raw = &raw[line + 2 + size + 2..];
    }
}
