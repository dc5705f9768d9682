//! All tenants of this process, and the orders an operator may give them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use taut_core::config::{Environment, TenantConfig};
use taut_core::{RouteName, TenantId};
use tokio_util::sync::CancellationToken;

use crate::admin::server::Control;
use crate::admin::{RouteOrder, TenantOrder};
use crate::tenant::{Order, TenantHandle};

/// The tenants' supervisors by id.
#[derive(Default)]
pub struct Fleet {
    held: RwLock<Held>,
    drain: CancellationToken,
}

#[derive(Default)]
struct Held {
    tenants: BTreeMap<TenantId, Arc<TenantHandle>>,
    /// The worker drains: nobody joins any more.
    closed: bool,
}

impl Fleet {
    /// Cancelled when an operator asks for the drain.
    pub fn drain_asked(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Takes a tenant in; false, and nothing is started, once the fleet is closed.
    pub fn insert(&self, tenant: &TenantId, start: impl FnOnce() -> TenantHandle) -> bool {
        let mut held = self.held.write();
        if held.closed {
            return false;
        }
        held.tenants.insert(tenant.clone(), Arc::new(start()));
        true
    }

    /// The host slept, or the process stood still, for so long: every tenant asks its sockets whether they still live.
    pub fn stood_still(&self, still: Duration) {
        for (tenant, handle) in &self.held.read().tenants {
            if let Err(error) = handle.order(Order::StoodStill(still)) {
                tracing::debug!(%tenant, error, "not asked: its sockets' own timers do it");
            }
        }
    }

    /// Lets go of a tenant that has been drained.
    pub fn remove(&self, tenant: &TenantId) {
        self.held.write().tenants.remove(tenant);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.held.read().tenants.len()
    }

    /// Their configurations.
    pub fn configs(&self) -> Vec<Arc<TenantConfig>> {
        self.held.read().tenants.values().map(|tenant| tenant.config()).collect()
    }

    /// A tenant's supervisor.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<TenantHandle>> {
        self.held.read().tenants.get(tenant).cloned()
    }

    /// Takes nobody in any more; all supervisors.
    pub fn close(&self) -> Vec<Arc<TenantHandle>> {
        let mut held = self.held.write();
        held.closed = true;
        held.tenants.values().cloned().collect()
    }

    fn tenant_named(&self, tenant: &TenantId) -> Result<Arc<TenantHandle>, String> {
        self.get(tenant).ok_or_else(|| format!("there is no tenant {tenant}"))
    }
}

impl Control for Fleet {
    fn tenant(&self, tenant: &TenantId, order: TenantOrder) -> Result<(), String> {
        self.tenant_named(tenant)?.order(Order::Tenant(order))
    }

    fn route(&self, tenant: &TenantId, route: &RouteName, order: RouteOrder) -> Result<(), String> {
        let handle = self.tenant_named(tenant)?;
        if !handle.routes().contains(route) {
            return Err(format!("tenant {tenant} has no route {route}"));
        }
        handle.order(Order::Route(route.clone(), order))
    }

    fn routes(&self, tenant: &TenantId) -> Option<(Vec<RouteName>, Environment)> {
        self.get(tenant).map(|handle| (handle.routes(), handle.environment()))
    }

    fn drain(&self) {
        self.drain.cancel();
    }
}
