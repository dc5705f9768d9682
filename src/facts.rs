//! What outlives the process about each tenant: the pinned app id, and when its last frame was read, so that the
//! deaf time of a restart is counted.

use std::sync::Arc;
use std::time::Duration;

use taut_core::log::{Registry, TenantFacts};
use taut_core::{Board, WallMs};
use tokio_util::sync::CancellationToken;

use crate::seeing::Seen;

/// How often the last frame's time is stored: a restart's deaf time is known to this precision after a crash.
const SAVE_EVERY: Duration = Duration::from_mins(1);
/// When it is first stored: a worker that crashes again and again would else count the first gap each time.
const SAVE_FIRST: Duration = Duration::from_secs(1);

/// Takes over what the store remembers of a tenant. The line counts the gap since its last frame as deaf if it was
/// meant to be connected ([`deaf_since`]).
pub fn restore(registry: &dyn Registry, board: &Board) -> TenantFacts {
    let facts = registry.facts(&board.tenant).unwrap_or_else(|error| {
        tracing::warn!(tenant = %board.tenant, error, "what was known of the tenant could not be read");
        TenantFacts::default()
    });
    let TenantFacts { app_id, last_frame_at, wanted, paused, paused_routes } = facts.clone();
    board.update(|status| {
        status.paused = paused;
        status.paused_routes = paused_routes;
        status.app_id = app_id;
        status.last_frame_at = last_frame_at;
        status.wanted = wanted;
    });
    facts
}

/// When the tenant fell silent in an earlier process, if it was meant to be connected then.
pub fn deaf_since(facts: &TenantFacts) -> Option<WallMs> {
    facts.last_frame_at.filter(|_| facts.wanted)
}

/// Stores the facts of all tenants once.
pub fn save(registry: &dyn Registry, seen: &Seen) {
    let facts: Vec<_> = seen.boards().iter().map(|board| (board.tenant.clone(), of(board))).collect();
    if let Err(error) = registry.save_facts(&facts) {
        tracing::warn!(
            error,
            "the tenants' last frames could not be stored: a restart now would not count its deaf time"
        );
    }
}

/// Stores them soon after the start, then each minute until `stop`.
pub async fn save_each_minute(registry: Arc<dyn Registry>, seen: Seen, stop: CancellationToken) {
    let mut pause = SAVE_FIRST;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = SAVE_EVERY;
        let (registry, seen) = (Arc::clone(&registry), seen.clone());
        let saved = tokio::task::spawn_blocking(move || save(registry.as_ref(), &seen)).await;
        if let Err(error) = saved {
            tracing::error!(%error, "saving the tenants' facts panicked");
        }
    }
}

/// Stores one tenant's facts off the async threads: an order is to outlive a crash that follows it.
pub fn save_one(registry: Arc<dyn Registry>, board: Arc<Board>) {
    tokio::task::spawn_blocking(move || {
        // Read here: of two orders in a row, whichever is stored last stores both.
        let facts = [(board.tenant.clone(), of(&board))];
        if let Err(error) = registry.save_facts(&facts) {
            tracing::warn!(tenant = %facts[0].0, error, "an order could not be stored: it ends with the process");
        }
    });
}

/// A tenant's facts as they are now.
pub fn of(board: &Board) -> TenantFacts {
    let status = board.status();
    TenantFacts {
        app_id: status.app_id,
        last_frame_at: status.last_frame_at,
        wanted: status.wanted,
        paused: status.paused,
        paused_routes: status.paused_routes,
    }
}
