//! Whatever order the world chooses: bounds hold, opens are paced, and the line comes back.

use proptest::prelude::*;

use super::*;

/// From now on every attempt succeeds; an operator has lifted whatever was parked.
pub(super) fn heal(rig: &mut Rig) {
    rig.input(Input::TokenChanged);
    rig.input(Input::Desired(Desired::Connected));
    for _ in 0..50 {
        rig.pass(secs(40));
        if let Some(attempt) = &rig.line.attempt {
            let generation = attempt.generation;
            rig.input(Input::Socket(generation, Event::Upgraded));
            let hello = hello_of("A0ACME", 1);
            rig.input(Input::Socket(generation, Event::Hello(hello)));
        }
        if let Some(current) = &rig.line.current {
            let generation = current.generation;
            rig.input(Input::Socket(generation, Event::EnvelopeSeen));
        }
    }
}

/// An input for a socket near the newest ones, or any other input; then some time.
fn happening() -> impl Strategy<Value = (usize, u32, u64)> {
    (0..table::inputs().len(), 0..4_u32, prop_oneof![Just(0_u64), 1..2_000_u64, 1_000..120_000_u64])
}

fn play(rig: &mut Rig, inputs: &[Input], (index, back, pause): (usize, u32, u64), nudges: bool) {
    let input = match &inputs[index] {
        Input::Socket(_, event) => {
            Input::Socket(Generation(rig.line.last.0.saturating_sub(back)), event.clone())
        }
        Input::Desired(_) | Input::TokenChanged if !nudges => Input::Tick,
        other @ (Input::Desired(_) | Input::TokenChanged | Input::AppTaken | Input::Tick) => other.clone(),
    };
    let out = rig.input(input);
    table::check(&rig.line, rig.now, &out);
    let out = rig.pass(Duration::from_millis(pause));
    assert!(rig.line.leaving.len() <= LEAVING_MAX, "{out:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_and_the_line_comes_back(happenings in proptest::collection::vec(happening(), 1..120)) {
        let inputs = table::inputs();
        let mut rig = Rig::live();
        for happening in happenings {
            play(&mut rig, &inputs, happening, true);
        }
        heal(&mut rig);
        prop_assert!(rig.state().starts_with("connected"), "{}", rig.state());
    }

    /// Whatever Slack does, the pace of opens is ours: three at once, then one each half second at most.
    #[test]
    fn opens_are_paced_whatever_slack_does(happenings in proptest::collection::vec(happening(), 1..200)) {
        let inputs = table::inputs();
        let mut rig = Rig::live();
        let start = rig.now;
        let mut stable = 0;
        for happening in happenings {
            play(&mut rig, &inputs, happening, false);
            stable = rig.resets();
        }
        let halves = u32::try_from(rig.now.since(start).as_millis() / 500).expect("a short test");
        prop_assert!(rig.total_opens <= 1 + 3 * (stable + 1) + halves, "{} opens", rig.total_opens);
    }
}
