//! The fields of a JSON object as slices of its text: nothing is built, nothing is decoded that nobody asks for.
//!
//! Every envelope passes here, so this is the intake's largest cost. What counts as JSON is what `serde_json` takes
//! (RFC 8259, any depth); the tests compare the two.

use std::borrow::Cow;

/// Declares a struct with one raw value for each named field, and how to read it from an object's text. In brackets
/// stands a field whose own fields are read in the same pass, if its value is an object.
macro_rules! raw_fields {
    (struct $name:ident {
        $($field:ident = $key:literal,)*
        $([$outer:ident = $outer_key:literal, $inner:ident: $Inner:ident])?
    }) => {
        #[derive(Debug, Default)]
        struct $name<'a> {
            $($field: Option<&'a str>,)*
            $($outer: Option<&'a str>, $inner: $Inner<'a>,)?
        }

        impl<'a> $crate::envelope::fields::Fields<'a> for $name<'a> {
            fn scan(scan: &mut $crate::envelope::fields::Scan<'a>) -> Option<(Self, bool)> {
                let mut raw = Self::default();
                let mut once = true;
                scan.object(|scan, key| {
                    match key {
                        $($key => once &= raw.$field.replace(scan.raw()?).is_none(),)*
                        $($outer_key => {
                            let (value, inner) = scan.raw_and::<$Inner<'a>>()?;
                            once &= raw.$outer.replace(value).is_none();
                            raw.$inner = inner;
                        })?
                        _ => scan.value()?,
                    }
                    Some(())
                })?;
                $(raw.$field = raw.$field.filter(|value| *value != "null");)*
                $(raw.$outer = raw.$outer.filter(|value| *value != "null");)?
                Some((raw, once))
            }
        }
    };
}
pub(super) use raw_fields;

/// Some of an object's fields, as raw values; `null` counts as absent.
pub(super) trait Fields<'a>: Default {
    /// Moves over the object at this place: its fields, and whether it has each of them
    /// at most once. `None` if there is none.
    fn scan(scan: &mut Scan<'a>) -> Option<(Self, bool)>;

    /// The fields of a text; `None` unless it is one JSON object that has each of them at most once.
    fn read(text: &'a str) -> Option<Self> {
        let mut scan = Scan::new(text);
        let (fields, once) = Self::scan(&mut scan)?;
        scan.end()?;
        once.then_some(fields)
    }
}

/// A place in a JSON text.
pub(super) struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The closing bytes of the arrays and objects around this place; at most as many as the text has bytes.
    open: Vec<u8>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut scan = Self { text, bytes: text.as_bytes(), at: 0, open: Vec::new() };
        scan.space();
        scan
    }

    /// Whether nothing but space is left.
    pub(super) fn end(&mut self) -> Option<()> {
        self.space();
        (self.at == self.bytes.len()).then_some(())
    }

    /// Hands over each field of the object at this place: its key, with the place before its value, which `field` has to
    /// move over. `None` unless it is an object.
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.key()?;
            self.space();
            field(self, &key)?;
            self.space();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
            self.space();
        }
    }

    /// Moves over one value; its text.
    pub(super) fn raw(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.value()?;
        self.text.get(start..self.at)
    }

    /// Moves over one value; its text, and its fields if it is an object that has each of them at most once.
    pub(super) fn raw_and<F: Fields<'a>>(&mut self) -> Option<(&'a str, F)> {
        let start = self.at;
        let fields = if self.peek() == b'{' {
            let (fields, once) = F::scan(self)?;
            once.then_some(fields)
        } else {
            self.value()?;
            None
        };
        Some((self.text.get(start..self.at)?, fields.unwrap_or_default()))
    }

    /// The byte at this place; NUL, which no JSON has outside of strings, at the end.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.at;
        self.string()?;
        let key = self.text.get(quoted + 1..self.at - 1)?;
        let key = if key.contains('\\') {
            Cow::Owned(serde_json::from_str(self.text.get(quoted..self.at)?).ok()?)
        } else {
            Cow::Borrowed(key)
        };
        self.space();
        self.take(b':')?;
        Some(key)
    }

    /// One value. A loop, not a recursion: depth costs memory of the heap, a byte a level.
    pub(super) fn value(&mut self) -> Option<()> {
        loop {
            self.space();
            match self.peek() {
                b'"' => self.string()?,
                b'{' => {
                    self.at += 1;
                    self.space();
                    if self.take(b'}').is_none() {
                        self.open.push(b'}');
                        self.skip_key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    self.space();
                    if self.take(b']').is_none() {
                        self.open.push(b']');
                        continue;
                    }
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            if self.close()? {
                return Some(());
            }
        }
    }

    /// Behind a value: closes what ends here. Whether that was all; otherwise the next value follows.
    fn close(&mut self) -> Option<bool> {
        while let Some(&closing) = self.open.last() {
            self.space();
            if self.take(b',').is_some() {
                if closing == b'}' {
                    self.space();
                    self.skip_key()?;
                }
                return Some(false);
            }
            self.take(closing)?;
            self.open.pop();
        }
        Some(true)
    }

    fn skip_key(&mut self) -> Option<()> {
        self.string()?;
        self.space();
        self.take(b':')
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let _sign = self.take(b'-');
        match self.peek() {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.plain();
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// Moves to the next quote, backslash or control character, or to the end; eight bytes at a time.
    fn plain(&mut self) {
        const ONES: u64 = u64::MAX / 0xff;
        const HIGH: u64 = ONES << 7;
        while let Some(&eight) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(eight);
            // The high bit of each byte below the limit. Borrowing spoils only bytes behind the first such one.
            let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
            let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
            let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
            let found = quotes | backslashes | below(word, b' ');
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.bytes.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..b' ')) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then(|| self.at += 6)?;
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
