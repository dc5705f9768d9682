//! The listener behind `/metrics`, `/livez` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Seen;
use super::health::Readiness;
use super::page;
use crate::listener::{self, Bounds};

/// What the listener's clients may hold: each connection a page at most.
const BOUNDS: Bounds = Bounds { connections: 32, lifetime: Duration::from_mins(1) };

/// What the listener serves.
#[derive(Clone)]
pub struct Views {
    /// Boards and stores.
    pub seen: Seen,
    /// What the exporter renders; absent where no recorder could be installed (several workers in one test process).
    pub recorder: Option<PrometheusHandle>,
    /// Set once the worker drains.
    pub draining: Arc<AtomicBool>,
}

impl Views {
    /// Whether the worker is ready.
    pub fn readiness(&self) -> Readiness {
        Readiness::of(&self.seen, self.draining.load(Ordering::Relaxed))
    }

    /// The whole text of `/metrics`.
    pub fn metrics(&self) -> String {
        let mut text = self.recorder.as_ref().map(PrometheusHandle::render).unwrap_or_default();
        text.push_str(&page::render(&self.seen));
        text
    }
}

/// Binds the listener.
///
/// # Errors
/// The system's, with the address.
pub async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr), String> {
    let failed =
        |error: std::io::Error| format!("metrics.listen = \"{listen}\": cannot listen there: {error}");
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves until `stop`.
pub async fn serve(door: TcpListener, views: Views, stop: CancellationToken) {
    let mut app = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(views)
        .layer(from_fn(listener::no_browser));
    // Where other hosts may ask, they may do so by name.
    if door.local_addr().is_ok_and(|at| at.ip().is_loopback()) {
        app = app.layer(from_fn(listener::addressed_to_loopback));
    }
    listener::serve(door, "metrics", app, BOUNDS, stop).await;
}

async fn metrics(State(views): State<Views>) -> impl IntoResponse {
    let text = tokio::task::spawn_blocking(move || views.metrics()).await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn ready(State(views): State<Views>) -> impl IntoResponse {
    let readiness = views.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(readiness))
}
