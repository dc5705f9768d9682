//! The text of a secret.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret's text: unprintable, compared in constant time, wiped when dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over. What the caller copied it from stays the caller's to wipe.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Call it only where the bytes leave: a header, a signature.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Twelve hex digits that tell two secrets of one `kind` apart and say nothing else about them.
    pub(crate) fn fingerprint(&self, kind: &str) -> String {
        let mut hash = Context::new(&SHA256);
        for part in ["taut fingerprint 1", kind, self.expose()] {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        let digest = hash.finish();
        let head = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        format!("{:016x}", u64::from_be_bytes(*head))[..12].to_owned()
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(***)")
    }
}
