//! Slack's request signature, version 0, checked from its documentation alone.

use aws_lc_rs::hmac;
use http::HeaderMap;

/// How far a request's clock may be from ours, in seconds.
const CLOCK_TOLERANCE_SECONDS: u64 = 300;

/// What became of a request's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Good,
    /// A header is missing or unreadable.
    Missing,
    /// The timestamp is more than 5 minutes away.
    Stale,
    /// The hash is another one.
    Wrong,
}

/// Checks `X-Slack-Signature` and `X-Slack-Request-Timestamp` against the raw body.
pub(super) fn verify(secret: &[u8], headers: &HeaderMap, body: &[u8], now_seconds: u64) -> Signature {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(timestamp), Some(signature)) =
        (header("x-slack-request-timestamp"), header("x-slack-signature"))
    else {
        return Signature::Missing;
    };
    let Ok(seconds) = timestamp.parse::<u64>() else { return Signature::Missing };
    if now_seconds.abs_diff(seconds) > CLOCK_TOLERANCE_SECONDS {
        return Signature::Stale;
    }
    let Some(tag) = signature.strip_prefix("v0=").and_then(from_lower_hex) else { return Signature::Wrong };
    let message = [b"v0:", timestamp.as_bytes(), b":", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    if hmac::verify(&key, &message, &tag).is_ok() { Signature::Good } else { Signature::Wrong }
}

/// Bolt compares the texts, so upper-case digits are wrong.
fn from_lower_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of docs.slack.dev, "Verifying requests from Slack".
    const SECRET: &[u8] = b"8f742231b10e8888abcd99yyyzzz85a5";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const SENT: u64 = 1_531_420_618;

    fn headers(timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-slack-request-timestamp", timestamp.parse().unwrap());
        headers.insert("x-slack-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_documented_example_is_good_and_any_change_is_not() {
        let good = headers("1531420618", SIGNATURE);
        assert_eq!(verify(SECRET, &good, BODY, SENT + 300), Signature::Good);
        assert_eq!(verify(SECRET, &good, BODY, SENT + 301), Signature::Stale);
        assert_eq!(verify(SECRET, &good, BODY, SENT - 301), Signature::Stale);
        assert_eq!(verify(SECRET, &good, &BODY[1..], SENT), Signature::Wrong);
        assert_eq!(verify(b"other", &good, BODY, SENT), Signature::Wrong);
        let upper = SIGNATURE.to_uppercase().replace("V0", "v0");
        assert_eq!(verify(SECRET, &headers("1531420618", &upper), BODY, SENT), Signature::Wrong);
        assert_eq!(verify(SECRET, &headers("soon", SIGNATURE), BODY, SENT), Signature::Missing);
        assert_eq!(verify(SECRET, &HeaderMap::new(), BODY, SENT), Signature::Missing);
    }
}
