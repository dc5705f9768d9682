//! What a tenant's delivery task and its request desk share.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use taut_core::log::{DeadLetters, Entry, Log};
use taut_core::{Board, Clock, DedupKey, RouteBits, RouteName, Seq, TenantId};
use taut_net::http::HttpClient;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::allow::response::ResponseHosts;
use crate::desk::Decided;
use crate::metrics::DeliveryMetrics;
use crate::pure::health::Turn;
use crate::pure::recent::Recent;
use crate::route::Route;
use crate::router::Router;
use crate::signer::Signer;

/// Most requests of one tenant under way at once, those whose ack is decided but whose handler still runs included.
pub(crate) const REQUESTS_MAX: usize = 256;

/// See the module.
pub(crate) struct Shared {
    pub(crate) tenant: TenantId,
    pub(crate) routes: Vec<Route>,
    pub(crate) removed: Vec<(u8, RouteName)>,
    pub(crate) router: Arc<Router>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) signer: Signer,
    pub(crate) outside: HttpClient,
    /// Where a `response_url` may lead.
    pub(crate) response_hosts: ResponseHosts,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: DeliveryMetrics,
    /// Wakes the delivery task: the backlog, a route's health or the released requests changed.
    pub(crate) wake: Arc<Notify>,
    /// Cancelled by a drain: no attempt of the backlog starts any more.
    pub(crate) stop: CancellationToken,
    /// The desk's tasks, so that a drain can wait for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) recent: Arc<Mutex<Recent<tokio::sync::watch::Receiver<Option<Decided>>>>>,
    pub(crate) released: Arc<Mutex<Released>>,
}

/// Requests whose bare ack went out before their handler took them.
#[derive(Default)]
pub(crate) struct Released {
    /// Their first attempt is still under way: the backlog shows them, the delivery task leaves the answering route's
    /// copies alone. Bounded by [`REQUESTS_MAX`].
    held: HashMap<Seq, RouteBits>,
    /// Their first attempt failed: the delivery task takes them over at its next turn.
    handed: Vec<Handed>,
}

/// A request that the delivery task takes over.
pub(crate) struct Handed {
    /// As the backlog shows it.
    pub(crate) entry: Entry,
    /// Whether the desk has tried its handler.
    pub(crate) tried: bool,
}

impl Shared {
    /// The one route in `bits`, if it is configured.
    pub(crate) fn route_of(&self, bits: RouteBits) -> Option<&Route> {
        self.routes.iter().find(|route| !bits.is_empty() && route.bit == bits)
    }

    /// Keeps this route's copy of a released request from the delivery task while its first attempt runs.
    pub(crate) fn hold(&self, seq: Seq, route: RouteBits) {
        self.released.lock().held.insert(seq, route);
    }

    /// The first attempt took the request: commit it before calling this.
    pub(crate) fn unhold(&self, seq: Seq) {
        self.released.lock().held.remove(&seq);
    }

    /// The first attempt failed, or could not be made: the delivery task takes the request over.
    pub(crate) fn hand_over(&self, handed: Handed) {
        let mut released = self.released.lock();
        released.held.remove(&handed.entry.seq);
        released.handed.push(handed);
        drop(released);
        self.wake.notify_one();
    }

    /// Whether a released request's first attempt, at this route, is still under way.
    pub(crate) fn is_held(&self, seq: Seq, route: RouteBits) -> bool {
        self.released.lock().held.get(&seq) == Some(&route)
    }

    /// Released requests that the delivery task is to take over.
    pub(crate) fn handed(&self) -> Vec<Handed> {
        std::mem::take(&mut self.released.lock().handed)
    }

    /// Forgets a request, so that a copy of it is new again.
    pub(crate) fn forget(&self, key: DedupKey) {
        self.recent.lock().forget(key);
    }

    /// Tells people of a turn in a route's health.
    pub(crate) fn tell(&self, route: &Route, turn: Option<Turn>, words: &str) {
        let (tenant, name) = (&self.tenant, &route.name);
        match turn {
            None => return,
            Some(Turn::Opened) => warn!(
                %tenant, route = %name, last = words,
                "the handler is wrong or away: only probes go out until one succeeds; envelopes are kept"
            ),
            Some(Turn::Closed) => info!(%tenant, route = %name, "the handler is back: its backlog goes out"),
            Some(Turn::Held) => warn!(
                %tenant, route = %name, last = words,
                "the handler refused many envelopes in a row: the route is held until it is resumed"
            ),
        }
        self.show_routes();
        self.wake.notify_one();
    }

    /// Brings the board's list of routes that are down up to date.
    pub(crate) fn show_routes(&self) {
        let down: Vec<_> = self
            .routes
            .iter()
            .filter_map(|route| {
                let down = route.health.lock().down()?;
                Some((route.name.to_string(), down.name().to_owned()))
            })
            .collect();
        self.board.update(|status| status.routes_down = down);
    }
}
