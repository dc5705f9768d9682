//! Sockets on their way out: who closes them, and for how long that may take.

use taut_core::Moment;

use super::{
    ANNOUNCED_CLOSE_MAX, Current, Delays, Generation, LEAVING_MAX, Leaving, Line, Output, RETIRE_MAX, Renewal,
};

impl<D: Delays> Line<D> {
    /// A leaving socket that Slack should have closed is closed by us; one that we should have closed is cut off.
    pub(super) fn hurry_leaving(&mut self, now: Moment) {
        for leaving in &mut self.leaving {
            if leaving.deadline <= now && !leaving.retired {
                leaving.retired = true;
                leaving.deadline = now + RETIRE_MAX;
                self.out.push(Output::Retire(leaving.generation));
            }
        }
        while let Some(late) = self.leaving.iter().find(|leaving| leaving.deadline <= now) {
            let generation = late.generation;
            self.out.push(Output::Abort(generation));
            self.forget(now, generation);
        }
    }

    pub(super) fn forget(&mut self, now: Moment, generation: Generation) {
        let Some(index) = self.leaving.iter().position(|leaving| leaving.generation == generation) else {
            return;
        };
        let gone = self.leaving.remove(index);
        self.ghosts.closed(now);
        if let Some(reason) = gone.reason {
            self.out.push(Output::SocketEnded(reason));
        }
    }

    /// The replaced socket goes: Slack closes it where it said so, else we do.
    pub(super) fn leave(&mut self, now: Moment, old: &Current) {
        let (reason, close_by) = match old.renewal {
            Some(Renewal::Announced(reason, close_by)) => (reason, Some(close_by)),
            Some(Renewal::Age) => ("age", None),
            Some(Renewal::Token) => ("operator", None),
            None => ("other", None),
        };
        self.push_leaving(now, old.generation, Some(reason), close_by);
    }

    pub(super) fn leave_current(&mut self, now: Moment, reason: &'static str) {
        if let Some(current) = self.current.take() {
            self.push_leaving(now, current.generation, Some(reason), None);
        }
    }

    /// The current socket is of no more use, and Slack closes it.
    pub(super) fn await_close(&mut self, now: Moment, reason: &'static str) {
        if let Some(current) = self.current.take() {
            self.push_leaving(now, current.generation, Some(reason), Some(now + ANNOUNCED_CLOSE_MAX));
        }
    }

    /// `close_by`: until when Slack may close it; without, we do at once.
    pub(super) fn push_leaving(
        &mut self,
        now: Moment,
        generation: Generation,
        reason: Option<&'static str>,
        close_by: Option<Moment>,
    ) {
        while self.leaving.len() >= LEAVING_MAX {
            let oldest = self.leaving[0].generation;
            self.out.push(Output::Abort(oldest));
            self.forget(now, oldest);
        }
        if close_by.is_none() {
            self.out.push(Output::Retire(generation));
        }
        self.leaving.push(Leaving {
            generation,
            reason,
            deadline: close_by.unwrap_or(now + RETIRE_MAX),
            retired: close_by.is_none(),
        });
    }

    /// Drops every socket at once.
    pub(super) fn cut_off(&mut self, now: Moment) {
        self.abort_attempt("other");
        self.leave_current(now, "operator");
        while let Some(generation) = self.leaving.first().map(|leaving| leaving.generation) {
            self.out.push(Output::Abort(generation));
            self.forget(now, generation);
        }
    }
}
