//! The worker's end of its Unix socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use taut_core::config::Environment;
use taut_core::log::DeadLetter;
use taut_core::{RouteName, Seq, TenantId};
use taut_store::DiskStore;
use taut_store::backup::Snapshot;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::letters::{self, LetterView, Letters};
pub use super::socket::bind;
use super::socket::known_caller;
use super::{Changed, LetterPick, Refusal, RouteOrder, TenantOrder};
use crate::causes::with_causes;
use crate::listener::{self, Bounds};
use crate::reload::{ReloadReport, Reloader};
use crate::seeing::server::Views;
use crate::seeing::status::{StatusReport, report};

/// Most dead letters one answer lists.
const LIST_MAX: usize = 1000;
/// How long a snapshot is kept for somebody who does not release it: it holds room on the disk.
const SNAPSHOT_KEPT: Duration = Duration::from_hours(1);

/// What the socket's clients may hold. A replay takes its time.
const BOUNDS: Bounds = Bounds { connections: 32, lifetime: Duration::from_hours(1) };

/// What the daemon lets the socket do.
pub trait Control: Send + Sync + 'static {
    /// Changes one tenant.
    ///
    /// # Errors
    /// A sentence for the person who asked.
    fn tenant(&self, tenant: &TenantId, order: TenantOrder) -> Result<(), String>;
    /// Changes one route.
    ///
    /// # Errors
    /// A sentence for the person who asked.
    fn route(&self, tenant: &TenantId, route: &RouteName, order: RouteOrder) -> Result<(), String>;
    /// The tenant's routes as configured, and whether bodies may be seen.
    fn routes(&self, tenant: &TenantId) -> Option<(Vec<RouteName>, Environment)>;
    /// Starts the drain.
    fn drain(&self);
}

/// What the socket serves.
#[derive(Clone)]
pub struct Admin {
    /// Reads.
    pub views: Views,
    /// Dead letters.
    pub letters: Letters,
    /// Snapshots for a check or a backup.
    pub store: DiskStore,
    /// Changes.
    pub control: Arc<dyn Control>,
    /// Another configuration.
    pub reloader: Arc<Reloader>,
}

/// Serves until `stop`.
pub async fn serve(door: UnixListener, admin: Admin, stop: CancellationToken) {
    let app = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/deadletters", get(list))
        .route("/v1/deadletters/{tenant}/{seq}/{route}", get(show))
        .route("/v1/deadletters/replay", post(replay))
        .route("/v1/deadletters/drop", post(discard))
        .route("/v1/tenants/{tenant}/{order}", post(tenant))
        .route("/v1/tenants/{tenant}/routes/{route}/{order}", post(route))
        .route("/v1/store/snapshot", post(snapshot))
        .route("/v1/store/release", post(release))
        .route("/v1/reload", post(reload))
        .route("/v1/drain", post(drain))
        .with_state(admin)
        .layer(from_fn(listener::whole_body))
        .layer(from_fn(known_caller))
        .layer(from_fn(listener::no_browser));
    listener::serve(door, "admin", app, BOUNDS, stop).await;
}

struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Refusal { error: self.1 })).into_response()
    }
}

fn refused(error: impl Into<String>) -> Refused {
    Refused(StatusCode::CONFLICT, error.into())
}

fn tenant_id(text: &str) -> Result<TenantId, Refused> {
    TenantId::new(text).map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("tenant `{text}` {error}")))
}

fn route_name(text: &str) -> Result<RouteName, Refused> {
    RouteName::new(text).map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("route `{text}` {error}")))
}

async fn status(State(admin): State<Admin>) -> Json<StatusReport> {
    Json(report(&admin.views.seen, admin.views.readiness()))
}

#[derive(Deserialize)]
struct ListQuery {
    tenant: Option<String>,
    /// `tenant/seq/route` of the last one seen.
    after: Option<String>,
    max: Option<usize>,
}

async fn list(
    State(admin): State<Admin>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<DeadLetter>>, Refused> {
    let tenant = query.tenant.as_deref().map(tenant_id).transpose()?;
    let after = query.after.as_deref().map(cursor).transpose()?;
    let max = query.max.unwrap_or(LIST_MAX).min(LIST_MAX);
    blocking(move || admin.letters.list(tenant.as_ref(), after, max)).await.map(Json)
}

fn cursor(text: &str) -> Result<(TenantId, Seq, RouteName), Refused> {
    let wrong = || Refused(StatusCode::BAD_REQUEST, "after must be TENANT/SEQ/ROUTE".into());
    let mut parts = text.splitn(3, '/');
    let mut next = || parts.next().ok_or_else(wrong);
    let tenant = tenant_id(next()?)?;
    let seq = next()?.parse().map_err(|_| wrong())?;
    Ok((tenant, Seq(seq), route_name(next()?)?))
}

async fn show(
    State(admin): State<Admin>,
    UrlPath((tenant, seq, route)): UrlPath<(String, u64, String)>,
) -> Result<Json<LetterView>, Refused> {
    let (tenant, route) = (tenant_id(&tenant)?, route_name(&route)?);
    let hidden = admin.control.routes(&tenant).is_some_and(|(_, env)| env == Environment::Prod);
    let found = blocking(move || admin.letters.show(&tenant, Seq(seq), &route)).await?;
    let Some(mut view) = found else {
        return Err(Refused(StatusCode::NOT_FOUND, "there is no such dead letter".into()));
    };
    if hidden {
        view.frame = None;
    }
    Ok(Json(view))
}

async fn replay(State(admin): State<Admin>, Json(pick): Json<LetterPick>) -> Result<Json<Changed>, Refused> {
    let tenant = tenant_id(&pick.tenant)?;
    let (routes, _) =
        admin.control.routes(&tenant).ok_or_else(|| refused(format!("there is no tenant {tenant}")))?;
    // Reading dead letters blocks on the disk.
    let runtime = tokio::runtime::Handle::current();
    let count = blocking(move || runtime.block_on(admin.letters.replay(&pick, &routes))).await?;
    letters::count_ended("replay", count);
    tracing::info!(%tenant, count, "dead letters replayed by an operator");
    Ok(Json(Changed { count }))
}

async fn discard(State(admin): State<Admin>, Json(pick): Json<LetterPick>) -> Result<Json<Changed>, Refused> {
    let tenant = tenant_id(&pick.tenant)?;
    let count = blocking(move || admin.letters.discard(&pick)).await?;
    letters::count_ended("drop", count);
    tracing::info!(%tenant, count, "dead letters dropped by an operator");
    Ok(Json(Changed { count }))
}

async fn tenant(
    State(admin): State<Admin>,
    UrlPath((tenant, order)): UrlPath<(String, String)>,
) -> Result<Json<Changed>, Refused> {
    let order = match order.as_str() {
        "pause" => TenantOrder::Pause,
        "resume" => TenantOrder::Resume,
        _ => return Err(Refused(StatusCode::NOT_FOUND, format!("there is no order `{order}`"))),
    };
    admin.control.tenant(&tenant_id(&tenant)?, order).map_err(refused)?;
    Ok(Json(Changed { count: 1 }))
}

async fn route(
    State(admin): State<Admin>,
    UrlPath((tenant, route, order)): UrlPath<(String, String, String)>,
) -> Result<Json<Changed>, Refused> {
    let order = match order.as_str() {
        "pause" => RouteOrder::Pause,
        "resume" => RouteOrder::Resume,
        "reset-breaker" => RouteOrder::ResetBreaker,
        _ => return Err(Refused(StatusCode::NOT_FOUND, format!("there is no order `{order}`"))),
    };
    admin.control.route(&tenant_id(&tenant)?, &route_name(&route)?, order).map_err(refused)?;
    Ok(Json(Changed { count: 1 }))
}

/// A snapshot for the command line to read; it goes when released, or by itself after [`SNAPSHOT_KEPT`].
async fn snapshot(State(admin): State<Admin>) -> Result<Json<Snapshot>, Refused> {
    let store = admin.store.clone();
    let snapshot = blocking(move || store.snapshot().map_err(|error| with_causes(&error))).await?;
    tracing::info!(number = snapshot.number, "a snapshot of the store was taken for an operator");
    let (store, number) = (admin.store, snapshot.number);
    // Its end means nothing: the snapshot is gone, or goes with the next one.
    tokio::spawn(async move {
        tokio::time::sleep(SNAPSHOT_KEPT).await;
        let released = blocking(move || store.release_snapshot(number).map_err(|error| with_causes(&error)));
        if let Err(Refused(_, error)) = released.await {
            tracing::warn!(error, "a snapshot of the store could not be removed");
        }
    });
    Ok(Json(snapshot))
}

async fn release(State(admin): State<Admin>, Json(number): Json<u64>) -> Result<Json<Changed>, Refused> {
    blocking(move || admin.store.release_snapshot(number).map_err(|error| with_causes(&error))).await?;
    Ok(Json(Changed { count: 1 }))
}

/// Runs to its end even if whoever asked goes away: half a reload is no configuration.
async fn reload(State(admin): State<Admin>) -> Result<Json<ReloadReport>, Refused> {
    let reload = tokio::spawn(async move { admin.reloader.reload().await });
    let done = reload.await.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    done.map(Json).map_err(refused)
}

async fn drain(State(admin): State<Admin>) -> Json<Changed> {
    admin.control.drain();
    Json(Changed { count: 1 })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
        .map_err(refused)
}
