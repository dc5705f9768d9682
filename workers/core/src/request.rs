//! The seam between intake, which owns the socket, and delivery, which owns the handlers: one request's answer.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::log::Append;
use crate::{Envelope, Moment, RouteBits, TenantId};

/// A request that intake has read and is storing.
pub struct NewRequest {
    /// Whose it is.
    pub tenant: TenantId,
    /// The request itself.
    pub envelope: Arc<Envelope>,
    /// The route that answers it, as its entry in the log says.
    pub answering: RouteBits,
    /// When its frame was read: the deadline counts from here.
    pub received: Moment,
    /// Resolves when the append is decided. Nothing is acked before it is stored.
    pub stored: BoxFuture<'static, Append>,
}

/// What intake does with the socket once a request is decided.
pub struct Answer {
    /// What to send.
    pub ack: AckChoice,
    /// To be called once with whether the ack was written to a live socket in time. Commits the request.
    pub settle: Option<Box<dyn FnOnce(bool) + Send>>,
}

/// Whether and with what a request is acked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckChoice {
    /// An ack without payload.
    Bare,
    /// An ack with this JSON text, already known to fit.
    Payload(String),
    /// No ack: the user sees Slack's error, and nothing was closed or lost in the form.
    Silent(SilentReason),
}

/// Why a request got no ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SilentReason {
    /// Not durable.
    NotStored,
    /// The handler did not answer in time.
    Late,
    /// The handler answered, but not in a way that acks this kind.
    Refused,
    /// The answer does not fit an ack and has nowhere else to go.
    AnswerTooLarge,
    /// No route wants it.
    Unrouted,
    /// A duplicate whose first copy is closed.
    Closed,
}

impl SilentReason {
    /// The label in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotStored => "not_stored",
            Self::Late => "late",
            Self::Refused => "handler_refused",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Unrouted => "unrouted",
            Self::Closed => "closed",
        }
    }
}

/// Delivery's side: starts the handler at once and resolves by the deadline.
pub trait Requests: Send + Sync + 'static {
    /// Begins one request. A duplicate of one still remembered gets the first one's answer.
    fn begin(&self, request: NewRequest) -> BoxFuture<'static, Answer>;
}
