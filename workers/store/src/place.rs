//! Where things are in the log.

/// A place in the log: a byte of a segment. Ordered as the log was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Place {
    /// The segment's number, from 1.
    pub segment: u32,
    /// Bytes from the segment's start; segments are smaller than 4 GiB.
    pub offset: u32,
}

impl Place {
    pub(crate) fn new(segment: u32, offset: u64) -> Self {
        Self { segment, offset: u32::try_from(offset).expect("a segment is smaller than 4 GiB") }
    }

    /// As stored: the segment in the upper half.
    pub(crate) const fn to_u64(self) -> u64 {
        (self.segment as u64) << 32 | self.offset as u64
    }

    pub(crate) fn from_u64(stored: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("masked to 32 bits");
        Self { segment: half(stored >> 32), offset: half(stored) }
    }
}

/// `length` rounded up to the alignment of records.
pub(crate) const fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// Records start at multiples of this many bytes, so that a search for the next one can hop.
pub(crate) const ALIGN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_stored_form_and_orders_as_written() {
        let (early, late) = (Place::new(1, 4_000_000_000), Place::new(2, 64));
        assert!(early < late && early.to_u64() < late.to_u64());
        assert_eq!(Place::from_u64(early.to_u64()), early);
    }
}
