use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Moment = Moment::from_nanos(1_000);

fn later(secs: u64) -> Moment {
    NOW + Duration::from_secs(secs)
}

#[test]
fn a_lane_waits_for_its_head_and_others_go_on() {
    let mut lanes = Lanes::new(8);
    for (seq, key) in [(1, Some(7)), (2, Some(7)), (3, Some(8)), (4, None), (5, None)] {
        assert!(lanes.offer(NOW, Seq(seq), key, ()));
    }
    let mut started = Vec::new();
    while let Some(seq) = lanes.next(NOW) {
        lanes.start(seq);
        started.push(seq.0);
    }
    assert_eq!(started, [1, 3, 4, 5]);
    lanes.put_back(Seq(1), later(5));
    assert_eq!((lanes.next(NOW), lanes.next_due()), (None, Some(later(5))));
    lanes.start(Seq(1));
    assert!(lanes.finish(Seq(1), later(5)).is_some());
    assert_eq!(lanes.next(later(5)), Some(Seq(2)));
}

#[test]
fn offering_twice_changes_nothing() {
    let mut lanes = Lanes::new(1);
    assert!(lanes.offer(NOW, Seq(1), Some(1), ()));
    assert!(!lanes.offer(NOW, Seq(1), Some(1), ()));
    assert_eq!(lanes.len(), 1);
}

#[test]
fn concurrency_is_a_limit() {
    let mut lanes = Lanes::new(2);
    for seq in 1..=3 {
        lanes.offer(NOW, Seq(seq), None, ());
    }
    lanes.start(Seq(1));
    lanes.start(Seq(2));
    assert_eq!((lanes.next(NOW), lanes.next_due()), (None, None));
    lanes.finish(Seq(1), NOW);
    assert_eq!(lanes.next(NOW), Some(Seq(3)));
}

#[test]
fn hastened_heads_are_due_at_once() {
    let mut lanes = Lanes::new(2);
    lanes.offer(NOW, Seq(1), None, true);
    lanes.offer(NOW, Seq(2), None, false);
    lanes.start(Seq(1));
    lanes.start(Seq(2));
    lanes.put_back(Seq(1), later(60));
    lanes.put_back(Seq(2), later(90));
    lanes.hasten(NOW, |chosen| *chosen);
    assert_eq!(lanes.next(NOW), Some(Seq(1)));
    lanes.start(Seq(1));
    assert_eq!((lanes.next(NOW), lanes.next_due()), (None, Some(later(90))));
}

/// What a run does at each step: offer with this key, or end some attempt under way, well or badly.
#[derive(Debug, Clone)]
enum Act {
    Offer(Option<u64>),
    Finish(usize),
    Retry(usize, u64),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        prop::option::of(0_u64..4).prop_map(Act::Offer),
        any::<usize>().prop_map(Act::Finish),
        (any::<usize>(), 0_u64..20).prop_map(|(which, secs)| Act::Retry(which, secs)),
        (0_u64..5).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn order_holds_nothing_is_forgotten_and_concurrency_is_kept(
        acts in prop::collection::vec(act(), 1..200), concurrency in 1_usize..5,
    ) {
        let mut lanes = Lanes::new(concurrency);
        let mut now = NOW;
        let mut open: BTreeMap<Seq, Option<u64>> = BTreeMap::new();
        let mut under_way: Vec<Seq> = Vec::new();
        let mut next_seq = 1;
        // After the scripted part everything succeeds, so everything must come to an end.
        let ending = std::iter::repeat_n([Act::Pass(30), Act::Finish(0)], 2 * acts.len() + 2).flatten();
        for act in acts.iter().cloned().chain(ending) {
            match act {
                Act::Offer(key) => {
                    lanes.offer(now, Seq(next_seq), key, ());
                    open.insert(Seq(next_seq), key);
                    next_seq += 1;
                }
                Act::Finish(which) if !under_way.is_empty() => {
                    let seq = under_way.swap_remove(which % under_way.len());
                    prop_assert!(lanes.finish(seq, now).is_some());
                    prop_assert!(open.remove(&seq).is_some());
                }
                Act::Retry(which, secs) if !under_way.is_empty() => {
                    let seq = under_way.swap_remove(which % under_way.len());
                    lanes.put_back(seq, now + Duration::from_secs(secs));
                }
                Act::Finish(_) | Act::Retry(..) => {}
                Act::Pass(secs) => now = now + Duration::from_secs(secs),
            }
            while let Some(seq) = lanes.next(now) {
                let key = open[&seq];
                let is_first = open.iter().find(|(_, other)| key.is_some() && **other == key).is_none_or(|(first, _)| *first == seq);
                prop_assert!(is_first, "{seq} overtook one of its lane");
                prop_assert!(lanes.start(seq).is_some());
                under_way.push(seq);
            }
            prop_assert!(under_way.len() <= concurrency);
            prop_assert_eq!(lanes.in_flight(), under_way.len());
            prop_assert_eq!(lanes.len(), open.len());
        }
        prop_assert!(open.is_empty() && lanes.is_empty());
    }
}
