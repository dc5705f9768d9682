//! Which Slack app each tenant turned out to be.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use taut_core::{AppId, TenantId};

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

    /// Lets go of whatever app a tenant took.
    pub fn release(&self, tenant: &TenantId) {
        self.owners.lock().retain(|_, owner| owner != tenant);
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
        apps.release(&acme);
        assert!(apps.take(&app, &globex));
    }
}
