//! The header of a segment.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `TAUTLOG\0` |
//! | 8..12 | format version, 1 |
//! | 12..16 | number of the segment |
//! | 16..32 | store id |
//! | 32..40 | epoch of the process that started the segment |
//! | 40..48 | the next seq at that time |
//! | 48..56 | the predecessor's place of end: nothing beyond it was ever promised; 0 without one |
//! | 56..60 | number of the oldest segment still in use at that time |
//! | 60..64 | CRC-32 of bytes 0..60 |
//!
//! All integers are little-endian.

use crate::place::Place;

/// Size of the header; the first record follows at once.
pub(crate) const HEADER_BYTES: usize = 64;
/// The format this code reads and writes.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"TAUTLOG\0";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub number: u32,
    pub store: u128,
    pub epoch: u64,
    pub next_seq: u64,
    /// Where the predecessor ends; what lies beyond belongs to a group that failed.
    pub previous_end: Option<Place>,
    /// Older segments than this have been given up, whatever the directory says.
    pub oldest: u32,
}

/// What the first bytes of a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    Whole(Header),
    /// Written by a later format.
    Version(u32),
    /// No header, or a damaged one.
    None,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.next_seq.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.map_or(0, Place::to_u64).to_le_bytes());
        bytes[56..60].copy_from_slice(&self.oldest.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> HeaderFound {
        if bytes[0..8] != MAGIC || crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return HeaderFound::None;
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return HeaderFound::Version(version);
        }
        let previous_end = u64_at(bytes, 48);
        HeaderFound::Whole(Self {
            number: u32_at(bytes, 12),
            store: u128_at(bytes, 16),
            epoch: u64_at(bytes, 32),
            next_seq: u64_at(bytes, 40),
            previous_end: (previous_end != 0).then(|| Place::from_u64(previous_end)),
            oldest: u32_at(bytes, 56),
        })
    }
}

/// What checksums in this segment start from: bytes of another store, or of an earlier life of a recycled file,
/// never pass for records, and neither does a frame made to look like one.
pub(crate) fn seed(store: u128, segment: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store.to_le_bytes());
    hasher.update(&segment.to_le_bytes());
    hasher.finalize()
}

macro_rules! integer_at {
    ($name:ident, $type:ty) => {
        /// The little-endian integer at `offset`; panics beyond the end, so callers check lengths first.
        pub(crate) fn $name(bytes: &[u8], offset: usize) -> $type {
            let field = &bytes[offset..offset + size_of::<$type>()];
            <$type>::from_le_bytes(field.try_into().expect("the slice has the integer's length"))
        }
    };
}
integer_at!(u32_at, u32);
integer_at!(u64_at, u64);
integer_at!(u128_at, u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes_and_no_flipped_bit_passes() {
        let header = Header {
            number: 7,
            store: 0x1234_5678_9abc,
            epoch: 3,
            next_seq: 99,
            previous_end: Some(Place::new(6, 4096)),
            oldest: 2,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), HeaderFound::Whole(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), HeaderFound::None, "bit {bit}");
        }
    }
}
