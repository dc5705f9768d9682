//! What a line's tasks share.

use std::sync::Arc;

use taut_core::config::SlackConfig;
use taut_core::log::Log;
use taut_core::request::Requests;
use taut_core::{Board, Clock, TenantId};
use taut_net::dial::Dialer;
use taut_net::gate::StartGate;
use taut_net::slack::SlackApi;

use crate::metrics::LineMetrics;
use crate::router::Router;

pub(crate) struct Shared {
    pub(crate) tenant: TenantId,
    pub(crate) api: SlackApi,
    pub(crate) dialer: Dialer,
    pub(crate) gate: Arc<StartGate>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) requests: Arc<dyn Requests>,
    pub(crate) router: Arc<Router>,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<SlackConfig>,
    pub(crate) metrics: LineMetrics,
}
