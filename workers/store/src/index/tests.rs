//! The index alone.

use std::io;

use taut_core::Kind;
use taut_core::log::Outcome;
use taut_core::order::OrderKeys;

use super::*;
use crate::testing::tenant;

struct NoFile;

impl SegmentFile for NoFile {
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
}

fn slot(seq: u64, place: Place) -> Slot {
    Slot {
        seq: Seq(seq),
        received_at: WallMs(1),
        order: OrderKeys::default(),
        routes: RouteBits::one(0),
        held: RouteBits::NONE,
        under_way: RouteBits::NONE,
        place,
        bytes: 10,
        kind: Kind::EventsApi,
        request: false,
        damaged: false,
        leaving: false,
    }
}

fn index() -> Index {
    let mut index = Index::new(Duration::from_secs(1), u64::MAX);
    for number in 1..=3 {
        let segment = Segment { file: Arc::new(NoFile), used: 100, live: 0 };
        index.segments.insert(number, segment);
    }
    index
}

fn live(index: &Index) -> Vec<u64> {
    index.segments.values().map(|segment| segment.live).collect()
}

#[test]
fn an_entry_moves_only_from_where_it_is() {
    let mut index = index();
    let (acme, first, second, third) =
        (tenant("acme"), Place::new(1, 64), Place::new(2, 64), Place::new(3, 64));
    index.insert(&acme, slot(7, first));
    index.moved(&acme, Seq(7), first, second, false);
    assert_eq!(live(&index), [0, 1, 0]);

    // A copy that was made from where it no longer is says nothing.
    index.moved(&acme, Seq(7), first, third, true);
    assert_eq!(live(&index), [0, 1, 0]);
    let found = index.tenants[&acme].slot(Seq(7)).unwrap();
    assert_eq!((found.place, found.damaged), (second, false));

    // Neither does one of an entry that was finished meanwhile.
    let commit = Change::Commit { seq: Seq(7), routes: RouteBits::one(0), outcome: Outcome::Delivered };
    assert!(index.apply(&acme, commit));
    index.moved(&acme, Seq(7), second, third, false);
    assert_eq!(live(&index), [0, 0, 0]);
    assert_eq!(index.live_bytes(), 0);
}
