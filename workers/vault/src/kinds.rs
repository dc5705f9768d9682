//! The kinds of secrets, a type each, so that one cannot be used for another.

use std::fmt;

use crate::SecretText;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(SecretText);

        impl $name {
            /// Wraps the text of such a secret.
            pub const fn new(text: SecretText) -> Self {
                Self(text)
            }

            /// The text itself. Call it only where the bytes leave: a header, a signature.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }

            /// Twelve hex digits that tell two such secrets apart and say nothing else about them.
            pub fn fingerprint(&self) -> String {
                self.0.fingerprint(stringify!($name))
            }
        }

        impl From<SecretText> for $name {
            fn from(text: SecretText) -> Self {
                Self::new(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }
    };
}

secret! {
    /// An app-level token (`xapp-…`): all that is needed to open an app's sockets.
    AppToken
}
secret! {
    /// What deliveries are signed with; the handler holds the same.
    SigningSecret
}
secret! {
    /// A bot token (`xoxb-…`).
    BotToken
}
secret! {
    /// The password for the proxy's basic auth.
    ProxyPassword
}

impl AppToken {
    /// The app id that the token seems to name: the third field of `xapp-1-A…-…-…`.
    ///
    /// The layout is observed, not documented: a hint for messages and a sanity check, never a reason to refuse.
    pub fn app_id_hint(&self) -> Option<&str> {
        let mut fields = self.expose().split('-');
        let (head, _, app) = (fields.next()?, fields.next()?, fields.next()?);
        let plausible =
            app.starts_with('A') && app.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        (head == "xapp" && plausible).then_some(app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "xapp-1-A0123456789-111-feedface";

    #[test]
    fn debug_prints_the_kind_alone() {
        assert_eq!(format!("{:?}", AppToken::from(TOKEN)), "AppToken(***)");
        assert_eq!(format!("{:#?}", SigningSecret::from(TOKEN)), "SigningSecret(***)");
        assert_eq!(format!("{:?}", SecretText::from(TOKEN)), "SecretText(***)");
    }

    #[test]
    fn equality_is_by_text() {
        assert_eq!(AppToken::from(TOKEN), AppToken::from(TOKEN));
        assert_ne!(AppToken::from(TOKEN), AppToken::from("xapp-1-A0123456789-111-feedfacf"));
        assert_ne!(AppToken::from(TOKEN), AppToken::from("xapp"));
    }

    #[test]
    fn fingerprint_differs_by_text_and_kind_and_shows_neither() {
        let print = AppToken::from(TOKEN).fingerprint();
        assert_eq!(print.len(), 12);
        assert_eq!(print, AppToken::from(TOKEN).fingerprint());
        assert_ne!(print, AppToken::from("other").fingerprint());
        assert_ne!(print, BotToken::from(TOKEN).fingerprint());
    }

    #[test]
    fn app_id_hint_reads_only_the_observed_layout() {
        assert_eq!(AppToken::from(TOKEN).app_id_hint(), Some("A0123456789"));
        for odd in ["", "xapp", "xapp-1", "xapp-1-T012-1-ab", "xoxb-1-A012-1-ab", "xapp-1-A0 1-1-ab"] {
            assert_eq!(AppToken::from(odd).app_id_hint(), None, "{odd}");
        }
    }
}
