//! `application/x-www-form-urlencoded` as the WHATWG has it, and slash commands in it.

use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::transcode::ascii_line;

/// Appends the form spelling of UTF-8 bytes: space is `+`, letters, digits and `*-._` stay, the rest is `%XX`.
pub fn push_encoded(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

/// A slash command's flat form: one field for each top-level member, in order.
///
/// Strings go in decoded, words and numbers as their literal text, objects and arrays as their own JSON text; `null`
/// has no spelling in a form and is left out. What is no JSON object gives an empty form.
/// (<https://docs.slack.dev/interactivity/implementing-slash-commands>)
pub fn command_form(payload: &str) -> Vec<u8> {
    let out = Vec::with_capacity(payload.len() + payload.len() / 2);
    serde_json::Deserializer::from_str(payload).deserialize_map(FormWriter(out)).unwrap_or_default()
}

/// Writes fields while it reads members, so that order and repeated keys survive.
struct FormWriter(Vec<u8>);

impl<'de> Visitor<'de> for FormWriter {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<u8>, A::Error> {
        let mut out = self.0;
        while let Some((Text(key), value)) = members.next_entry::<Text, &'de RawValue>()? {
            let value = value.get();
            if value == "null" {
                continue;
            }
            if !out.is_empty() {
                out.push(b'&');
            }
            push_encoded(&mut out, &key);
            out.push(b'=');
            if value.starts_with('"') {
                let text = serde_json::from_str::<Text>(value).map_err(serde::de::Error::custom)?;
                push_encoded(&mut out, &text.0);
            } else {
                push_encoded(&mut out, ascii_line(value).as_bytes());
            }
        }
        Ok(out)
    }
}

/// A decoded JSON string as UTF-8; a lone surrogate, which has none, becomes U+FFFD.
struct Text(Vec<u8>);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(without_surrogates(bytes)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.as_bytes().to_vec()))
            }
        }
        // Read as bytes, serde_json leaves lone surrogates in their three-byte form instead of refusing the string.
        deserializer.deserialize_bytes(Bytes)
    }
}

fn without_surrogates(bytes: &[u8]) -> Vec<u8> {
    if std::str::from_utf8(bytes).is_ok() {
        return bytes.to_vec();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if let [0xED, 0xA0..=0xBF, _, after @ ..] = rest {
            out.extend("\u{FFFD}".as_bytes());
            rest = after;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(payload: &str) -> String {
        String::from_utf8(command_form(payload)).unwrap()
    }

    #[test]
    fn reserved_and_foreign_characters_are_percent_encoded() {
        let mut out = Vec::new();
        push_encoded(&mut out, "a b&c=d/é*-._~".as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), "a+b%26c%3Dd%2F%C3%A9*-._%7E");
    }

    #[test]
    fn every_json_type_has_its_spelling_and_null_has_none() {
        assert_eq!(
            form(
                r#" {"s":"x\u00e9","t":true,"n":1.50E+2,"gone":null,"o":{"k":"é"},"a":[1, 2],"s":"again"} "#
            ),
            "s=x%C3%A9&t=true&n=1.50E%2B2&o=%7B%22k%22%3A%22%5Cu00e9%22%7D&a=%5B1%2C+2%5D&s=again"
        );
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(
            form(r#"{"text":"a\ud800b","\udc00":"\ud83d\ude00"}"#),
            "text=a%EF%BF%BDb&%EF%BF%BD=%F0%9F%98%80"
        );
    }

    #[test]
    fn what_is_no_object_gives_an_empty_form() {
        for payload in ["", "null", "[1]", "\"x\"", "{\"a\":"] {
            assert_eq!(form(payload), "", "{payload}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = command_form(&text);
        }

        #[test]
        fn encoded_text_holds_only_safe_characters(text in any::<String>()) {
            let mut out = Vec::new();
            push_encoded(&mut out, text.as_bytes());
            prop_assert!(out.iter().all(|b| b.is_ascii_alphanumeric() || b"*-._+%".contains(b)));
        }
    }
}
