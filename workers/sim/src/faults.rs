//! Faults of the steps before a socket is open.

use std::time::Duration;

use serde::Deserialize;

use crate::duration;

/// How `apps.connections.open` fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "with", rename_all = "snake_case", deny_unknown_fields)]
pub enum OpenFailure {
    /// HTTP 200 with `{"ok":false,"error":CODE}`.
    Error { code: String },
    /// HTTP 429 with `Retry-After`, if given, and error `ratelimited`.
    RateLimited {
        #[serde(default)]
        retry_after_seconds: Option<u64>,
    },
    /// An HTTP status with a short text body.
    Status { status: u16 },
    /// HTTP 200 with this body and content type.
    Body {
        body: String,
        #[serde(default = "html")]
        content_type: String,
    },
    /// Success without a `url`.
    NoUrl,
    /// Success, but the URL leads nowhere (a closed local port).
    DeadUrl,
    /// Success without Content-Type.
    NoContentType,
    /// Success, this much later.
    Slow {
        #[serde(with = "duration")]
        wait: Duration,
    },
    /// No answer, for as long as the client waits.
    Hang,
    /// The connection ends instead of an answer.
    Abort,
}

/// How the WebSocket upgrade, or the first moments after it, fail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "with", rename_all = "snake_case", deny_unknown_fields)]
pub enum UpgradeFailure {
    /// An HTTP status instead of 101; 409 comes with `server: envoy`. The ticket is spent.
    Status { status: u16 },
    /// HTTP 200 and HTML, as from a proxy that does not pass Upgrade on.
    Html,
    /// 101 with a wrong `Sec-WebSocket-Accept`.
    WrongAccept,
    /// No answer.
    Hang,
    /// The connection ends instead of an answer.
    Abort,
    /// 101, then this text frame and no hello, such as `UNAUTHENTICATED: cache_error`.
    Text { text: String },
    /// 101, then nothing: neither hello nor pings.
    NoHello,
    /// 101 and hello, then TCP ends.
    DropAfterHello,
    /// 101, then `disconnect` with this reason instead of hello.
    Disconnect { reason: String },
    /// 101, then a hello that names this app.
    HelloOfApp { app_id: String },
}

fn html() -> String {
    "text/html".to_owned()
}
