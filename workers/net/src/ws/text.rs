//! Text messages.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A text message: known to be UTF-8, cheap to clone and to cut, never copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Utf8Bytes);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Its bytes, without a copy.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    /// A part of it, without a copy; `None` unless the range is within the text and between characters.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let part = self.as_str().get(range)?;
        Utf8Bytes::try_from(self.to_bytes().slice_ref(part.as_bytes())).map(Self).ok()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Utf8Bytes::from_static(text))
    }
}

impl From<Utf8Bytes> for Text {
    fn from(text: Utf8Bytes) -> Self {
        Self(text)
    }
}

impl From<Text> for Utf8Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// Says nothing of the text: it may be a payload.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}
