//! The undertaker: a thread of its own that makes dead letters of entries that must leave, so that only those who need
//! their room wait for the database.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use taut_core::log::{Append, DeadLetter, DeadLetters, DeadLettersError, DeadReason, FullReason, LogError};
use taut_core::{RouteName, TenantId};

use crate::admit::Leaving;
use crate::database::Database;
use crate::dead::DeadLetterBox;
use crate::inbox::Buried;
use crate::registry;
use crate::shared::Shared;

/// The writer's end of the thread.
pub(crate) struct Undertaker {
    shared: Arc<Shared>,
    orders: Option<SyncSender<Vec<Leaving>>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
pub(crate) struct Tools {
    pub shared: Arc<Shared>,
    pub database: Arc<Database>,
    pub dead_letters: Arc<DeadLetterBox>,
}

impl Undertaker {
    /// Starts the thread; it ends when this is dropped.
    pub(crate) fn start(tools: Tools) -> io::Result<Self> {
        let (orders, received) = sync_channel(1);
        let shared = tools.shared.clone();
        // If the thread ends, for whatever reason, burials fail and nothing else does.
        let thread =
            std::thread::Builder::new().name("taut-burial".into()).spawn(move || tools.work(&received))?;
        Ok(Self { shared, orders: Some(orders), thread: Some(thread) })
    }

    /// Has these buried; the inbox hears how it went.
    pub(super) fn bury(&self, leaving: Vec<Leaving>) {
        let refused = match &self.orders {
            Some(orders) => orders.try_send(leaving).err(),
            None => return,
        };
        if refused.is_some() {
            let outcome = Err(Append::Unavailable);
            self.shared.inbox.buried(Buried { leaving: Vec::new(), outcome });
        }
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the undertaker's thread panicked");
        }
    }
}

impl Tools {
    fn work(self, orders: &Receiver<Vec<Leaving>>) {
        for leaving in orders {
            let buried = catch_unwind(AssertUnwindSafe(|| self.bury(&leaving)));
            let outcome = buried.unwrap_or_else(|_| {
                tracing::error!("a burial panicked");
                Err(Append::Unavailable)
            });
            self.shared.inbox.buried(Buried { leaving, outcome });
        }
    }

    /// Makes dead letters of these, durably; else the answer for who needs their room.
    fn bury(&self, leaving: &[Leaving]) -> Result<(), Append> {
        self.dead_letters.put(self.letters(leaving)?).map_err(|error| match error {
            DeadLettersError::Full => Append::Full(FullReason::DeadLetters),
            DeadLettersError::Failed { cause } => {
                tracing::error!(cause, "could not make room: the dead letters' database failed");
                Append::Unavailable
            }
        })
    }

    fn letters(&self, leaving: &[Leaving]) -> Result<Vec<(DeadLetter, Bytes)>, Append> {
        let died_at = self.shared.clock.wall();
        let mut names: HashMap<&TenantId, Vec<(u8, RouteName)>> = HashMap::new();
        let mut letters = Vec::new();
        for Leaving { tenant, slot } in leaving {
            let names = match names.entry(tenant) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    unknown.insert(registry::route_names(&self.database, tenant).map_err(|error| {
                        // Under a made-up name it would be another letter than delivery's for the same copy.
                        tracing::error!(%tenant, error, "could not make room: the names of routes could not be read");
                        Append::Unavailable
                    })?)
                }
            };
            let (frame, reason) = match self.shared.read(tenant, slot.seq) {
                Ok(Some(frame)) => (frame, DeadReason::Overflow),
                // Finished meanwhile: nothing to keep.
                Ok(None) => continue,
                Err(LogError::Read { .. }) => (Bytes::new(), DeadReason::Damaged),
                // What the disk does not give now it may give later.
                Err(LogError::Unavailable { cause }) => {
                    tracing::warn!(%tenant, seq = slot.seq.0, cause, "could not make room: a read failed");
                    return Err(Append::Unavailable);
                }
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
        Ok(letters)
    }
}
