//! A line with its clock in hand.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use taut_core::envelope::Hello;
use taut_core::{AppId, Moment};

use crate::pure::line::{
    Delays, Desired, Event, Generation, Input, Line, Output, Refusal, RefusalClass, Rules,
};

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub(super) fn hello_of(app_id: &str, num_connections: u32) -> Hello {
    Hello { app_id: Some(app_id.into()), num_connections: Some(num_connections), ..Hello::default() }
}

pub(super) fn refusal(class: RefusalClass, code: &str, retry_after: Option<Duration>) -> Event {
    Event::OpenFailed(Refusal { class, code: code.into(), text: String::new(), retry_after })
}

/// Always one second; counts its resets.
#[derive(Debug, Clone, Default)]
pub(super) struct Steady(pub(super) Rc<Cell<u32>>);

impl Delays for Steady {
    fn next_delay(&mut self) -> Duration {
        secs(1)
    }

    fn reset(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[derive(Clone)]
pub(super) struct Rig {
    pub(super) line: Line<Steady>,
    pub(super) now: Moment,
    pub(super) total_opens: u32,
    state: String,
    resets: Steady,
}

impl Rig {
    /// A line that nobody wants anything of.
    pub(super) fn fresh() -> Self {
        let rules = Rules { hello_timeout: secs(15), app_id: AppId::new("A0ACME").ok(), seed: 7 };
        let resets = Steady::default();
        let line = Line::new(rules, resets.clone());
        let now = Moment::ZERO + secs(1000);
        Self { line, now, total_opens: 0, state: String::new(), resets }
    }

    /// A line whose first socket has just said hello.
    pub(super) fn live() -> Self {
        let mut rig = Self::fresh();
        rig.input(Input::Desired(Desired::Connected));
        rig.event(1, Event::Upgraded);
        rig.hello(1);
        rig
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Output> {
        let out = self.line.step(self.now, input);
        for output in &out {
            match output {
                Output::Open(_) => self.total_opens += 1,
                Output::State(state, reason) => self.state = format!("{}: {}", state.name(), reason.code),
                Output::Retire(_)
                | Output::Abort(_)
                | Output::Claim(_)
                | Output::HoldOpens(_)
                | Output::Current(..)
                | Output::OpenEnded(_)
                | Output::SocketEnded(_)
                | Output::Foreign(_)
                | Output::Alarm(_) => {}
            }
        }
        out
    }

    pub(super) fn event(&mut self, generation: u32, event: Event) -> Vec<Output> {
        self.input(Input::Socket(Generation(generation), event))
    }

    pub(super) fn hello(&mut self, generation: u32) -> Vec<Output> {
        self.event(generation, Event::Hello(hello_of("A0ACME", 1)))
    }

    /// Lets time pass, waking the line whenever it asks to be woken.
    pub(super) fn pass(&mut self, span: Duration) -> Vec<Output> {
        let end = self.now + span;
        let mut out = Vec::new();
        for _ in 0..10_000 {
            match self.line.wake_at() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    out.extend(self.input(Input::Tick));
                }
                Some(_) | None => {
                    self.now = end;
                    out.extend(self.input(Input::Tick));
                    return out;
                }
            }
        }
        panic!("the line asks to be woken without end");
    }

    pub(super) fn last(&self) -> u32 {
        self.total_opens
    }

    pub(super) fn state(&self) -> String {
        self.state.clone()
    }

    pub(super) fn resets(&self) -> u32 {
        self.resets.0.get()
    }
}

pub(super) fn opens(out: &[Output]) -> usize {
    out.iter().filter(|output| matches!(output, Output::Open(_))).count()
}
