//! Headers of all segments, read before anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RecoveryError;
use crate::segment::{HEADER_BYTES, Header, HeaderFound};
use crate::storage::{SegmentFile, Storage};

/// What the headers say.
pub(crate) struct Survey {
    pub(super) segments: BTreeMap<u32, Surveyed>,
    pub(super) last_number: u32,
    pub(super) oldest: u32,
}

pub(super) struct Surveyed {
    pub(super) file: Arc<dyn SegmentFile>,
    pub(super) size: u64,
    pub(super) header: Option<Header>,
    /// Where the segment ends, if its successor says so.
    pub(super) end: Option<u64>,
}

impl Survey {
    pub(crate) fn new(storage: &dyn Storage) -> Result<Self, RecoveryError> {
        let read = |segment| move |source| RecoveryError::Read { segment, source };
        let numbers = storage.segments().map_err(read(0))?;
        let mut survey =
            Self { segments: BTreeMap::new(), last_number: numbers.last().copied().unwrap_or(0), oldest: 0 };
        for number in numbers {
            let file = storage.open(number).map_err(read(number))?;
            let size = file.size().map_err(read(number))?.min(u64::from(u32::MAX));
            let mut bytes = [0; HEADER_BYTES];
            // A header that cannot be read is a damaged one.
            let header = match file
                .read_at(&mut bytes, 0)
                .map_or(HeaderFound::None, |()| Header::decode(&bytes))
            {
                HeaderFound::Whole(header) => (header.number == number).then_some(header),
                HeaderFound::Version(found) => return Err(RecoveryError::Version { segment: number, found }),
                HeaderFound::None => None,
            };
            if let Some(header) = header {
                survey.oldest = survey.oldest.max(header.oldest);
                let previous =
                    header.previous_end.and_then(|end| Some((survey.segments.get_mut(&end.segment)?, end)));
                if let Some((previous, end)) = previous {
                    previous.end = Some(u64::from(end.offset));
                }
            }
            survey.segments.insert(number, Surveyed { file, size, header, end: None });
        }
        Ok(survey)
    }

    /// The store id in the headers, for a store that lost its database.
    pub(crate) fn store(&self) -> Option<u128> {
        self.segments.values().find_map(|segment| segment.header.map(|header| header.store))
    }

    /// The highest epoch in the headers.
    pub(crate) fn epoch(&self) -> u64 {
        self.headers().map(|header| header.epoch).max().unwrap_or(0)
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = Header> {
        self.segments.values().filter_map(|segment| segment.header)
    }
}
