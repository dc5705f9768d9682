//! Another configuration for a tenant that runs, field by field.

use super::parts::Running;
use super::supervisor::Supervisor;
use super::{Order, Wanted};
use crate::admin::TenantOrder;
use crate::reload::TenantChange;

/// What is left to do for the supervisor's loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anew {
    /// Line and delivery start anew: the tenant is pinned to another app, or goes another way out.
    pub(super) parts: bool,
    /// Which app it is of is to be learnt anew.
    pub(super) app: bool,
}

impl Supervisor {
    /// Goes on with another configuration.
    ///
    /// | changed | what happens |
    /// |---|---|
    /// | a secret, or where it is | a new token opens its socket before the old one closes; the next attempt is signed anew |
    /// | routes, `[delivery]` | attempts under way end, then the others begin; sockets stay, requests are answered meanwhile |
    /// | `paused` | as `taut tenant pause` or `resume` |
    /// | `app_id`, `network` | both parts start anew |
    ///
    /// What cannot be done now leaves the tenant as it was, and is tried again by the next reload.
    pub(super) async fn change(&mut self, wanted: Wanted, running: Option<&mut Running>) -> Anew {
        let Wanted { config, change, done } = wanted;
        self.config = config;
        self.forget_gone_routes();
        let change = change.after(std::mem::take(&mut self.behind));
        let mut anew = Anew { parts: false, app: false };
        let outcome = match running {
            // It starts with its new configuration at once.
            None => {
                self.note_pause(change.paused);
                anew.app = change.app;
                Ok(())
            }
            Some(running) if change.starts_anew() => match self.could_start() {
                Ok(()) => {
                    self.note_pause(change.paused);
                    anew = Anew { parts: true, app: change.app };
                    Ok(())
                }
                Err(why) => {
                    self.behind = TenantChange { paused: None, ..change };
                    self.turn(change.paused, running);
                    Err(format!("{why}; it goes on as it was"))
                }
            },
            Some(running) => {
                let renewed = self.renew(running);
                // A pause holds before anything new begins, and ends when all of it is there.
                self.turn(change.paused.filter(|paused| *paused), running);
                let exchanged = if change.delivery { self.exchange(running).await } else { Ok(()) };
                self.behind.delivery = exchanged.is_err();
                self.turn(change.paused.filter(|paused| !*paused), running);
                renewed.and(exchanged)
            }
        };
        // Whoever asked may have given up; it is in force all the same.
        let _asker_gone: Result<(), Result<(), String>> = done.send(outcome);
        anew
    }

    /// Whether the parts would find what they need: a tenant that runs is not ended for one that could not begin.
    fn could_start(&self) -> Result<(), String> {
        let found = self.way_out().and_then(|_| self.secrets());
        found.map(drop).map_err(|reason| reason.text)
    }

    /// Pauses or resumes what runs.
    fn turn(&mut self, paused: Option<bool>, running: &mut Running) {
        match paused {
            Some(true) => self.pause(Some(running)),
            Some(false) => {
                self.note_pause(paused);
                self.resume(Some(running));
            }
            None => {}
        }
    }

    /// Notes a pause or its end for the parts' next start. The file is the later word: it ends a pause by command too.
    fn note_pause(&mut self, paused: Option<bool>) {
        let Some(paused) = paused else { return };
        if !paused {
            self.remember(&Order::Tenant(TenantOrder::Resume));
        }
        self.paused = paused;
    }

    /// Goes on with other routes or limits; requests are theirs at once.
    async fn exchange(&self, running: &mut Running) -> Result<(), String> {
        let deadline = self.shared.clock.now() + self.shared.live.config().worker.drain_timeout.0;
        let deps = self
            .way_out()
            .and_then(|way_out| self.delivery_deps(way_out, running.signer.clone()))
            .map_err(|reason| reason.text)?;
        let Running { delivery, desk, .. } = running;
        let end = delivery.exchange(deps, deadline, |router, requests| desk.serve(router, requests)).await;
        let end = end.map_err(|error| crate::causes::with_causes(&error))?;
        tracing::info!(tenant = %self.config.id, ?end, "delivery goes on with its new configuration");
        Ok(())
    }
}
