//! What must hold whatever a script's text. Run by the fuzzer and, over its kept corpora, by the ordinary tests.

use crate::Script;

/// A check of one input: it panics where a promise does not hold.
pub type Check = fn(&[u8]);

/// The checks of this crate, by the names of their corpora.
pub const CHECKS: [(&str, Check); 1] = [("script", script)];

/// A script is read, or refused with a sentence; within its bounds either way.
fn script(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Script::parse(text) {
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
