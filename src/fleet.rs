//! All tenants of this process, and the orders an operator may give them.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use taut_core::config::Environment;
use taut_core::{AppId, RouteName, TenantId};
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

/// Which tenant each Slack app belongs to: of two tenants that turn out to be one app, the later is refused.
#[derive(Debug, Default)]
pub struct Apps {
    owners: Mutex<BTreeMap<AppId, TenantId>>,
}

impl Apps {
    /// Takes an app for a tenant; `false` if another tenant has it.
    pub fn take(&self, app_id: &AppId, tenant: &TenantId) -> bool {
        *self.owners.lock().entry(app_id.clone()).or_insert_with(|| tenant.clone()) == *tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_tenants_with_one_app_the_later_is_refused() {
        let apps = Apps::default();
        let (app, acme, globex) = (
            AppId::new("A111").expect("an app id"),
            TenantId::new("acme").expect("a tenant id"),
            TenantId::new("globex").expect("a tenant id"),
        );
        assert!(apps.take(&app, &acme));
        assert!(apps.take(&app, &acme));
        assert!(!apps.take(&app, &globex));
    }
}
