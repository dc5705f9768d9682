use std::time::Duration;

use proptest::prelude::*;

use super::pure::{APPS_MAX, Answer, Pace};
use super::*;
use crate::clock::TokioClock;

const PER_APP: OpenRate = OpenRate { burst: 3, each: Duration::from_secs(20) };
const START: Moment = Moment::from_nanos(1_000_000_000_000);

fn after(millis: u64) -> Moment {
    START + Duration::from_millis(millis)
}

#[test]
fn app_goes_in_a_burst_and_then_at_its_pace() {
    let mut pace = Pace::new(PER_APP, 1_000_000);
    for step in 0..3 {
        assert_eq!(pace.ask(after(step), "A1", None), Answer::Go);
    }
    let Answer::App(at) = pace.ask(after(3), "A1", None) else { panic!("went beyond the burst") };
    assert_eq!(at, after(20_000));
    assert_eq!(pace.ask(at, "A1", None), Answer::Go);
    assert_eq!(pace.ask(at, "A1", None), Answer::App(after(40_000)));
}

#[test]
fn burst_grows_back_while_idle_and_no_further() {
    let mut pace = Pace::new(PER_APP, 1_000_000);
    for step in 0..3 {
        assert_eq!(pace.ask(after(step), "A1", None), Answer::Go);
    }
    for step in 0..3 {
        assert_eq!(pace.ask(after(3_600_000 + step), "A1", None), Answer::Go);
    }
    assert!(matches!(pace.ask(after(3_600_003), "A1", None), Answer::App(_)));
}

#[test]
fn worker_hands_out_places_one_after_another() {
    let mut pace = Pace::new(PER_APP, 100);
    assert_eq!(pace.ask(START, "A0", None), Answer::Go);
    for turn in 1..50 {
        let Answer::Worker(at) = pace.ask(START, &format!("A{turn}"), None) else { panic!("no place") };
        assert_eq!(at, after(turn * 10));
    }
    assert_eq!(pace.ask(after(10), "A1", Some(after(10))), Answer::Go);
    assert_eq!(pace.ask(after(10), "A2", Some(after(20))), Answer::Worker(after(20)));
}

#[test]
fn held_app_waits_and_others_go() {
    let mut pace = Pace::new(PER_APP, 1_000_000);
    assert_eq!(pace.ask(START, "A1", None), Answer::Go);
    pace.hold(START, "A1", after(60_000));
    pace.hold(START, "A1", after(30_000));
    assert_eq!(pace.ask(after(59_999), "A1", None), Answer::App(after(60_000)));
    assert_eq!(pace.ask(after(59_999), "A2", None), Answer::Go);
    assert_eq!(pace.ask(after(60_000), "A1", None), Answer::Go);
}

#[test]
fn app_held_while_it_waits_for_the_worker_stays_held() {
    let mut pace = Pace::new(PER_APP, 1);
    assert_eq!(pace.ask(START, "A1", None), Answer::Go);
    let Answer::Worker(turn) = pace.ask(START, "A2", None) else { panic!("no place") };
    pace.hold(START, "A2", after(5_000));
    assert_eq!(pace.ask(turn, "A2", Some(turn)), Answer::App(after(5_000)));
}

#[test]
fn idle_apps_are_forgotten_and_the_map_is_bounded() {
    let mut pace = Pace::new(PER_APP, u32::MAX);
    for app in 0..APPS_MAX + 10 {
        pace.ask(START, &format!("A{app}"), Some(START));
    }
    assert_eq!(pace.apps(), APPS_MAX);
    assert_eq!(pace.ask(START, "late", Some(START)), Answer::App(START + PER_APP.each));
    pace.hold(START, "late", after(90_000));
    assert_eq!(pace.apps(), APPS_MAX);
    assert_eq!(pace.ask(after(20_000), "late", Some(START)), Answer::Go);
    assert_eq!(pace.apps(), 1);
}

proptest! {
    /// Whatever the order of asking, no app goes beyond its burst and pace.
    #[test]
    fn no_window_holds_more_than_the_pace_allows(
        asks in proptest::collection::vec((0u64..3_000, 0usize..4), 1..200),
        burst in 1u32..4,
    ) {
        let rate = OpenRate { burst, each: Duration::from_secs(2) };
        let mut pace = Pace::new(rate, 2);
        let (mut now, mut places, mut passed) = (START, [None; 4], Vec::new());
        for (later, app) in asks {
            now = now + Duration::from_millis(later);
            match pace.ask(now, &format!("A{app}"), places[app]) {
                Answer::Go => {
                    places[app] = None;
                    passed.push((now, app));
                }
                Answer::Worker(turn) => places[app] = Some(turn),
                Answer::App(free) => {
                    prop_assert!(free > now);
                    places[app] = None;
                }
            }
        }
        for (first, (from, app)) in passed.iter().enumerate() {
            let mut own = 0;
            for (until, other) in &passed[first..] {
                own += u32::from(app == other);
                let allowed = until.since(*from).as_millis() / rate.each.as_millis();
                prop_assert!(app != other || u128::from(own) <= u128::from(burst) + allowed);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn thousand_apps_pass_at_the_workers_pace() {
    let clock = Arc::new(TokioClock::new());
    let gate = Arc::new(StartGate::new(PER_APP, 100, clock.clone()));
    let started = clock.now();
    let waiting: Vec<_> = (0..1000)
        .map(|app| {
            let (gate, clock) = (gate.clone(), clock.clone());
            tokio::spawn(async move {
                gate.pass(&format!("A{app}")).await;
                clock.now()
            })
        })
        .collect();
    let mut passed = Vec::new();
    for task in waiting {
        passed.push(task.await.expect("passed").since(started));
    }
    passed.sort_unstable();
    assert_eq!(passed[0], Duration::ZERO);
    let last = passed[999];
    assert!((Duration::from_millis(9_990)..Duration::from_millis(10_100)).contains(&last), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn hold_lets_exactly_that_app_wait() {
    let clock = Arc::new(TokioClock::new());
    let gate = StartGate::new(PER_APP, 1_000, clock.clone());
    let started = clock.now();
    gate.hold("A1", started + Duration::from_secs(30));
    gate.pass("A2").await;
    assert!(clock.now().since(started) < Duration::from_secs(1));
    gate.pass("A1").await;
    assert!(clock.now().since(started) >= Duration::from_secs(30));
}
