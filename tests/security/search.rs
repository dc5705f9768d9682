//! A secret is looked for in every dress in which it could come out.

use std::path::{Path, PathBuf};

use memchr::memmem;

/// Secrets, and what each looks like as itself, in JSON, in a URL, in base64 (wherever it begins there) and in hex.
pub struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    pub fn new(secrets: &[&str]) -> Self {
        let dresses = secrets.iter().flat_map(|secret| {
            let mut all = vec![
                secret.as_bytes().to_vec(),
                json(secret),
                percent(secret),
                hex(secret, false),
                hex(secret, true),
            ];
            all.extend((0..3).map(|offset| base64_within(secret.as_bytes(), offset)));
            all.into_iter().map(|dress| ((*secret).to_owned(), dress))
        });
        Self(dresses.collect())
    }

    /// Which secret these bytes hold, if any.
    pub fn find(&self, bytes: &[u8]) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, dress)| memmem::find(bytes, dress).is_some())
            .map(|(secret, _)| secret.as_str())
    }

    pub fn assert_absent(&self, place: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Some(secret) = self.find(bytes) {
            panic!("{place} holds {secret}: {}", String::from_utf8_lossy(bytes));
        }
    }

    /// Every file below a directory that holds one, but for these names.
    pub fn files(&self, directory: &Path, but: &[&str]) -> Vec<PathBuf> {
        let files = every_path(directory).into_iter().filter(|path| path.is_file());
        let named =
            |path: &PathBuf| path.file_name().is_some_and(|name| but.iter().any(|known| name == *known));
        files
            .filter(|path| !named(path) && self.find(&std::fs::read(path).unwrap_or_default()).is_some())
            .collect()
    }
}

/// A directory and everything below it.
pub fn every_path(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is readable");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = paths
        .flat_map(|path| if path.is_dir() && !path.is_symlink() { every_path(&path) } else { vec![path] });
    std::iter::once(directory.to_owned()).chain(below).collect()
}

fn json(text: &str) -> Vec<u8> {
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    quoted.trim_matches('"').replace('/', "\\/").into_bytes()
}

fn percent(text: &str) -> Vec<u8> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let one = |b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect::<String>().into_bytes()
}

fn hex(text: &str, upper: bool) -> Vec<u8> {
    let one = |b| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
    text.bytes().map(one).collect::<String>().into_bytes()
}

/// What of the base64 of some text with these bytes at `offset` (modulo 3) is the same whatever stands around them.
fn base64_within(bytes: &[u8], offset: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [vec![0; offset], bytes.to_vec()].concat();
    let sextet = |index: usize| {
        let bit = |at: usize| padded[at / 8] >> (7 - at % 8) & 1;
        let value = (index * 6..index * 6 + 6).fold(0, |value, at| value << 1 | bit(at));
        DIGITS[usize::from(value)]
    };
    // A digit that shares its bits with a neighbour is not known.
    let (first, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    (first..end).map(sextet).collect()
}

#[test]
fn the_search_sees_through_every_dress() {
    let canaries = Canaries::new(&["p/w+canary\"7"]);
    for dressed in [
        "so p/w+canary\"7 it is",
        r#"{"a":"p\/w+canary\"7"}"#,
        "p%2Fw%2Bcanary%227",
        "702f772b63616e6172792237",
        "702F772B63616E6172792237",
        // Of "p/w+canary\"7", "taut:p/w+canary\"7" and "ab" before it.
        "cC93K2NhbmFyeSI3",
        "dGF1dDpwL3crY2FuYXJ5Ijc=",
        "YWJwL3crY2FuYXJ5Ijc=",
    ] {
        assert!(canaries.find(dressed.as_bytes()).is_some(), "{dressed}");
    }
    canaries.assert_absent("another text", "p/w+canary'7 cC93K2NhbmFyeSI");
}
