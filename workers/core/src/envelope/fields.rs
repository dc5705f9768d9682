//! The fields of a JSON object where they stand in its text, found in one pass over all of it.

use std::borrow::Cow;

use super::skip;

/// Declares a struct with the value of each named field, and how to find them in an object's text. In brackets stands
/// a field whose own fields are found in the same pass, if its value is an object.
macro_rules! fields {
    (struct $name:ident {
        $($field:ident = $key:literal,)*
        $([$object:ident = $object_key:literal: $Inner:ident])?
    }) => {
        #[derive(Debug, Clone, Default)]
        pub(in crate::envelope) struct $name<'a> {
            $(pub(in crate::envelope) $field: $crate::envelope::fields::Value<'a>,)*
            $(pub(in crate::envelope) $object: $crate::envelope::fields::Object<'a, $Inner<'a>>,)?
        }

        impl<'a> $crate::envelope::fields::Fields<'a> for $name<'a> {
            fn take(&mut self, scan: &mut $crate::envelope::fields::Scan<'a>, key: &[u8]) -> Option<()> {
                match key {
                    $($key => self.$field = scan.value()?,)*
                    $($object_key => scan.value_and(&mut self.$object)?,)?
                    _ => scan.skip()?,
                }
                Some(())
            }
        }
    };
}
pub(super) use fields;

/// Some of an object's fields.
pub(super) trait Fields<'a>: Default {
    /// Moves over the value of this key, and keeps it if it is one of these fields.
    fn take(&mut self, scan: &mut Scan<'a>, key: &[u8]) -> Option<()>;

    /// The fields of a text; `None` unless it is one JSON object.
    fn read(text: &'a str) -> Option<Self> {
        let mut fields = Self::default();
        let mut scan = Scan::new(text);
        scan.object(|scan, key| fields.take(scan, key))?;
        scan.end()?;
        Some(fields)
    }
}

/// A field's value. Of a field that occurs twice the last counts, as with the JSON parsers that handlers use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// A string without escapes, without its quotes.
    Plain(&'a str),
    /// Anything else, as it is written.
    Raw(&'a str),
}

impl<'a> Value<'a> {
    pub(super) const fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }

    /// A string's text, decoded.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Plain(text) => Some(Cow::Borrowed(text)),
            Self::Raw(raw) if raw.starts_with('"') => serde_json::from_str(raw).ok().map(Cow::Owned),
            Self::Raw(_) | Self::Absent => None,
        }
    }

    /// A whole number's value.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Raw(raw) => raw.parse().ok(),
            Self::Plain(_) | Self::Absent => None,
        }
    }

    /// What is no string, as it is written.
    pub(super) fn raw(self) -> Option<&'a str> {
        match self {
            Self::Raw(raw) if !raw.starts_with('"') => Some(raw),
            Self::Raw(_) | Self::Plain(_) | Self::Absent => None,
        }
    }

    /// An object's fields.
    pub(super) fn object<F: Fields<'a>>(self) -> Option<F> {
        self.raw().filter(|raw| raw.starts_with('{')).and_then(F::read)
    }
}

/// A value with its fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Object<'a, F> {
    /// The value as it is written, whatever it is; `None` where it is not there, or `null`.
    pub(super) written: Option<&'a str>,
    /// Its fields, if it is an object.
    pub(super) fields: F,
}

/// A place in a JSON text.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: skip::token(text.as_bytes(), 0).1 }
    }

    /// Whether nothing but space is left.
    pub(super) fn end(&mut self) -> Option<()> {
        self.token();
        (self.at == self.text.len()).then_some(())
    }

    /// Hands over each field of the object at this place: its key, with the place before its value, which `field` has
    /// to move over. `None` unless it is an object.
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        if self.byte() != b'{' {
            return None;
        }
        if self.token_behind() == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let decoded;
            let key = if let Some(plain) = self.plain_string() {
                plain.as_bytes()
            } else {
                decoded = self.escaped_string()?;
                decoded.as_bytes()
            };
            if self.token() != b':' {
                return None;
            }
            self.token_behind();
            field(self, key)?;
            match self.token() {
                b',' => self.token_behind(),
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            };
        }
    }

    /// Moves over one value.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.at = skip::value(self.text.as_bytes(), self.at)?;
        Some(())
    }

    /// Moves over one value and gives it.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        if let Some(plain) = self.plain_string() {
            return Some(Value::Plain(plain));
        }
        let start = self.at;
        self.skip()?;
        let raw = self.since(start)?;
        Some(if raw == "null" { Value::Absent } else { Value::Raw(raw) })
    }

    /// Moves over one value and keeps it, with its fields if it is an object.
    pub(super) fn value_and<F: Fields<'a>>(&mut self, object: &mut Object<'a, F>) -> Option<()> {
        if object.written.is_some() {
            *object = Object::default();
        }
        let start = self.at;
        if self.byte() == b'{' {
            self.object(|scan, key| object.fields.take(scan, key))?;
        } else {
            self.skip()?;
        }
        object.written = Some(self.since(start)?).filter(|written| *written != "null");
        Some(())
    }

    fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at)
    }

    /// Moves over a string without escapes, if one stands here; its text.
    #[inline]
    fn plain_string(&mut self) -> Option<&'a str> {
        let (bytes, start) = (self.text.as_bytes(), self.at + 1);
        if self.byte() != b'"' {
            return None;
        }
        let end = skip::plain(bytes, start);
        if skip::byte(bytes, end) != b'"' {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    #[cold]
    fn escaped_string(&mut self) -> Option<String> {
        let start = self.at;
        if self.byte() != b'"' {
            return None;
        }
        self.at = skip::string(self.text.as_bytes(), start + 1)?;
        serde_json::from_str(self.since(start)?).ok()
    }

    fn byte(&self) -> u8 {
        skip::byte(self.text.as_bytes(), self.at)
    }

    /// Over white space, to the byte that is then at this place.
    fn token(&mut self) -> u8 {
        let (byte, at) = skip::token(self.text.as_bytes(), self.at);
        self.at = at;
        byte
    }

    /// Over one byte and the white space behind it.
    fn token_behind(&mut self) -> u8 {
        self.at += 1;
        self.token()
    }
}

#[cfg(test)]
mod tests;
