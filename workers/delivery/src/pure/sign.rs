//! Slack's v0 request signature. (<https://docs.slack.dev/authentication/verifying-requests-from-slack>)

use aws_lc_rs::hmac;
use taut_vault::SigningSecret;

/// A tenant's signing secret, ready to sign. Holds no printable text.
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Takes the secret as the text it is; Slack's hex is not decoded.
    pub fn new(secret: &SigningSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }

    /// `v0=` and 64 lower-case hex digits, over exactly the bytes that are sent. `timestamp` in Unix seconds: the
    /// moment of sending, since receivers refuse what is more than 300 s off.
    pub fn signature(&self, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("v0:{timestamp}:").as_bytes());
        context.update(body);
        let tag = context.sign();
        let mut out = String::with_capacity(3 + 64);
        out.push_str("v0=");
        for &byte in tag.as_ref() {
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 15));
        }
        out
    }
}

/// Says nothing of the key.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16")
}
