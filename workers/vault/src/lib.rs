//! Secrets that cannot be printed, and where they come from.
//!
//! ```text
//! configuration ─ SecretRef ─► resolve ─► SecretText ─► AppToken | SigningSecret | BotToken | ProxyPassword
//!                (env, file,      │                          └─ expose() only where the bytes leave:
//!                 credential)     └─ warning: readable by all      a header, a signature
//! ```
//!
//! Invariants: no secret type has `Display` or `Serialize`, `Debug` prints the type's name alone, comparing takes
//! the same time wherever the texts differ, and the memory is wiped on drop. Errors name the reference, never the
//! content.
//! Deliberately absent: sealing at rest and key providers (a single host keeps its secrets in files that are its
//! owner's), caching, and watching files for changes.

mod kinds;
mod resolve;
mod text;

pub use self::kinds::{AppToken, BotToken, ProxyPassword, SigningSecret};
pub use self::resolve::{Resolved, SECRET_BYTES_MAX, SecretError, SecretWarning, resolve};
pub use self::text::SecretText;
