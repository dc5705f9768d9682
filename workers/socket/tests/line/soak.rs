//! Faults in random order, at random moments: acked means stored, and the line comes back.

use std::collections::HashSet;
use std::time::Duration;

use taut_core::DedupKey;
use taut_sim::{Act, Sample, Switches};

use crate::log::Mood;
use crate::rig::{Rig, SOON, Setup};

/// Equal seeds give equal runs of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn fault(rig: &Rig, number: u64) {
    match number {
        0 => rig.app.refresh(),
        1 => rig.app.warn_then_close(),
        2 => rig.app.reset_tcp(),
        3 => rig.app.drop_tcp(),
        4 => rig.app.act(&Act::Close { code: 1001 }),
        5 => rig.app.send_raw("null"),
        6 => rig.app.send_binary(10),
        7 => rig.log.set_mood(Mood::Unavailable),
        8 => rig.log.set_mood(Mood::Full),
        _ => rig.log.set_mood(Mood::Well),
    }
}

async fn play(seed: u64) {
    let close = Duration::from_millis(80);
    let switches = Switches {
        close_after_warning: close,
        close_after_disconnect: close,
        ack_deadline: Duration::from_millis(400),
        retry_waits: [Duration::from_millis(100); 3],
        ..Switches::default()
    };
    let rig = Rig::connected_with(Setup { switches, ..Setup::default() }).await;
    let mut dice = Dice(seed);
    let samples = [Sample::Message, Sample::Message, Sample::Message, Sample::BlockActions];
    for _ in 0..60 {
        for _ in 0..dice.roll(20) {
            let _pushed = rig.app.push(samples[usize::try_from(dice.roll(4)).expect("below 4")]);
        }
        if dice.roll(3) == 0 {
            fault(&rig, dice.roll(12));
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
    }
    rig.log.set_mood(Mood::Well);
    assert!(rig.app.wait_settled(SOON).await, "seed {seed}: Slack still waits");
    rig.wait("connected").await;
    rig.acked(Sample::Message).await;

    let stored: HashSet<_> = rig.log.entries().iter().filter_map(|entry| entry.dedup).collect();
    for envelope in rig.sim.journal().envelopes(None) {
        let is_event = matches!(envelope.envelope_type, taut_sim::EnvelopeType::EventsApi);
        if is_event && matches!(envelope.end, taut_sim::End::Acked(_)) {
            let stored = stored.contains(&DedupKey::of(&envelope.dedup_id));
            assert!(stored, "seed {seed}: acked and not stored: {envelope:?}");
        }
    }
    assert_eq!(rig.app.totals().acks_unknown, 0, "seed {seed}");
}

#[tokio::test]
async fn acked_means_stored_whatever_happens() {
    futures::future::join_all((1..=6).map(play)).await;
}
