use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// Descends into every object at the outermost level, and keeps nothing.
#[derive(Default)]
struct Nothing;

impl<'a> Fields<'a> for Nothing {
    fn take(&mut self, scan: &mut Scan<'a>, _key: &[u8]) -> Option<()> {
        scan.skip()
    }
}

fn ours(text: &str) -> Option<BTreeMap<String, &str>> {
    let mut fields = BTreeMap::new();
    let mut scan = Scan::new(text);
    scan.object(|scan, key| {
        let mut value = Object::<Nothing>::default();
        let start = scan.at;
        scan.value_and(&mut value)?;
        fields.insert(std::str::from_utf8(key).ok()?.to_owned(), scan.since(start)?);
        Some(())
    })?;
    scan.end()?;
    Some(fields)
}

fn serdes(text: &str) -> Option<BTreeMap<String, &str>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    Some(fields.into_iter().map(|(key, value)| (key, value.get())).collect())
}

#[test]
fn odd_spellings_are_judged_as_serde_judges_them() {
    let cases = [
        r#"{"a":01}"#,
        r#"{"a":-}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":-0.0E+09}"#,
        r#"{"a":1e}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"\ud800":1}"#,
        r#"{"\u0061":1}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[}]}"#,
        r#"{"a":{"b"}}"#,
        r#"{"a" : [ ] }  "#,
        r#"{"a":tru}"#,
        r#"{"a":nulll}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"\u{7f}é\"}",
        "\u{feff}{}",
        "{}x",
        "{",
        "",
        "[]",
        "{\"a\":\"\0\"}",
        "{\"a\0\":1}",
        "{\"a\":1\0}",
    ];
    for text in cases {
        assert_eq!(ours(text), serdes(text), "{text:?}");
    }
}

proptest! {
    #[test]
    fn soup_is_judged_as_serde_judges_it(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\\n\"", "\"long enough for a word\"", "\"", "\\", "1", "-2.5e3",
                "0", "true", "null", " ", "\n", "\u{1}", "é",
            ]),
            0..12,
        ),
    ) {
        let text = format!("{{\"k\":{}}}", tokens.concat());
        prop_assert_eq!(ours(&text), serdes(&text));
    }

    #[test]
    fn one_changed_byte_is_judged_as_serde_judges_it(
        json in r#"\{"[a-z\\"]{1,9}":\[("[^"\\\p{Cc}]{0,20}"|-?[0-9]{1,3}(\.[0-9])?|null|\{"x": ?true\})(, ?"é\\u00e9")?\]\}"#,
        place in any::<prop::sample::Index>(),
        byte in 0_u8..128,
    ) {
        prop_assert_eq!(ours(&json), serdes(&json));
        let mut bytes = json.into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert_eq!(ours(text), serdes(text));
        }
    }
}
