//! Moves over JSON: nothing is built, nothing is decoded.
//!
//! Every byte of every envelope passes here, so this is the intake's largest cost of its own. What counts as JSON is
//! what `serde_json` takes (RFC 8259, any depth); the tests compare the two. Each function takes the text and a place
//! in it and gives the place behind what it moved over; `None` if that is not what stands there.

use wide::u8x16;

/// The byte at a place; NUL, which no JSON has outside of strings, at the end.
#[inline]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The first byte from a place on that is no white space, and its place.
#[inline]
pub(super) fn token(bytes: &[u8], at: usize) -> (u8, usize) {
    let first = byte(bytes, at);
    if first > b' ' { (first, at) } else { spaced(bytes, at) }
}

/// The exception: Slack puts no white space between tokens.
#[cold]
fn spaced(bytes: &[u8], mut at: usize) -> (u8, usize) {
    while matches!(byte(bytes, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    (byte(bytes, at), at)
}

/// Over one value. A loop, not a recursion: depth costs memory of the heap, a bit a level.
pub(super) fn value(bytes: &[u8], at: usize) -> Option<usize> {
    let mut nest = Nest::default();
    let (mut first, mut at) = token(bytes, at);
    loop {
        match first {
            b'"' => at = string(bytes, at + 1)?,
            b'{' => {
                (first, at) = token(bytes, at + 1);
                if first == b'}' {
                    at += 1;
                } else {
                    nest.open(true);
                    (first, at) = key(bytes, (first, at))?;
                    continue;
                }
            }
            b'[' => {
                (first, at) = token(bytes, at + 1);
                if first == b']' {
                    at += 1;
                } else {
                    nest.open(false);
                    continue;
                }
            }
            b't' => at = word(bytes, at, b"true")?,
            b'f' => at = word(bytes, at, b"false")?,
            b'n' => at = word(bytes, at, b"null")?,
            _ => at = number(bytes, at)?,
        }
        // Behind a value: closes what ends here, up to the next value.
        loop {
            let Some(in_object) = nest.innermost() else { return Some(at) };
            (first, at) = token(bytes, at);
            match (first, in_object) {
                (b',', true) => (first, at) = key(bytes, token(bytes, at + 1))?,
                (b',', false) => (first, at) = token(bytes, at + 1),
                (b'}', true) | (b']', false) => {
                    at += 1;
                    nest.close();
                    continue;
                }
                _ => return None,
            }
            break;
        }
    }
}

/// Over a key and its colon; what follows, and its place.
#[inline]
fn key(bytes: &[u8], (quote, at): (u8, usize)) -> Option<(u8, usize)> {
    if quote != b'"' {
        return None;
    }
    let (colon, at) = token(bytes, string(bytes, at + 1)?);
    (colon == b':').then(|| token(bytes, at + 1))
}

/// Over the rest of a string, from behind its first quote.
#[inline]
pub(super) fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let at = plain(bytes, at);
    if byte(bytes, at) == b'"' { Some(at + 1) } else { string_with_escapes(bytes, at) }
}

#[inline(never)]
fn string_with_escapes(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match byte(bytes, at) {
            b'"' => return Some(at + 1),
            b'\\' => at = plain(bytes, escape(bytes, at)?),
            _ => return None,
        }
    }
}

/// Over what a string holds up to the next quote, backslash or control character, or the end.
#[inline]
pub(super) fn plain(bytes: &[u8], at: usize) -> usize {
    // Most strings are short: one look at one chunk.
    match bytes.get(at..).and_then(<[u8]>::first_chunk).map(|chunk| first_mark(*chunk)) {
        Some(CHUNK_BYTES) => long_plain(bytes, at + CHUNK_BYTES),
        Some(place) => at + place,
        None => long_plain(bytes, at),
    }
}

#[inline(never)]
fn long_plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let place = first_mark(*chunk);
        at += place;
        if place < CHUNK_BYTES {
            return at;
        }
    }
    while bytes.get(at).is_some_and(|&byte| !is_mark(byte)) {
        at += 1;
    }
    at
}

/// Bytes of a string looked at together.
const CHUNK_BYTES: usize = 16;

/// Where in the chunk the first quote, backslash or control character stands; the chunk's size if it has none.
#[inline]
fn first_mark(chunk: [u8; CHUNK_BYTES]) -> usize {
    let chunk = u8x16::new(chunk);
    let marks = chunk.simd_eq(u8x16::splat(b'"'))
        | chunk.simd_eq(u8x16::splat(b'\\'))
        | chunk.min(u8x16::splat(b' ' - 1)).simd_eq(chunk);
    // One bit for each byte; the one behind them stands for none.
    (marks.to_bitmask() | 1 << CHUNK_BYTES).trailing_zeros() as usize
}

const fn is_mark(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..b' ')
}

fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => {
            let digits = bytes.get(at + 2..at + 6)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)
        }
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if byte(bytes, at) == b'-' {
        at += 1;
    }
    at = if byte(bytes, at) == b'0' { at + 1 } else { digits(bytes, at)? };
    if byte(bytes, at) == b'.' {
        at = digits(bytes, at + 1)?;
    }
    if matches!(byte(bytes, at), b'e' | b'E') {
        at += 1;
        if matches!(byte(bytes, at), b'+' | b'-') {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Some(at)
}

fn digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    (at > start).then_some(at)
}

/// The arrays and objects around a place: a bit for each, the innermost lowest.
#[derive(Default)]
struct Nest {
    /// The innermost ones: at least one and at most 64, unless `depth` is 0.
    bits: u64,
    depth: usize,
    /// The others, 64 in each.
    outer: Vec<u64>,
}

impl Nest {
    fn open(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    /// Whether it is an object; `None` outside of all.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brackets_must_match_at_any_depth() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 1000] {
            let open: Vec<_> = (0..depth).map(|level| if level % 3 == 0 { "{\"k\":" } else { "[" }).collect();
            let close: Vec<_> =
                (0..depth).rev().map(|level| if level % 3 == 0 { "}" } else { "]" }).collect();
            let text = format!("{}1{}", open.concat(), close.concat());
            assert_eq!(value(text.as_bytes(), 0), Some(text.len()), "{depth}");
            for wrong in 0..depth {
                let mut close = close.clone();
                close[wrong] = if close[wrong] == "}" { "]" } else { "}" };
                let text = format!("{}1{}", open.concat(), close.concat());
                assert_eq!(value(text.as_bytes(), 0), None, "{depth}, {wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_mark_is_found_in_whatever_bytes(
            chunk in proptest::array::uniform16(prop_oneof![any::<u8>(), b'a'..b'c', Just(b'"'), Just(b'\\')]),
        ) {
            let slow = chunk.iter().position(|&byte| is_mark(byte)).unwrap_or(CHUNK_BYTES);
            prop_assert_eq!(first_mark(chunk), slow);
        }
    }
}
