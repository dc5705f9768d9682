//! Which routes an envelope belongs to, asked once per envelope and replaceable at any time.

use std::sync::Arc;

use parking_lot::RwLock;
use taut_core::{Facts, Kind, RouteBits};

/// An envelope's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Routed {
    /// Routes that get it from the backlog.
    pub routes: RouteBits,
    /// The one route that answers it, if it is a request.
    pub answering: RouteBits,
}

/// Matches an envelope against a tenant's routes.
pub type RouteFn = dyn Fn(Kind, &Facts<'_>) -> Routed + Send + Sync;

/// A tenant's routes as of now. Intake takes one look per batch of frames.
pub struct Router(RwLock<Arc<RouteFn>>);

impl Router {
    /// Routes by this function.
    pub fn new(route: impl Fn(Kind, &Facts<'_>) -> Routed + Send + Sync + 'static) -> Self {
        Self(RwLock::new(Arc::new(route)))
    }

    /// Routes by another function from the next batch on.
    pub fn replace(&self, route: impl Fn(Kind, &Facts<'_>) -> Routed + Send + Sync + 'static) {
        *self.0.write() = Arc::new(route);
    }

    pub(crate) fn current(&self) -> Arc<RouteFn> {
        Arc::clone(&self.0.read())
    }
}
