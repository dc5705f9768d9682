//! Playing a script: one task for each step.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Reached, Step, TimedLoad, When};
use crate::act::Sockets;
use crate::app::App;
use crate::journal::NoteKind;
use crate::load;
use crate::shared::Shared;

/// How often a step that waits for a count looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Starts every step and the load; they end with the simulator.
pub(crate) fn run(sim: &Arc<Shared>, steps: Vec<Step>, load: Option<TimedLoad>) {
    for step in steps {
        let task = play(sim.clone(), step);
        sim.tasks.spawn(sim.stop.clone().run_until_cancelled_owned(task));
    }
    if let Some(TimedLoad { start, load }) = load {
        let running = sim.clone();
        let task = async move {
            // Before anybody listens there is nothing to learn from a load.
            while !running.apps().iter().any(|app| app.state.lock().hellos_said > 0) {
                sleep(LOOK_EVERY).await;
            }
            sleep(start).await;
            load::start(&running, running.apps(), load).finished().await;
        };
        sim.tasks.spawn(sim.stop.clone().run_until_cancelled_owned(task));
    }
}

async fn play(sim: Arc<Shared>, step: Step) {
    match step.when {
        When::At(at) => {
            sleep(at).await;
            for app in targets(&sim, &step) {
                carry_out(&sim, &step, &app);
            }
        }
        // Each app has its own counts, so each reaches them at its own time.
        When::Reached(reached, after) => {
            let mut waiting = targets(&sim, &step);
            while !waiting.is_empty() {
                let (due, rest) = waiting.into_iter().partition(|app| reached.by(&sim, app));
                waiting = rest;
                if !Vec::<Arc<App>>::is_empty(&due) {
                    sleep(after).await;
                }
                for app in due {
                    carry_out(&sim, &step, &app);
                }
                sleep(LOOK_EVERY).await;
            }
        }
    }
    let Some(every) = step.every else { return };
    loop {
        sleep(every).await;
        for app in targets(&sim, &step) {
            carry_out(&sim, &step, &app);
        }
    }
}

fn targets(sim: &Shared, step: &Step) -> Vec<Arc<App>> {
    match &step.app {
        Some(app_id) => sim.app(app_id).into_iter().collect(),
        None => sim.apps(),
    }
}

fn carry_out(sim: &Arc<Shared>, step: &Step, app: &Arc<App>) {
    step.act.apply(sim, app, Sockets::All);
    sim.journal.note(Some(&app.id), NoteKind::Done { what: step.name.clone() });
}

impl Reached {
    fn by(self, sim: &Shared, app: &App) -> bool {
        let totals = sim.journal.totals(Some(&app.id));
        let state = app.state.lock();
        state.opens_made >= self.opens
            && state.hellos_said >= self.hellos
            && totals.sent >= self.sent
            && totals.acked >= self.acked
    }
}
