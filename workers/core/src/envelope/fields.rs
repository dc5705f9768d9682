//! The fields of a JSON object as slices of its text: nothing is built, nothing is decoded that nobody asks for.
//!
//! Every envelope passes here, so this is the intake's largest cost. What counts as JSON is what `serde_json` takes
//! (RFC 8259, any depth); the tests compare the two.

use std::borrow::Cow;

/// Declares a struct with one raw value for each named field, and how to read it from an object's text.
macro_rules! raw_fields {
    ($(#[$about:meta])* struct $name:ident { $($field:ident = $key:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        struct $name<'a> {
            $($field: Option<&'a str>,)*
        }

        impl<'a> $name<'a> {
            /// The raw values of these fields, `null` as absent; `None` unless the text is one JSON object that has
            /// each of them at most once.
            fn read(text: &'a str) -> Option<Self> {
                let mut raw = Self::default();
                let mut once = true;
                $crate::envelope::fields::each(text, |key, value| match key {
                    $($key => once &= raw.$field.replace(value).is_none(),)*
                    _ => {}
                })?;
                $(raw.$field = raw.$field.filter(|value| *value != "null");)*
                once.then_some(raw)
            }
        }
    };
}
pub(super) use raw_fields;

/// Hands over each field of an object: its key, and its value's text. `None` unless `text` is one JSON object; fields
/// in front of what makes it none have been handed over by then.
pub(super) fn each<'a>(text: &'a str, mut field: impl FnMut(&str, &'a str)) -> Option<()> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, open: Vec::new() };
    scan.space();
    scan.take(b'{')?;
    scan.space();
    if scan.take(b'}').is_none() {
        loop {
            let key = scan.key(text)?;
            scan.space();
            let start = scan.at;
            scan.value()?;
            field(&key, text.get(start..scan.at)?);
            scan.space();
            if scan.take(b',').is_none() {
                scan.take(b'}')?;
                break;
            }
            scan.space();
        }
    }
    scan.space();
    (scan.at == text.len()).then_some(())
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The closing bytes of the arrays and objects around this place; at most as many as the text has bytes.
    open: Vec<u8>,
}

impl Scan<'_> {
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
    fn key<'t>(&mut self, text: &'t str) -> Option<Cow<'t, str>> {
        let quoted = self.at;
        self.string()?;
        let key = text.get(quoted + 1..self.at - 1)?;
        let key = if key.contains('\\') {
            Cow::Owned(serde_json::from_str(text.get(quoted..self.at)?).ok()?)
        } else {
            Cow::Borrowed(key)
        };
        self.space();
        self.take(b':')?;
        Some(key)
    }

    /// One value. A loop, not a recursion: depth costs memory of the heap, a byte a level.
    fn value(&mut self) -> Option<()> {
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
