//! What a running tenant is made of: its secrets, its line, its delivery.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use taut_core::log::TenantFacts;
use taut_core::request::{Answer, NewRequest, Requests};
use taut_core::{Facts, Kind, Reason};
use taut_delivery::{DeliveryDeps, DeliveryHandle, RouteSpec, Signer, TenantDelivery};
use taut_socket::{Desired, LineDeps, LineHandle, Routed, Router, TenantLine};
use taut_vault::{AppToken, SigningSecret};

use super::supervisor::{Supervisor, seed_of};
use crate::causes::with_causes;
use crate::facts;
use crate::way_out::WayOut;

/// A tenant's running parts.
pub(super) struct Running {
    pub(super) line: LineHandle,
    pub(super) delivery: DeliveryHandle,
    pub(super) desk: Desk,
    pub(super) signer: Signer,
    app_token: AppToken,
}

impl Running {
    /// Goes on with these secrets: another token opens the next socket before the old one goes, another signing
    /// secret signs the next attempt.
    pub(super) fn renew(&mut self, secrets: Secrets) {
        self.signer.replace(&secrets.signing_secret);
        if self.app_token != secrets.app_token {
            self.line.replace_token(secrets.app_token.clone());
            self.app_token = secrets.app_token;
        }
    }
}

/// What a line asks of its delivery, for as long as the line lives: the delivery behind it may be exchanged.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) router: Arc<Router>,
    requests: Arc<RwLock<Arc<dyn Requests>>>,
}

impl Desk {
    fn over(delivery: &DeliveryHandle) -> Self {
        Self {
            router: Arc::new(Router::new(by(delivery.router()))),
            requests: Arc::new(RwLock::new(delivery.requests())),
        }
    }

    /// Answers and routes by these from now on. First those who answer: they know every route that stays, and the old
    /// ones know none that is new.
    pub(super) fn serve(&self, router: Arc<taut_delivery::Router>, requests: Arc<dyn Requests>) {
        *self.requests.write() = requests;
        self.router.replace(by(router));
    }
}

impl Requests for Desk {
    fn begin(&self, request: NewRequest) -> BoxFuture<'static, Answer> {
        self.requests.read().begin(request)
    }
}

fn by(table: Arc<taut_delivery::Router>) -> impl Fn(Kind, &Facts<'_>) -> Routed + Send + Sync + 'static {
    move |kind, facts| {
        let (routes, answering) = table.bits(kind, facts);
        Routed { routes, answering }
    }
}

/// What a tenant needs to run.
pub(super) struct Secrets {
    app_token: AppToken,
    signing_secret: SigningSecret,
}

impl Supervisor {
    /// Reads the secrets from where the configuration says they are.
    pub(super) fn secrets(&self) -> Result<Secrets, Reason> {
        let mut ages = Vec::new();
        let mut read = |key: &'static str, reference| {
            let resolved = taut_vault::resolve(reference, &self.shared.secrets_base)
                .map_err(|error| Reason::new("secret_missing", format!("{key}: {}", with_causes(&error))))?;
            if let Some(warning) = &resolved.warning {
                tracing::warn!(tenant = %self.config.id, which = key, "{warning}");
            }
            ages.extend(resolved.set_at.map(|set_at| (key, set_at)));
            Ok(resolved.secret)
        };
        let app_token = AppToken::new(read("app_token", &self.config.app_token)?);
        let signing_secret = SigningSecret::new(read("signing_secret", &self.config.signing_secret)?);
        self.board.update(|status| status.secrets = ages);
        Ok(Secrets { app_token, signing_secret })
    }

    /// The tenant's way out: its own where it has one, else the host's.
    pub(super) fn way_out(&self) -> Result<WayOut, Reason> {
        let way_out = self.shared.way_out.read().clone();
        let Some(network) = &self.config.network else { return Ok(way_out) };
        way_out
            .of_tenant(network, &self.shared.live.config(), &self.shared.secrets_base)
            .map_err(|error| Reason::new("network", format!("this tenant's way out cannot be used: {error}")))
    }

    /// Starts the line and the delivery.
    pub(super) fn parts(&self, secrets: Secrets, facts: &TenantFacts) -> Result<Running, Reason> {
        let shared = &self.shared;
        let signer = Signer::new(&secrets.signing_secret);
        let way_out = self.way_out()?;
        let deps = self.delivery_deps(way_out.clone(), signer.clone())?;
        let delivery =
            TenantDelivery::spawn(deps).map_err(|error| Reason::new("route", with_causes(&error)))?;
        let desk = Desk::over(&delivery);
        let (claims, tenant) = (Arc::clone(shared), self.config.id.clone());
        let line = TenantLine::spawn(LineDeps {
            tenant: self.config.id.clone(),
            app_token: secrets.app_token.clone(),
            app_id: facts.app_id.clone(),
            desired: if self.paused { Desired::Paused } else { Desired::Connected },
            api: way_out.api,
            dialer: way_out.dialer,
            gate: Arc::clone(&shared.gate),
            log: Arc::clone(&shared.log),
            requests: Arc::new(desk.clone()),
            router: Arc::clone(&desk.router),
            board: Arc::clone(&self.board),
            clock: Arc::clone(&shared.clock),
            config: Arc::clone(&shared.slack),
            metrics: shared.line_metrics.clone(),
            seed: seed_of(&self.config.id),
            deaf_since: facts::deaf_since(facts),
            claim_app: Arc::new(move |app_id| claims.apps.take(app_id, &tenant)),
        });
        Ok(Running { line, delivery, desk, signer, app_token: secrets.app_token })
    }

    /// What the tenant's delivery is made of, by the configuration in force.
    pub(super) fn delivery_deps(&self, way_out: WayOut, signer: Signer) -> Result<DeliveryDeps, Reason> {
        let shared = &self.shared;
        let names: Vec<_> = self.config.routes.iter().map(|route| route.name.clone()).collect();
        let numbers = shared.registry.route_numbers(&self.config.id, &names).map_err(|error| {
            Reason::new("store", format!("the routes' numbers could not be read: {error}"))
        })?;
        let numbered = self.config.routes.iter().zip(&numbers.current);
        Ok(DeliveryDeps {
            tenant: self.config.id.clone(),
            environment: self.config.environment,
            routes: numbered
                .map(|(config, number)| RouteSpec { config: config.clone(), number: *number })
                .collect(),
            removed: numbers.removed,
            suspended: self.paused,
            paused: self.board.status().paused_routes,
            log: Arc::clone(&shared.log),
            dead_letters: Arc::clone(&shared.dead_letters),
            http: way_out.handlers,
            http_by_proxy: way_out.handlers_by_proxy,
            outside: way_out.outside,
            programs: shared.programs.clone(),
            signer,
            config: shared.live.config().delivery.clone(),
            board: Arc::clone(&self.board),
            clock: Arc::clone(&shared.clock),
            epoch: shared.log.epoch(),
            metrics: shared.delivery_metrics.clone(),
            response_hosts: shared.response_hosts.clone(),
        })
    }
}
