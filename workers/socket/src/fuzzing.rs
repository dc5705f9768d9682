//! What must hold whatever Slack does to a line. Run by the fuzzer and, over its kept corpora, by the ordinary tests.

use std::time::Duration;

use taut_core::envelope::Hello;
use taut_core::fuzzing::Check;
use taut_core::{Moment, Reason};

use crate::pure::line::{
    CloseWhy, Delays, Desired, Event, Generation, Input, LEAVING_MAX, Line, Output, Refusal, RefusalClass,
    Rules,
};

/// The checks of this crate, by the names of their corpora.
pub const CHECKS: [(&str, Check); 1] = [("line", line)];

/// Longest time that passes between two happenings, in milliseconds.
const PAUSE_MAX: u64 = 200_000;

/// Whatever happens in whatever order: few sockets, paced opens, no busy waiting, and a way back.
fn line(data: &[u8]) {
    let rules = Rules { hello_timeout: Duration::from_secs(15), app_id: None, seed: 7 };
    let mut world = World {
        line: Line::new(rules, Doubling(0)),
        now: Moment::from_nanos(1_000_000_000),
        last: Generation(0),
        opens: 0,
    };
    world.say(Input::Desired(Desired::Connected));
    let start = world.now;
    for step in data.chunks_exact(3).take(400) {
        world.happen(step);
    }
    let halves = u32::try_from(world.now.since(start).as_millis() / 500).unwrap_or(u32::MAX);
    let steps = u32::try_from(data.len() / 3).unwrap_or(u32::MAX);
    assert!(world.opens <= 4 + 4 * steps + halves, "opens are paced");
    world.heal();
}

struct World {
    line: Line<Doubling>,
    now: Moment,
    last: Generation,
    opens: u32,
}

impl World {
    fn say(&mut self, input: Input) {
        let out = self.line.step(self.now, input);
        assert!(out.len() < 64, "one input has few consequences");
        for one in &out {
            if let Output::Open(generation) = one {
                assert!(*generation > self.last, "generations grow");
                self.last = *generation;
                self.opens += 1;
            }
        }
        let most = u32::try_from(LEAVING_MAX).expect("a small number") + 1;
        assert!(self.line.sockets() <= most, "few sockets");
    }

    /// Time passes; the line is woken whenever it asked to be.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..2_000 {
            let Some(at) = self.line.wake_at().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(at);
            self.say(Input::Tick);
        }
        panic!("the line wakes without end");
    }

    fn happen(&mut self, step: &[u8]) {
        let &[what, which, pause] = step else { return };
        let generation = Generation(self.last.0.saturating_sub(u32::from(which % 4)));
        let socket = |event| Input::Socket(generation, event);
        let input = match what % 24 {
            0 => Input::Desired(Desired::Connected),
            1 => Input::Desired(Desired::Paused),
            2 => Input::Desired(Desired::Draining),
            3 => Input::Desired(Desired::Quarantined),
            4 => Input::TokenChanged,
            5 => Input::AppTaken,
            6 => Input::Tick,
            7 => socket(Event::Opened { socket_mode_off: which & 4 != 0 }),
            8 => socket(Event::OpenFailed(refusal(which))),
            9 => socket(Event::DialFailed(Reason::new("tcp_refused", "tcp"))),
            10 => {
                socket(Event::UpgradeRefused { status: 400 + u16::from(which), proxy_like: which & 4 != 0 })
            }
            11 => socket(Event::Upgraded),
            12 => socket(Event::Useless),
            13..=16 => socket(Event::Hello(hello(which))),
            17..=19 => socket(Event::Disconnect(reason(which).into())),
            20 => socket(Event::EnvelopeSeen),
            _ => socket(Event::Closed(why(which))),
        };
        self.say(input);
        self.pass(Duration::from_millis(PAUSE_MAX * u64::from(pause) * u64::from(pause) / (255 * 255)));
    }

    /// A hello of the app that the line is pinned to.
    fn own_hello(&self) -> Hello {
        let app_id = self.line.app_id().map_or("A0ACME", |id| id.as_str());
        Hello { app_id: Some(app_id.to_owned()), ..hello(0) }
    }

    /// From now on everything works, and an operator has lifted whatever was parked: the line comes back.
    fn heal(&mut self) {
        self.say(Input::TokenChanged);
        self.say(Input::Desired(Desired::Connected));
        for _ in 0..60 {
            self.pass(Duration::from_mins(1));
            self.say(Input::Socket(self.last, Event::Upgraded));
            self.say(Input::Socket(self.last, Event::Hello(self.own_hello())));
            if self.line.is_live() {
                return;
            }
        }
        panic!("the line does not come back");
    }
}

fn hello(which: u8) -> Hello {
    Hello {
        app_id: Some(if which & 64 == 0 { "A0ACME" } else { "A0GLOBEX" }.into()),
        num_connections: Some(u32::from(which >> 4 & 3)),
        approximate_connection_time: (which & 8 != 0).then(|| u64::from(which) * 100),
        host: None,
    }
}

fn refusal(which: u8) -> Refusal {
    let class = [RefusalClass::Park, RefusalClass::Wait, RefusalClass::Retry][usize::from(which >> 2) % 3];
    let retry_after = (which & 64 != 0).then(|| Duration::from_secs(u64::from(which)));
    Refusal { class, code: "code".into(), text: "text".into(), retry_after }
}

fn reason(which: u8) -> &'static str {
    ["warning", "refresh_requested", "link_disabled", "too_many_websockets", "unheard_of"]
        [usize::from(which >> 2) % 5]
}

fn why(which: u8) -> CloseWhy {
    [
        CloseWhy::Peer,
        CloseWhy::Transport,
        CloseWhy::Quiet,
        CloseWhy::FrameTooLarge,
        CloseWhy::Retired,
        CloseWhy::Lost,
    ][usize::from(which >> 2) % 6]
}

/// One second, doubling to two minutes.
struct Doubling(u32);

impl Delays for Doubling {
    fn next_delay(&mut self) -> Duration {
        self.0 = self.0.saturating_add(1);
        Duration::from_secs(1 << self.0.min(7)).min(Duration::from_mins(2))
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}
