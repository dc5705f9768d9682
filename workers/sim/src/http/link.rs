//! `/link/`: from a ticket to a socket.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SERVER, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use uuid::Uuid;

use super::{Abort, Answer, hang, text, with_type};
use crate::app::{App, Seat, SeatRefused};
use crate::faults::UpgradeFailure;
use crate::io::Io;
use crate::journal::NoteKind;
use crate::shared::Shared;
use crate::socket;

pub(super) async fn upgrade(sim: Arc<Shared>, mut request: Request<Incoming>) -> Result<Answer, Abort> {
    let Some(key) = websocket_key(&request) else {
        return Ok(text(StatusCode::UPGRADE_REQUIRED, "a WebSocket is wanted here"));
    };
    let query = request.uri().query().unwrap_or_default();
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let ticket = parameter("ticket").and_then(|ticket| Uuid::parse_str(ticket).ok());
    let app = parameter("app_id").and_then(|hash| sim.by_url_hash(hash));
    let debug_reconnects = parameter("debug_reconnects") == Some("true");
    let (Some(ticket), Some(app)) = (ticket, app) else {
        return Ok(refuse(&sim, None, sim.switches.ticket_refused_status, "no such ticket"));
    };
    let seat = match app.seat(&sim, ticket, debug_reconnects) {
        Ok(seat) => seat,
        Err(SeatRefused::Status { status, why }) => return Ok(refuse(&sim, Some(&app), status, why)),
        Err(SeatRefused::Fault(fault)) => return play(&sim, &app, fault).await,
    };
    let upgraded = hyper::upgrade::on(&mut request);
    sim.tasks.clone().spawn(start(sim, app, seat, upgraded));
    Ok(switching(&derive_accept_key(key.as_bytes())))
}

async fn start(sim: Arc<Shared>, app: Arc<App>, seat: Seat, upgraded: hyper::upgrade::OnUpgrade) {
    let connection = seat.connection.clone();
    let Ok(Ok(parts)) = upgraded.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<Io>>) else {
        return app.leave(&sim, &connection, true); // the client left before 101
    };
    socket::serve(sim, app, parts.io.into_inner(), parts.read_buf, seat).await;
}

fn websocket_key(request: &Request<Incoming>) -> Option<HeaderValue> {
    let headers = request.headers();
    let upgrades = headers.get(UPGRADE)?.to_str().ok()?.eq_ignore_ascii_case("websocket");
    headers.get(SEC_WEBSOCKET_KEY).filter(|_| upgrades).cloned()
}

fn switching(accept: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).expect("base64 is a header value"));
    answer
}

fn refuse(sim: &Shared, app: Option<&App>, status: u16, why: &'static str) -> Answer {
    sim.journal.note(app.map(|app| &app.id), NoteKind::UpgradeRefused { status, why });
    let mut answer = text(StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED), why);
    answer.headers_mut().insert(SERVER, HeaderValue::from_static("envoy"));
    answer
}

async fn play(sim: &Shared, app: &App, fault: UpgradeFailure) -> Result<Answer, Abort> {
    let note =
        |status| sim.journal.note(Some(&app.id), NoteKind::UpgradeRefused { status, why: "as ordered" });
    match fault {
        UpgradeFailure::Status { status } => Ok(refuse(sim, Some(app), status, "as ordered")),
        UpgradeFailure::Html => {
            note(200);
            Ok(with_type(StatusCode::OK, "text/html", Bytes::from_static(b"<html><body>Proxy</body></html>")))
        }
        UpgradeFailure::WrongAccept => {
            note(101);
            Ok(switching("d3JvbmcgYWNjZXB0IGtleSAhIQ=="))
        }
        UpgradeFailure::Hang => {
            note(0);
            match hang().await {}
        }
        UpgradeFailure::Abort
        | UpgradeFailure::Text { .. }
        | UpgradeFailure::NoHello
        | UpgradeFailure::DropAfterHello
        | UpgradeFailure::Disconnect { .. }
        | UpgradeFailure::HelloOfApp { .. } => {
            note(0);
            Err(Abort)
        }
    }
}
