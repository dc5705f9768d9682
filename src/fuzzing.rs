//! What must hold whatever the bytes, of all crates: the list that the fuzzer runs, and that the ordinary tests run
//! over the kept corpora.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config;
use crate::logging::redact;

/// A check of one input: it panics where a promise does not hold.
pub type Check = fn(&[u8]);

/// Every check by the name of its corpus, `fuzz/corpus/NAME`.
pub fn checks() -> BTreeMap<&'static str, Check> {
    let own: [(&str, Check); 2] = [("config", configuration), ("redact", redacted)];
    own.into_iter()
        .chain(taut_core::fuzzing::CHECKS)
        .chain(taut_delivery::fuzzing::CHECKS)
        .chain(taut_net::fuzzing::CHECKS)
        .chain(taut_sim::fuzzing::CHECKS)
        .chain(taut_socket::fuzzing::CHECKS)
        .chain(taut_store::fuzzing::CHECKS)
        .collect()
}

/// A configuration is refused with a rule for every breach, or shown as text that is the same configuration.
fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let directory = Path::new("/etc/taut");
    match config::load_text(text, directory) {
        Ok(loaded) => {
            let shown = config::render(&loaded);
            let again = config::load_text(&shown, directory);
            let again = again.unwrap_or_else(|breaches| panic!("{breaches}\nin what was shown:\n{shown}"));
            assert_eq!(again.config, loaded.config, "{shown}");
        }
        Err(breaches) => {
            assert!(!breaches.0.is_empty(), "a refusal has a reason");
            assert!(breaches.0.iter().all(|breach| !breach.rule.is_empty()), "{breaches}");
        }
    }
}

/// No token is left in a line, and no named secret beside whatever stands before and after it.
fn redacted(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let line = redact(&text);
    for kind in ["xapp-", "xoxb-", "xoxp-", "xoxe.", "xoxe-"] {
        for (at, _) in line.match_indices(kind) {
            let next = line[at + kind.len()..].chars().next();
            assert!(!next.is_some_and(|next| next.is_ascii_alphanumeric()), "a token is left in {line:?}");
        }
    }
    if text.contains("C4N4RY") {
        return;
    }
    let (before, after) = text.split_at(text.floor_char_boundary(text.len() / 2));
    for secret in ["token=C4N4RY", r#"{"signing_secret":"C4N4RY"}"#, "wss://h/link?ticket=C4N4RY"] {
        let line = format!("{before} {secret} {after}");
        assert!(!redact(&line).contains("C4N4RY"), "a secret is left in {line:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::checks;

    fn corpora() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
    }

    use std::path::Path;

    /// The kept inputs of a check, regressions among them.
    fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let directory = corpora().join(name);
        let entries =
            fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
        files.sort();
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).expect("a readable file");
            (path, bytes)
        };
        files.into_iter().map(read).collect()
    }

    #[test]
    fn every_check_holds_over_its_kept_inputs() {
        for (name, check) in checks() {
            let corpus = corpus(name);
            assert!(!corpus.is_empty(), "{name} has inputs");
            for (path, bytes) in corpus {
                println!("{}", path.display());
                check(&bytes);
            }
        }
    }

    #[test]
    fn every_corpus_has_its_check() {
        let checks = checks();
        for entry in fs::read_dir(corpora()).expect("the corpora") {
            let name = entry.expect("a readable entry").file_name();
            assert!(checks.contains_key(&*name.to_string_lossy()), "{}", name.display());
        }
    }

    /// One kept input, a few bytes of it replaced by something else, perhaps by a piece of another input.
    fn mutated(
        inputs: &[Vec<u8>],
        edits: &[(prop::sample::Index, prop::sample::Index, u8, Vec<u8>)],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (which, at, length, with) in edits {
            let input = which.get(inputs);
            if bytes.is_empty() {
                bytes.clone_from(input);
            }
            let from = at.index(bytes.len() + 1);
            let to = (from + usize::from(*length)).min(bytes.len());
            let piece = if with.is_empty() { &input[..input.len().min(usize::from(*length))] } else { with };
            bytes.splice(from..to, piece.iter().copied());
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn every_check_holds_near_its_kept_inputs(
            edits in proptest::collection::vec(
                (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8,
                 proptest::collection::vec(any::<u8>(), 0..4)),
                1..5,
            ),
        ) {
            for (name, check) in checks() {
                let inputs: Vec<_> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
                check(&mutated(&inputs, &edits));
            }
        }
    }
}
