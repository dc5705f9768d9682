//! A tenant's signing secret, replaceable while deliveries go on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use taut_vault::SigningSecret;

use crate::pure::sign::SigningKey;

/// Signs one tenant's deliveries. Clones share the secret.
///
/// The key is made for each signature: ready to sign it takes 1.2 KiB, which an idle tenant need not hold, and making
/// it costs about a microsecond beside an HTTP request.
#[derive(Debug, Clone)]
pub struct Signer(Arc<ArcSwap<SigningSecret>>);

impl Signer {
    /// A signer with this secret.
    pub fn new(secret: &SigningSecret) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(secret.clone())))
    }

    /// Every attempt from now on is signed with this secret.
    pub fn replace(&self, secret: &SigningSecret) {
        self.0.store(Arc::new(secret.clone()));
    }

    /// The v0 signature over these bytes at this Unix time in seconds.
    pub(crate) fn signature(&self, timestamp: u64, body: &[u8]) -> String {
        SigningKey::new(&self.0.load()).signature(timestamp, body)
    }
}
