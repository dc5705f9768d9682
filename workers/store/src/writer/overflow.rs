//! Full queues: the oldest become dead letters before anything takes their place.

use std::collections::HashMap;

use bytes::Bytes;
use taut_core::log::{
    Append, Change, DeadLetter, DeadLetters, DeadLettersError, DeadReason, FullReason, Outcome,
};
use taut_core::{RouteName, TenantId};

use super::Writer;
use super::group::Group;
use crate::admit::Plan;
use crate::record::ChangeItem;
use crate::registry;

impl Writer {
    /// Makes dead letters of what must leave, before anything takes its place.
    pub(super) fn let_go(&mut self, group: &mut Group) {
        if group.plan.leaving.is_empty() {
            return;
        }
        match self.dead_letters.put(self.letters(&group.plan)) {
            Ok(()) => {
                for leaving in &group.plan.leaving {
                    let (seq, routes) = (leaving.slot.seq, leaving.slot.routes);
                    let commit = Change::Commit { seq, routes, outcome: Outcome::DeadLetter };
                    group.items.push((leaving.tenant.clone(), ChangeItem(commit)));
                }
            }
            Err(error) => {
                let answer = match &error {
                    DeadLettersError::Full => Append::Full(FullReason::DeadLetters),
                    DeadLettersError::Failed { cause } => {
                        tracing::error!(cause, "could not make room: the dead letters' database failed");
                        Append::Unavailable
                    }
                };
                group.refuse_what_needs_room(answer);
            }
        }
    }

    fn letters(&self, plan: &Plan) -> Vec<(DeadLetter, Bytes)> {
        let died_at = self.shared.clock.wall();
        let mut names: HashMap<&TenantId, Vec<(u8, RouteName)>> = HashMap::new();
        let mut letters = Vec::new();
        for leaving in &plan.leaving {
            let (tenant, slot) = (&leaving.tenant, leaving.slot);
            let names = names.entry(tenant).or_insert_with(|| {
                registry::route_names(&self.database, tenant).unwrap_or_else(|error| {
                    tracing::warn!(%tenant, error, "could not read the names of routes");
                    Vec::new()
                })
            });
            let (frame, reason) = match self.shared.read(tenant, slot.seq) {
                Ok(Some(frame)) => (frame, DeadReason::Overflow),
                // Finished meanwhile: nothing to keep.
                Ok(None) => continue,
                Err(_) => (Bytes::new(), DeadReason::Damaged),
            };
            for number in slot.routes.numbers() {
                let known = names.iter().find(|(known, _)| *known == number).map(|(_, name)| name.clone());
                let unnamed =
                    || RouteName::new(&format!("route-{number}")).expect("letters, a hyphen and digits");
                let letter = DeadLetter {
                    tenant: tenant.clone(),
                    seq: slot.seq,
                    route: known.unwrap_or_else(unnamed),
                    kind: slot.kind,
                    reason,
                    received_at: slot.received_at,
                    died_at,
                    attempts: Vec::new(),
                    bytes: u32::try_from(frame.len()).expect("a slot's size has 32 bits"),
                };
                letters.push((letter, frame.clone()));
            }
        }
        letters
    }
}
