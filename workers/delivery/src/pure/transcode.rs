//! Payload text as Slack's HTTP requests spell it: one line of ASCII, otherwise untouched.
//!
//! Receivers rebuild bodies from decoded lines (Bolt Java's servlet adapter joins what a charset-guessing reader
//! gives it), so anything but one line of ASCII may break the signature on their side.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The same JSON text with non-ASCII characters as `\uxxxx` (lower-case hex, surrogate pairs) and without raw CR and
/// LF. White space, numbers, keys, their order and existing escapes stay as they are.
///
/// JSON strings cannot hold a raw CR or LF, so every one that is found stands between tokens. Borrows when there is
/// nothing to do, which is the rule for what Slack sends.
pub fn ascii_line(json: &str) -> Cow<'_, str> {
    if is_ascii_line(json.as_bytes()) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + json.len() / 4);
    let mut rest = json;
    while let Some(at) = rest.bytes().position(needs_work) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            None | Some('\r' | '\n') => {}
            Some(char) => push_escaped(&mut out, char),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

const fn needs_work(byte: u8) -> bool {
    byte >= 0x80 || byte == b'\n' || byte == b'\r'
}

/// Whether nothing needs work. Judges blocks without early exit, which the compiler turns into vector code.
fn is_ascii_line(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|block| !block.iter().fold(false, |found, &byte| found | needs_work(byte)))
}

fn push_escaped(out: &mut String, char: char) {
    let mut units = [0; 2];
    for unit in char.encode_utf16(&mut units) {
        write!(out, "\\u{unit:04x}").expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ascii_payloads_are_borrowed() {
        assert!(matches!(ascii_line(r#"{"a": 1.50E+2, "b":"\/é"}"#), Cow::Owned(_)));
        assert!(matches!(ascii_line(r#"{"a": 1.50E+2, "b":"\/\u00e9"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn characters_become_lower_case_escapes_and_line_breaks_go() {
        assert_eq!(
            ascii_line("{\r\n\t\"k\u{e9}y\": \"\u{1f600} ok\"\n}"),
            "{\t\"k\\u00e9y\": \"\\ud83d\\ude00 ok\"}"
        );
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_line_is_ascii_and_means_the_same(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let line = ascii_line(&text);
            prop_assert!(line.is_ascii());
            prop_assert!(!line.contains(['\r', '\n']));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
        }

        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            prop_assert!(ascii_line(&text).is_ascii());
        }
    }
}
