use std::collections::BTreeMap;

use proptest::prelude::*;
use taut_core::order::OrderKeys;
use taut_core::{Kind, RouteBits};

use super::*;

const NOW: Moment = Moment::from_nanos(1_000_000_000);
const WALL: WallMs = WallMs(1_700_000_000_000);
const HOUR: Duration = Duration::from_hours(1);
const FAILING: Verdict = Verdict::Transient { retry_after: None };

fn rules() -> Rules {
    let retry = Retry { first: Duration::from_secs(1), max: Duration::from_mins(5) };
    Rules { order: Order::Channel, concurrency: 4, attempts_max: 3, age_max: HOUR, retry }
}

fn entry(seq: u64, channel: u64) -> Entry {
    let order = OrderKeys { channel, thread: channel };
    let routes = RouteBits::one(0);
    Entry { seq: Seq(seq), kind: Kind::EventsApi, order, routes, bytes: 100, received_at: WALL }
}

struct Bench {
    plan: Plan,
    health: Health,
    now: Moment,
    wall: WallMs,
}

impl Bench {
    fn new() -> Self {
        let health = Health::new(5, 20, rules().retry);
        Self { plan: Plan::new(rules()), health, now: NOW, wall: WALL }
    }

    fn offer(&mut self, seq: u64, channel: u64) {
        self.plan.offer(self.now, &entry(seq, channel), &self.health);
    }

    fn next(&mut self) -> Step {
        self.plan.next(&mut self.health, self.now, self.wall)
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.wall = WallMs(self.wall.0 + u64::try_from(span.as_millis()).unwrap());
    }

    fn end(&mut self, seq: u64, verdict: Verdict) -> After {
        self.end_with(seq, verdict, false)
    }

    fn end_with(&mut self, seq: u64, verdict: Verdict, probe: bool) -> After {
        let ended = Ended { seq: Seq(seq), probe, verdict, words: verdict.name().into() };
        self.plan.ended(&mut self.health, self.now, self.wall, &ended, u32::MAX).0
    }

    /// Waits for the next step that starts something.
    fn started(&mut self) -> (u64, u32) {
        loop {
            match self.next() {
                Step::Start { seq, attempt, .. } => return (seq.0, attempt),
                Step::Wait(Some(at)) => self.pass(self.now.until(at)),
                step @ (Step::Wait(None) | Step::Bury { .. }) => panic!("nothing starts: {step:?}"),
            }
        }
    }
}

#[test]
fn a_failing_envelope_holds_its_lane_and_no_other() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.offer(2, 7);
    bench.offer(3, 8);
    assert_eq!(bench.started(), (1, 1));
    assert_eq!(bench.end(1, FAILING), After::Retry);
    assert_eq!(bench.started(), (3, 1));
    assert_eq!(bench.end(3, Verdict::Done), After::Commit(Outcome::Delivered));
    assert_eq!(bench.started(), (1, 2));
    assert_eq!(bench.end(1, Verdict::Unhandled), After::Commit(Outcome::Unhandled));
    assert_eq!(bench.started(), (2, 1));
}

#[test]
fn attempts_count_only_while_others_succeed() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    for _ in 0..10 {
        assert_eq!(bench.started().0, 1);
        assert_eq!(bench.end(1, FAILING), After::Retry);
    }
    for (other, after) in [(2, After::Retry), (3, After::Retry), (4, After::Bury(DeadReason::AttemptsMax))] {
        bench.offer(other, other);
        assert_eq!(bench.started().0, other);
        bench.end(other, Verdict::Done);
        assert_eq!(bench.started().0, 1);
        assert_eq!(bench.end(1, FAILING), after);
    }
    assert_eq!(bench.plan.notes(Seq(1)).len(), 13);
}

#[test]
fn the_notes_keep_the_last_attempts_only() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    for _ in 0..=ATTEMPT_NOTES_MAX {
        bench.started();
        bench.end(1, Verdict::Transient { retry_after: Some(Duration::ZERO) });
    }
    assert_eq!(bench.plan.notes(Seq(1)).len(), ATTEMPT_NOTES_MAX);
}

#[test]
fn target_faults_cost_no_attempt() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    for other in 2..12 {
        bench.offer(other, 100 + other);
        let (first, second) = (bench.started().0, bench.started().0);
        assert_eq!(bench.end(first.max(second), Verdict::Done), After::Commit(Outcome::Delivered));
        assert_eq!(bench.end(first.min(second), Verdict::TargetFault), After::Retry);
    }
}

#[test]
fn age_ends_a_failing_envelope() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.started();
    bench.pass(HOUR);
    assert_eq!(bench.end(1, Verdict::TargetFault), After::Bury(DeadReason::AgeMax));
}

#[test]
fn an_old_envelope_that_was_never_tried_gets_its_attempt() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.pass(HOUR * 2);
    assert_eq!(bench.started(), (1, 1));
}

#[test]
fn old_envelopes_do_not_wait_behind_an_open_breaker() {
    let mut bench = Bench::new();
    for seq in 1..=6 {
        bench.offer(seq, seq);
    }
    for _ in 1..=5 {
        let (seq, _) = bench.started();
        bench.end(seq, Verdict::TargetFault);
    }
    bench.pass(HOUR);
    assert!(matches!(bench.next(), Step::Bury { reason: DeadReason::AgeMax, .. }));
}

#[test]
fn only_probes_pass_an_open_breaker_and_success_hastens_what_waited() {
    let mut bench = Bench::new();
    for seq in 1..=5 {
        bench.offer(seq, seq);
        let (seq, _) = bench.started();
        bench.end(seq, Verdict::TargetFault);
    }
    bench.offer(6, 6);
    assert!(matches!(bench.next(), Step::Wait(Some(_))));
    bench.pass(Duration::from_secs(1));
    let Step::Start { seq, probe: true, .. } = bench.next() else { panic!("a probe") };
    assert!(matches!(bench.next(), Step::Wait(Some(_))));
    bench.end_with(seq.0, Verdict::Done, true);
    for _ in 0..4 {
        assert!(matches!(bench.next(), Step::Start { probe: false, .. }));
    }
}

#[test]
fn a_lone_envelope_probes_as_often_as_the_breaker_lets_it() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    for _ in 0..20 {
        bench.started();
        bench.end_with(1, Verdict::TargetFault, true);
    }
    let before = bench.now;
    bench.started();
    assert!(bench.now.since(before) <= PROBE_PAUSE_MAX);
}

#[test]
fn what_waited_for_its_target_goes_as_soon_as_anybody_finds_it_back() {
    let by_a_request = |health: &mut Health, now| {
        assert_eq!(health.note(now, Verdict::Done, true, 0), Some(Turn::Closed));
    };
    let by_a_person = |health: &mut Health, _| health.reset();
    for found_back in [&by_a_request as &dyn Fn(&mut Health, Moment), &by_a_person] {
        let mut bench = Bench::new();
        bench.offer(1, 7);
        for _ in 0..8 {
            bench.started();
            bench.end_with(1, Verdict::TargetFault, true);
        }
        assert!(matches!(bench.next(), Step::Wait(Some(_))));
        found_back(&mut bench.health, bench.now);
        assert!(matches!(bench.next(), Step::Start { probe: false, .. }));
    }
}

#[test]
fn poison_is_buried_at_once_and_its_lane_goes_on() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.offer(2, 7);
    bench.started();
    assert_eq!(bench.end(1, Verdict::Poison), After::Bury(DeadReason::Poison));
    assert_eq!(bench.next(), Step::Wait(None));
    bench.plan.buried(Seq(1), bench.now);
    assert_eq!(bench.started(), (2, 1));
}

#[test]
fn an_envelope_that_cannot_be_buried_keeps_its_place() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.offer(2, 7);
    bench.started();
    bench.end(1, Verdict::Poison);
    bench.plan.bury_later(Seq(1), DeadReason::Poison, bench.now + Duration::from_secs(5));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.next(), Step::Bury { seq: Seq(1), reason: DeadReason::Poison });
    assert_eq!(bench.next(), Step::Wait(None));
}

#[test]
fn retry_after_is_waited_out() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.started();
    bench.end(1, Verdict::Transient { retry_after: Some(Duration::from_mins(10)) });
    assert_eq!(bench.next(), Step::Wait(Some(bench.now + Duration::from_mins(10))));
}

#[test]
fn requests_in_the_backlog_wait_for_nobody() {
    let mut bench = Bench::new();
    for seq in 1..=2 {
        let entry = Entry { kind: Kind::SlashCommands, ..entry(seq, 7) };
        bench.plan.offer(bench.now, &entry, &bench.health);
    }
    assert_eq!((bench.started().0, bench.started().0), (1, 2));
}

#[test]
fn twenty_poisoned_in_a_row_hold_the_route() {
    let mut bench = Bench::new();
    for seq in 1..=21 {
        bench.offer(seq, seq);
    }
    for _ in 0..20 {
        let (seq, _) = bench.started();
        bench.end(seq, Verdict::Poison);
        bench.plan.buried(Seq(seq), bench.now);
    }
    assert_eq!(bench.next(), Step::Wait(Some(NOW + HOUR)), "until it is too old");
    bench.health.resume();
    assert_eq!(bench.started(), (21, 1));
}

#[test]
fn a_held_route_gives_up_what_is_too_old_and_a_paused_one_nothing() {
    let mut bench = Bench::new();
    for seq in 1..=22 {
        bench.offer(seq, seq);
    }
    for _ in 0..20 {
        let (seq, _) = bench.started();
        bench.end(seq, Verdict::Poison);
        bench.plan.buried(Seq(seq), bench.now);
    }
    bench.pass(HOUR);
    bench.health.pause();
    assert_eq!(bench.next(), Step::Wait(None), "a person's pause keeps everything");
    bench.health.resume();
    for _ in 0..20 {
        bench.health.note(bench.now, Verdict::Poison, false, 0);
    }
    assert_eq!(bench.next(), Step::Bury { seq: Seq(21), reason: DeadReason::AgeMax });
    bench.plan.buried(Seq(21), bench.now);
    assert_eq!(bench.next(), Step::Bury { seq: Seq(22), reason: DeadReason::AgeMax });
}

#[test]
fn behind_an_open_breaker_age_counts_also_for_what_is_not_due() {
    let mut bench = Bench::new();
    bench.plan.rules.retry = Retry { first: HOUR * 3, max: HOUR * 3 };
    for seq in 1..=5 {
        bench.offer(seq, seq);
        let (seq, _) = bench.started();
        bench.end(seq, FAILING);
    }
    for _ in 0..5 {
        bench.health.note(bench.now, Verdict::TargetFault, false, u32::MAX);
    }
    bench.pass(HOUR);
    for seq in 1..=4 {
        assert_eq!(bench.next(), Step::Bury { seq: Seq(seq), reason: DeadReason::AgeMax });
    }
    // The dead letters are full: it waits for its own time, and no other waits for it.
    bench.plan.bury_later(Seq(1), DeadReason::AgeMax, bench.now + HOUR);
    assert_eq!(bench.next(), Step::Bury { seq: Seq(5), reason: DeadReason::AgeMax });
}

#[test]
fn a_lane_that_stands_leaves_room_for_others_and_loses_nothing() {
    let mut bench = Bench::new();
    let many = LANE_ENVELOPES_MAX as u64 * 20;
    for seq in 1..=many {
        bench.offer(seq, 7);
    }
    assert_eq!(bench.plan.len(), LANE_ENVELOPES_MAX, "one lane does not fill the plan");
    assert_eq!(bench.plan.read_again(), None, "not before it has room");
    bench.offer(many + 1, 8);
    let mut done = Vec::new();
    while let Step::Start { seq, .. } = bench.next() {
        bench.end(seq.0, Verdict::Done);
        done.push(seq.0);
        bench.pass(Duration::from_millis(1));
        if let Some(from) = bench.plan.read_again() {
            for seq in from.0..=many {
                bench.offer(seq, 7);
            }
        }
    }
    let other = done.iter().position(|seq| *seq == many + 1).expect("the other lane goes");
    assert!(other < 3, "side by side with the first");
    done.remove(other);
    assert_eq!(done, (1..=many).collect::<Vec<_>>(), "in order, each once");
    assert!(bench.plan.is_empty());
}

#[test]
fn an_attempt_made_elsewhere_is_counted_on() {
    let mut bench = Bench::new();
    bench.offer(1, 7);
    bench.plan.tried_before(Seq(1));
    assert_eq!(bench.started(), (1, 2));
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Done),
        1 => Just(Verdict::Unhandled),
        1 => Just(Verdict::TargetFault),
        2 => prop::option::of(0_u64..900)
            .prop_map(|secs| Verdict::Transient { retry_after: secs.map(Duration::from_secs) }),
        1 => Just(Verdict::Poison),
    ]
}

proptest! {
    /// Whatever handlers say, every envelope ends exactly once, and none overtakes another of its channel.
    #[test]
    fn every_envelope_ends_exactly_once_and_in_its_order(
        channels in prop::collection::vec(0_u64..5, 1..40),
        verdicts in prop::collection::vec(any_verdict(), 0..200),
    ) {
        let mut bench = Bench::new();
        bench.health = Health::new(5, u32::MAX, rules().retry);
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        for (seq, channel) in (1..).zip(&channels) {
            bench.offer(seq, *channel);
            open.insert(seq, *channel);
        }
        // Once the script is over every handler is well, so everything must end.
        let mut verdicts = verdicts.into_iter().chain(std::iter::repeat(Verdict::Done));
        for _ in 0..2_000 {
            if open.is_empty() {
                break;
            }
            let (seq, after) = match bench.next() {
                Step::Start { seq, probe, .. } => {
                    let first = open.iter().find(|(_, channel)| **channel == open[&seq.0]).map(|(seq, _)| *seq);
                    prop_assert_eq!(first, Some(seq.0));
                    (seq, bench.end_with(seq.0, verdicts.next().unwrap(), probe))
                }
                Step::Bury { seq, reason } => (seq, After::Bury(reason)),
                Step::Wait(until) => {
                    let until = until.expect("somebody waits, so something is due");
                    bench.pass(bench.now.until(until));
                    continue;
                }
            };
            match after {
                After::Commit(_) => prop_assert!(open.remove(&seq.0).is_some()),
                After::Bury(_) => {
                    prop_assert!(open.remove(&seq.0).is_some());
                    bench.plan.buried(seq, bench.now);
                }
                After::Retry => {}
            }
        }
        prop_assert!(open.is_empty() && bench.plan.is_empty());
    }
}
