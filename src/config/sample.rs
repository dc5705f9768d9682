//! A configuration with nothing left out: what keys are derived from, and what one value at a time is tried in.

use taut_core::config::{
    AdminConfig, Config, Environment, KindMatch, LateAnswer, NetworkConfig, RouteConfig, RouteMatch,
    SecretRef, Span, StoreConfig, Target, TenantConfig, TenantNetwork, WorkerConfig,
};
use taut_core::order::Order;
use taut_core::{AppId, RouteName, TenantId};

/// A route's target, where it does not matter which.
pub(super) fn any_target() -> Target {
    Target::Http("http://127.0.0.1:3000/slack/events".into())
}

/// A configuration in which every key has a value, as an example of its type; with this secret and this target
/// wherever there is one.
pub(super) fn sample(secret: SecretRef, target: Target) -> Config {
    let Config {
        slack,
        network: NetworkConfig { deadlines, .. },
        worker,
        queue,
        dead_letters,
        delivery,
        log,
        metrics,
        store,
        admin: _,
        tenants: _,
    } = Config::default();
    Config {
        slack,
        network: NetworkConfig {
            proxy: Some("http://proxy.corp:3128".into()),
            proxy_user: Some("taut".into()),
            proxy_password: Some(secret.clone()),
            ca_files: vec!["/etc/ssl/corp-root.pem".into()],
            deadlines,
        },
        store: StoreConfig { path: Some("/var/lib/taut".into()), ..store },
        worker: WorkerConfig { name: Some("host-1".into()), ..worker },
        queue,
        dead_letters,
        delivery,
        log,
        metrics,
        admin: AdminConfig { listen: Some("unix:/run/taut/admin.sock".into()) },
        tenants: vec![sample_tenant(secret, target)],
    }
}

fn sample_tenant(secret: SecretRef, target: Target) -> TenantConfig {
    TenantConfig {
        id: TenantId::new("acme").expect("lower-case letters"),
        environment: Environment::default(),
        app_id: Some(AppId::new("A0123456789").expect("an app id's shape")),
        app_token: secret.clone(),
        signing_secret: secret.clone(),
        bot_token: Some(secret.clone()),
        network: Some(TenantNetwork {
            proxy: Some("http://proxy.acme.example:3128".into()),
            proxy_user: Some("taut".into()),
            proxy_password: Some(secret),
            ca_files: vec!["acme-root.pem".into()],
        }),
        paused: true,
        routes: vec![sample_route(target)],
    }
}

fn sample_route(target: Target) -> RouteConfig {
    let list = |text: &str| vec![text.to_owned()];
    RouteConfig {
        name: RouteName::new("bot").expect("letters"),
        matching: RouteMatch {
            kinds: vec![KindMatch::EventsApi],
            event_types: list("message"),
            interactive_types: list("block_actions"),
            commands: list("/deploy"),
            callback_ids: list("approve"),
            teams: list("T0123456789"),
            channels: list("C0123456789"),
        },
        target,
        order: Order::default(),
        on_late_answer: LateAnswer::default(),
        concurrency: 8,
        timeout: Span::secs(10),
        proxy: true,
    }
}
