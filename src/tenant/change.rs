//! Another configuration for a tenant that runs, field by field.

use super::parts::Running;
use super::supervisor::Supervisor;
use super::{Order, Wanted};
use crate::admin::TenantOrder;

/// What has to start anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anew {
    /// Nothing: what changed was changed in place.
    Nothing,
    /// Line and delivery: the tenant is pinned to another app, or goes another way out.
    All,
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
    pub(super) async fn change(&mut self, wanted: Wanted, running: Option<&mut Running>) -> Anew {
        let Wanted { config, change, done } = wanted;
        self.config = config;
        let (outcome, anew) = match running {
            // It starts with its new configuration at once.
            None => {
                self.paused = change.paused.unwrap_or(self.paused);
                (Ok(()), Anew::Nothing)
            }
            Some(_) if change.starts_anew() => {
                self.paused = change.paused.unwrap_or(self.paused);
                (Ok(()), Anew::All)
            }
            Some(running) => {
                let renewed = self.renew(running);
                let exchanged = if change.delivery { self.exchange(running).await } else { Ok(()) };
                match change.paused {
                    Some(true) => self.pause(Some(running)),
                    Some(false) => {
                        // It ends a pause by command as well: the file is the later word.
                        self.remember(&Order::Tenant(TenantOrder::Resume));
                        self.resume(Some(running));
                    }
                    None => {}
                }
                (renewed.and(exchanged), Anew::Nothing)
            }
        };
        // Whoever asked may have given up; it is in force all the same.
        let _asker_gone: Result<(), Result<(), String>> = done.send(outcome);
        anew
    }

    /// Goes on with other routes or limits; intake knows the routes first, so that the new ones miss nothing.
    async fn exchange(&self, running: &mut Running) -> Result<(), String> {
        let deadline = self.shared.clock.now() + self.shared.live.config().worker.drain_timeout.0;
        let deps = self
            .way_out()
            .and_then(|way_out| self.delivery_deps(way_out, running.signer.clone()))
            .map_err(|reason| reason.text)?;
        running.desk.route_by(&deps.routes);
        let end = running.delivery.exchange(deps, deadline).await;
        // Where it was refused, intake goes back to the routes that are still in force.
        if self.paused {
            running.delivery.suspend(true);
        }
        running.desk.serve(&running.delivery);
        let end = end.map_err(|error| crate::causes::with_causes(&error))?;
        tracing::info!(tenant = %self.config.id, ?end, "delivery goes on with its new configuration");
        Ok(())
    }
}
