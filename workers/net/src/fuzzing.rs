//! What must hold whatever a proxy's or Slack's bytes. Run by the fuzzer and, over its kept corpora, by the ordinary
//! tests.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use taut_core::fuzzing::Check;

use crate::dial::{DialFault, Endpoint, tunnel};
use crate::http::HttpAnswer;
use crate::slack::{TicketUrl, read_answer};

/// The checks of this crate, by the names of their corpora.
pub const CHECKS: [(&str, Check); 3] =
    [("connect_reply", connect_reply), ("open_answer", open_answer), ("ticket", ticket)];

/// A tunnel is open only after a status of 200 to 299 with nothing behind it; no byte of it is waited for for ever.
fn connect_reply(data: &[u8]) {
    let target = Endpoint { host: "slack.com".into(), port: 443, tls: true };
    let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let feed = async {
        use tokio::io::AsyncWriteExt as _;
        let written = theirs.write_all(data).await;
        drop(theirs);
        written
    };
    let data = &data[..data.len().min(48 * 1024)];
    let both = futures::future::join(tunnel(&mut ours, &target, None), feed);
    // Nothing is left to wait for: a hang is a failure.
    let (outcome, _written) = futures::executor::block_on(both);
    match outcome {
        Ok(()) => {
            assert!(data.starts_with(b"HTTP/1."));
            assert_eq!(data.get(9), Some(&b'2'));
        }
        Err(DialFault::ProxyAuth { .. } | DialFault::ProxyStatus { .. }) => {
            assert!(data.starts_with(b"HTTP/1."));
        }
        Err(_) => {}
    }
}

/// An answer to `apps.connections.open` opens a socket only at a `wss` URL; every other says what to do, in bounds.
fn open_answer(data: &[u8]) {
    let [status, flags, rest @ ..] = data else { return };
    let (head, body) = rest.split_at(rest.len().min(usize::from(flags >> 4)));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(head) {
        for (bit, name) in [(1, RETRY_AFTER), (2, DATE), (4, CONTENT_TYPE)] {
            if flags & bit != 0 {
                headers.insert(name, value.clone());
            }
        }
    }
    let status = [200, 429, 500, 302, 403, 407, 0, 204][usize::from(*status) % 8];
    let answer = HttpAnswer { status, headers, body: Bytes::copy_from_slice(body) };
    match read_answer(&answer, true) {
        Ok(opened) => assert!(opened.url.endpoint().tls && !opened.url.host().is_empty()),
        Err(error) => {
            assert!(error.code.len() <= 64 && error.text.len() < 1024, "{error:?}");
            assert!(error.retry_after.is_none_or(|span| span <= Duration::from_hours(1)));
            let shown = format!("{} {}", error.code, error.text);
            assert!(!shown.contains(char::is_control), "what a stranger sent is not shown raw");
        }
    }
}

/// A ticket's URL is kept secret whatever it is.
fn ticket(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(url) = TicketUrl::parse(text, true) else { return };
    assert!(url.endpoint().tls);
    let Some((before, _)) = text.split_once('?') else { return };
    let Ok(other) = TicketUrl::parse(&format!("{before}?x"), true) else { return };
    assert_eq!(format!("{url:?}"), format!("{other:?}"), "a ticket is not shown");
}
