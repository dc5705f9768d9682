//! All tenants of this process, and the orders an operator may give them.

use std::collections::BTreeMap;
use std::time::Duration;

use taut_core::config::Environment;
use taut_core::{RouteName, TenantId};
use tokio_util::sync::CancellationToken;

use crate::admin::server::Control;
use crate::admin::{RouteOrder, TenantOrder};
use crate::tenant::{Order, TenantHandle};

/// The tenants' supervisors by id.
pub struct Fleet {
    tenants: BTreeMap<TenantId, TenantHandle>,
    drain: CancellationToken,
}

impl Fleet {
    /// These tenants; `drain` is cancelled when an operator asks for the drain.
    pub fn new(tenants: BTreeMap<TenantId, TenantHandle>, drain: CancellationToken) -> Self {
        Self { tenants, drain }
    }

    /// Cancelled when an operator asks for the drain.
    pub fn drain_asked(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// The supervisors.
    pub fn handles(&self) -> impl Iterator<Item = &TenantHandle> {
        self.tenants.values()
    }

    /// The host slept, or the process stood still, for so long: every tenant asks its sockets whether they still live.
    pub fn stood_still(&self, still: Duration) {
        for (tenant, handle) in &self.tenants {
            if let Err(error) = handle.order(Order::StoodStill(still)) {
                tracing::debug!(%tenant, error, "not asked: its sockets' own timers do it");
            }
        }
    }

    fn tenant_named(&self, tenant: &TenantId) -> Result<&TenantHandle, String> {
        self.tenants.get(tenant).ok_or_else(|| format!("there is no tenant {tenant}"))
    }
}

impl Control for Fleet {
    fn tenant(&self, tenant: &TenantId, order: TenantOrder) -> Result<(), String> {
        self.tenant_named(tenant)?.order(Order::Tenant(order))
    }

    fn route(&self, tenant: &TenantId, route: &RouteName, order: RouteOrder) -> Result<(), String> {
        let handle = self.tenant_named(tenant)?;
        if !handle.routes.contains(route) {
            return Err(format!("tenant {tenant} has no route {route}"));
        }
        handle.order(Order::Route(route.clone(), order))
    }

    fn routes(&self, tenant: &TenantId) -> Option<(Vec<RouteName>, Environment)> {
        self.tenants.get(tenant).map(|handle| (handle.routes.clone(), handle.environment))
    }

    fn drain(&self) {
        self.drain.cancel();
    }
}
