//! Finds what is or may be a secret in a line of text, JSON, JSON within JSON, or coloured text.
//!
//! | found | becomes |
//! |---|---|
//! | `xapp-…`, `xoxb-…`, `xoxp-…`, `xoxe.…` and their kin | `***` |
//! | `wss://host/path?ticket=…` | `wss://host/path?***` |
//! | `https://hooks.slack.com/…` | `https://hooks.slack.com/***` |
//! | `token=…`, `"token":"…"`, `token: "…"` and the other names of [`NAMES`] | the name, and `***` |

use std::borrow::Cow;

pub(super) const MASK: &str = "***";

/// Names whose values are never shown. A name counts as a whole or after an underscore or hyphen (`bot_token`).
const NAMES: [&str; 9] = [
    "token",
    "response_url",
    "trigger_id",
    "secret",
    "password",
    "ticket",
    "authorization",
    "cookie",
    "signature",
];
/// What Slack's tokens begin with; `xox` is followed by one letter and a hyphen or dot.
const APP_TOKEN: &[u8] = b"xapp-";
const OTHER_TOKEN: &[u8] = b"xox";
const HOOKS: &[u8] = b"hooks.slack.com";

/// The line with every secret masked. Borrowed where there is none.
pub fn redact(line: &str) -> Cow<'_, str> {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let Some(found) = find(bytes, at) else {
            at += 1;
            continue;
        };
        out.push_str(line.get(copied..at).unwrap_or_default());
        // What introduces a secret may hold another one, as a URL's host does.
        out.push_str(&redact(line.get(at..found.start).unwrap_or_default()));
        out.push_str(if found.quote { "\"***\"" } else { MASK });
        copied = found.end;
        at = found.end;
    }
    if copied == 0 {
        return Cow::Borrowed(line);
    }
    out.push_str(line.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// What is to be masked: bytes `start..end`, both at ASCII characters, at least one.
struct Found {
    start: usize,
    end: usize,
    /// The mask needs quotes of its own to leave JSON valid.
    quote: bool,
}

/// The secret that is introduced at `at`.
fn find(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = bytes.get(at..)?;
    let (start, end) =
        match token_len(rest).map(|len| (0, len)).or_else(|| ticket(rest)).or_else(|| hook(rest)) {
            Some(found) => found,
            None if is_word_start(bytes, at) => return named(bytes, at),
            None => return None,
        };
    (end > start).then_some(Found { start: at + start, end: at + end, quote: false })
}

/// The query of a `ws` or `wss` URL.
fn ticket(rest: &[u8]) -> Option<(usize, usize)> {
    if !rest.starts_with(b"wss:") && !rest.starts_with(b"ws:") {
        return None;
    }
    let end = url_len(rest);
    let query = rest.get(..end)?.iter().position(|b| *b == b'?')?;
    Some((query + 1, end))
}

/// What follows the host of a response URL or an incoming webhook.
fn hook(rest: &[u8]) -> Option<(usize, usize)> {
    let path = rest.strip_prefix(HOOKS)?;
    // `\/` is a slash in JSON.
    let slash = [&b"/"[..], b"\\/"].into_iter().find(|slash| path.starts_with(slash))?;
    Some((HOOKS.len() + slash.len(), url_len(rest)))
}

/// Whether a name can begin here: at the line's beginning, after another character than a name's, after a colour.
fn is_word_start(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let Some(last) = before.last() else { return true };
    let codes = |b: &&u8| b.is_ascii_digit() || **b == b';';
    let colour = || {
        let without_end = before.split_last().map_or(before, |(_, rest)| rest);
        let codes = without_end.iter().rev().take_while(codes).count();
        without_end.get(..without_end.len() - codes).is_some_and(|rest| rest.ends_with(b"\x1b["))
    };
    !is_name(*last) || *last == b'm' && colour()
}

const fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

/// Length of a Slack token at the beginning.
fn token_len(rest: &[u8]) -> Option<usize> {
    let head = if rest.starts_with(APP_TOKEN) {
        APP_TOKEN.len()
    } else {
        let kind = rest.strip_prefix(OTHER_TOKEN)?;
        let known = kind.first()?.is_ascii_lowercase() && matches!(kind.get(1)?, b'-' | b'.');
        if !known {
            return None;
        }
        OTHER_TOKEN.len() + 2
    };
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'%');
    let tail = rest.get(head..)?.iter().take_while(|b| is_token(b)).count();
    (tail > 0).then_some(head + tail)
}

/// Length of a URL at the beginning: up to white space, a quote or a bracket. `\/` belongs to it.
fn url_len(rest: &[u8]) -> usize {
    let ends = |(index, b): (usize, &u8)| match b {
        b'\\' => rest.get(index + 1) != Some(&b'/'),
        b'"' | b'\'' | b'<' | b'>' | b'(' | b')' | b'{' | b'}' | b'`' | b'|' => true,
        b => b.is_ascii_whitespace() || b.is_ascii_control(),
    };
    rest.iter().enumerate().position(ends).unwrap_or(rest.len())
}

/// The value behind a name of [`NAMES`] at `at`.
fn named(bytes: &[u8], at: usize) -> Option<Found> {
    let name_end = at + bytes.get(at..)?.iter().take_while(|b| is_name(**b)).count();
    let name = bytes.get(at..name_end)?;
    if !NAMES.iter().any(|known| is_called(name, known.as_bytes())) {
        return None;
    }
    let (separator, quoted_name) = skip(bytes, name_end);
    let sign = *bytes.get(separator)?;
    if !matches!(sign, b'=' | b':') {
        return None;
    }
    let (start, quotes) = skip(bytes, separator + 1);
    if quotes > 0 {
        return quoted(bytes, start, quotes);
    }
    // A word behind a colon is a sentence ("bad token: expired"), unless JSON or `=` says that it is a value.
    if sign == b':' && quoted_name == 0 {
        return None;
    }
    let ends =
        |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'}' | b')' | b']' | b'&' | b'"' | 0x1b);
    let end = start + bytes.get(start..)?.iter().position(ends).unwrap_or(bytes.len() - start);
    (end > start).then_some(Found { start, end, quote: quoted_name > 0 })
}

/// Whether a field of this name is never shown, whatever it holds.
pub(super) fn is_secret(name: &str) -> bool {
    NAMES.iter().any(|known| is_called(name.as_bytes(), known.as_bytes()))
}

/// Whether a name is the known one, or ends in `_known` or `-known`; case does not count.
fn is_called(name: &[u8], known: &[u8]) -> bool {
    let Some(split) = name.len().checked_sub(known.len()) else { return false };
    let (head, tail) = name.split_at(split);
    tail.eq_ignore_ascii_case(known) && head.last().is_none_or(|b| matches!(b, b'_' | b'-'))
}

/// Skips white space, colours, and one quote with its backslashes. Returns where it stopped and the length of the
/// quote, 0 if there was none.
fn skip(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let mut quote = 0;
    while let Some(b) = bytes.get(at) {
        match b {
            b' ' | b'\t' => at += 1,
            0x1b => {
                let len = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'm'));
                at += len.map_or(1, |len| len + 1);
            }
            b'"' | b'\\' if quote == 0 => {
                let slashes =
                    bytes.get(at..).map_or(0, |rest| rest.iter().take_while(|b| **b == b'\\').count());
                if bytes.get(at + slashes) != Some(&b'"') {
                    break;
                }
                quote = slashes + 1;
                at += quote;
                // What follows a quote is the value itself, or the sign.
                if !matches!(bytes.get(at), Some(b' ' | b':' | b'=' | 0x1b)) {
                    break;
                }
            }
            _ => break,
        }
    }
    (at, quote)
}

/// A value from `start` up to its closing quote, which has as many backslashes as its opening one; without one, all.
fn quoted(bytes: &[u8], start: usize, quote: usize) -> Option<Found> {
    let mut slashes = 0;
    let mut end = bytes.len();
    for (index, b) in bytes.iter().enumerate().skip(start) {
        match b {
            b'\\' => slashes += 1,
            b'"' if slashes < quote => {
                end = index - slashes;
                break;
            }
            _ => slashes = 0,
        }
    }
    (end > start).then_some(Found { start, end, quote: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_masked_in_every_dress() {
        for (line, masked) in [
            ("got xapp-1-A0-9-abcdef!", "got ***!"),
            ("xoxb-12-ab xoxp-1 xoxe.xoxp-1-Mi0y xoxe-1-x", "*** *** *** ***"),
            ("wss://w.slack.com/link/?ticket=ab&app_id=c rest", "wss://w.slack.com/link/?*** rest"),
            (
                r#""url":"wss:\/\/w.slack.com\/link\/?ticket=ab""#,
                r#""url":"wss:\/\/w.slack.com\/link\/?***""#,
            ),
            ("to https://hooks.slack.com/actions/T1/2/abc ok", "to https://hooks.slack.com/*** ok"),
            ("wss://xoxb-1/?ticket=ab", "wss://***/?***"),
            (r#"https:\/\/hooks.slack.com\/app\/T1\/x""#, r#"https:\/\/hooks.slack.com\/***""#),
            ("token=abc next=1", "token=*** next=1"),
            ("token=\"a b\" next=1", "token=\"***\" next=1"),
            (r#"{"token":"a\"b","x":1}"#, r#"{"token":"***","x":1}"#),
            (r#"{"p":"{\"token\":\"ab\",\"x\":1}"}"#, r#"{"p":"{\"token\":\"***\",\"x\":1}"}"#),
            (r#"{"trigger_id":12.5,"x":1}"#, r#"{"trigger_id":"***","x":1}"#),
            (r#"Opened { app_token: "ab", n: 1 }"#, r#"Opened { app_token: "***", n: 1 }"#),
            ("response_url=https://x/y signing_secret=ab", "response_url=*** signing_secret=***"),
            (
                "\u{1b}[3mtoken\u{1b}[0m\u{1b}[2m=\u{1b}[0mabc x",
                "\u{1b}[3mtoken\u{1b}[0m\u{1b}[2m=\u{1b}[0m*** x",
            ),
            ("token=abc&team_id=T1&Bot-Token=x", "token=***&team_id=T1&Bot-Token=***"),
        ] {
            assert_eq!(redact(line), masked, "{line}");
        }
    }

    #[test]
    fn plain_words_pass() {
        for line in [
            "bad token: invalid_auth",
            "the app-level token (xapp-…) opens sockets",
            "tokens=3 broken=1 secretary=\"x\"",
            "wss://w.slack.com/link/ closed, see https://docs.slack.dev/",
            "x w h xox xoxb- ws: hooks.slack.com",
        ] {
            assert_eq!(redact(line), line);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(line in "(token|xoxb-|wss://|[ \"\\\\=:?é\u{1b}m{},/a1])*") {
            let once = redact(&line).into_owned();
            prop_assert!(!once.contains("xoxb-a") && !once.contains("xoxb-1"));
        }

        #[test]
        fn a_token_never_survives(before in "\\PC{0,20}", after in "[ \",}]\\PC{0,20}") {
            let line = format!("{before}xoxb-123-hunter2{after}");
            prop_assert!(!redact(&line).contains("hunter2"));
        }
    }
}
