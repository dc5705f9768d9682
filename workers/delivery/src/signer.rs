//! A tenant's signing key, replaceable while deliveries go on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use taut_vault::SigningSecret;

use crate::pure::sign::SigningKey;

/// Signs one tenant's deliveries. Clones share the key.
#[derive(Debug, Clone)]
pub struct Signer(Arc<ArcSwap<SigningKey>>);

impl Signer {
    /// A signer with this secret.
    pub fn new(secret: &SigningSecret) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(SigningKey::new(secret))))
    }

    /// Every attempt from now on is signed with this secret.
    pub fn replace(&self, secret: &SigningSecret) {
        self.0.store(Arc::new(SigningKey::new(secret)));
    }

    /// The v0 signature over these bytes at this Unix time in seconds.
    pub(crate) fn signature(&self, timestamp: u64, body: &[u8]) -> String {
        self.0.load().signature(timestamp, body)
    }
}
