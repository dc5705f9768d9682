//! From the wish for a socket to an upgraded one. Every step has its deadline in `taut_net`.

use futures::StreamExt as _;
use taut_core::Reason;
use taut_core::config::SlackConfig;
use taut_net::slack::{OpenClass, OpenError, TicketUrl};
use taut_net::ws::{self, UpgradeError, WebSocket, WsLimits};

use super::{Link, Order};
use crate::pure::line::{Event, Refusal, RefusalClass};
use crate::shared::Shared;

/// Opens the socket; `None` if that failed, which has been reported, or if the line changed its mind.
pub(super) async fn open(shared: &Shared, link: &mut Link) -> Option<WebSocket> {
    let url = tokio::select! {
        biased;
        order = link.orders.next() => return give_up(shared, order),
        ticket = ticket(shared, &link.token) => ticket,
    };
    let url = match url {
        Ok((url, socket_mode_off)) => {
            link.event(Event::Opened { socket_mode_off }).await;
            url
        }
        Err(error) => {
            link.event(Event::OpenFailed(refusal(error))).await;
            return None;
        }
    };
    let upgraded = tokio::select! {
        biased;
        order = link.orders.next() => return give_up(shared, order),
        upgraded = ws::connect(&shared.dialer, &url, limits(&shared.config)) => upgraded,
    };
    match upgraded {
        Ok(ws) => {
            link.event(Event::Upgraded).await;
            Some(ws)
        }
        Err(error) => {
            link.event(failure(&error)).await;
            None
        }
    }
}

/// Any order to a socket that is not open yet ends it.
fn give_up(shared: &Shared, order: Option<Order>) -> Option<WebSocket> {
    if let Some(Order::Ack(ack)) = order {
        ack.cut(shared, "its socket never opened");
    }
    None
}

async fn ticket(shared: &Shared, token: &taut_vault::AppToken) -> Result<(TicketUrl, bool), OpenError> {
    shared.gate.pass(&token.fingerprint()).await;
    let opened = shared.api.open_connection(token).await?;
    if let Some(date) = opened.server_date {
        let ours = shared.clock.wall().seconds() as f64;
        shared.metrics.clock_skew.set(ours - date.seconds() as f64);
    }
    Ok((opened.url, opened.socket_mode_off))
}

fn limits(config: &SlackConfig) -> WsLimits {
    WsLimits { frame_bytes_max: config.frame_bytes_max.bytes(), ..WsLimits::default() }
}

fn refusal(error: OpenError) -> Refusal {
    let class = match error.class {
        OpenClass::Park => RefusalClass::Park,
        OpenClass::Wait => RefusalClass::Wait,
        OpenClass::Retry => RefusalClass::Retry,
    };
    Refusal { class, code: error.code, text: error.text, retry_after: error.retry_after }
}

fn failure(error: &UpgradeError) -> Event {
    match error {
        UpgradeError::Refused { status, proxy_like } => {
            Event::UpgradeRefused { status: *status, proxy_like: *proxy_like }
        }
        UpgradeError::Dial(_) | UpgradeError::Timeout { .. } | UpgradeError::Broken { .. } => {
            Event::DialFailed(Reason::new(error.code(), error.to_string()))
        }
    }
}
