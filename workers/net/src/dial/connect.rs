//! The CONNECT method, written here so that the proxy's status is kept.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::rules::bracketed;
use super::{DialFault, Endpoint};

/// Largest head of an answer to CONNECT, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Asks the proxy at the other end of `stream` for a tunnel to `target`.
pub(crate) async fn tunnel<S>(
    stream: &mut S,
    target: &Endpoint,
    auth: Option<&http::HeaderValue>,
) -> Result<(), DialFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ask = request(target, auth)?;
    stream.write_all(&ask).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(512);
    loop {
        match judge(&head, auth.is_some()) {
            Verdict::Open => return Ok(()),
            Verdict::Failed(fault) => return Err(fault),
            Verdict::More => {}
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(
                io::Error::new(io::ErrorKind::UnexpectedEof, "the proxy closed the connection").into()
            );
        }
    }
}

fn request(target: &Endpoint, auth: Option<&http::HeaderValue>) -> Result<Vec<u8>, DialFault> {
    let host = bracketed(&target.host);
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DialFault::Name { text: "it has characters that no host name has".into() });
    }
    let port = target.port;
    let mut ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(auth) = auth {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(auth.as_bytes());
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    Ok(ask)
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The head is not whole yet.
    More,
    /// The tunnel is open, and nothing has come through it.
    Open,
    Failed(DialFault),
}

/// Judges what has come so far; `sent` says whether credentials were sent. Whatever the bytes, it never panics.
fn judge(head: &[u8], sent: bool) -> Verdict {
    const START: &[u8] = b"HTTP/1.";
    let seen = head.len().min(START.len());
    if head[..seen] != START[..seen] {
        return Verdict::Failed(DialFault::NotAProxy);
    }
    let Some(end) = head_end(head) else {
        return if head.len() < HEAD_BYTES_MAX {
            Verdict::More
        } else {
            Verdict::Failed(DialFault::NotAProxy)
        };
    };
    let status = head.get(START.len() + 2..START.len() + 5).and_then(|digits| {
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
    });
    match status.and_then(|digits| digits.parse::<u16>().ok()) {
        // Nobody speaks before us in a tunnel: a page that follows comes from something that is no proxy.
        Some(200..=299) if end < head.len() || says_html(&head[..end]) => {
            Verdict::Failed(DialFault::NotAProxy)
        }
        Some(200..=299) => Verdict::Open,
        Some(407) => Verdict::Failed(DialFault::ProxyAuth { sent }),
        Some(status) => Verdict::Failed(DialFault::ProxyStatus { status }),
        None => Verdict::Failed(DialFault::NotAProxy),
    }
}

/// Where the head ends, its empty line included.
fn head_end(head: &[u8]) -> Option<usize> {
    head.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn says_html(head: &[u8]) -> bool {
    String::from_utf8_lossy(head).to_ascii_lowercase().contains("\r\ncontent-type: text/html")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let status = |status| Verdict::Failed(DialFault::ProxyStatus { status });
        let cases = [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Verdict::Open),
            ("HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", Verdict::Open),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", Verdict::Failed(DialFault::NotAProxy)),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", Verdict::Failed(DialFault::NotAProxy)),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                Verdict::Failed(DialFault::ProxyAuth { sent: false }),
            ),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", status(502)),
            ("HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n", status(403)),
            ("HTTP/1.1 xyz\r\n\r\n", Verdict::Failed(DialFault::NotAProxy)),
            ("<html>", Verdict::Failed(DialFault::NotAProxy)),
            ("SSH-2.0", Verdict::Failed(DialFault::NotAProxy)),
            ("", Verdict::More),
            ("HTT", Verdict::More),
            ("HTTP/1.1 200 OK\r\n", Verdict::More),
        ];
        for (head, verdict) in cases {
            assert_eq!(judge(head.as_bytes(), false), verdict, "{head:?}");
        }
    }

    #[test]
    fn endless_head_is_cut() {
        let head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'x'; HEAD_BYTES_MAX]].concat();
        assert_eq!(judge(&head, false), Verdict::Failed(DialFault::NotAProxy));
    }

    #[test]
    fn request_names_the_target_and_cannot_be_split() {
        let target = |host: &str| Endpoint { host: host.into(), port: 443, tls: true };
        let plain = request(&target("slack.com"), None).expect("a request");
        assert_eq!(plain, b"CONNECT slack.com:443 HTTP/1.1\r\nHost: slack.com:443\r\n\r\n");
        let v6 =
            request(&target("::1"), Some(&http::HeaderValue::from_static("Basic eA=="))).expect("a request");
        let wanted =
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Authorization: Basic eA==\r\n\r\n";
        assert_eq!(v6, wanted.as_bytes());
        assert!(request(&target("a\r\nX: y"), None).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            judge(&head, true);
            judge(&[b"HTTP/1.".as_slice(), &head].concat(), true);
        }
    }
}
