//! What the handler has received.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::verify::Signature;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct EchoRequest {
    /// Time since the handler started.
    pub at: Duration,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The event type, the interactive type, `slash_commands`, or what else the body turned out to be.
    pub kind: String,
    /// The `event_id`, else the `Idempotency-Key`, else empty.
    pub key: Arc<str>,
    pub verified: bool,
    /// The status answered; 0 when no answer was given.
    pub status: u16,
}

impl EchoRequest {
    /// A header's text, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Exact counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EchoTotals {
    /// Requests that began, those included whose client did not wait for the answer.
    pub requests: u64,
    /// Requests with a good signature.
    pub verified: u64,
    /// Requests refused with 401.
    pub refused: u64,
    /// Requests answered 200.
    pub answered: u64,
    /// Requests that met an outage.
    pub failed: u64,
    /// Different keys answered 200.
    pub keys: u64,
    /// 200s to a key that had one before.
    pub repeats: u64,
    /// 200s whose key was not remembered, for lack of a key or of room.
    pub untold: u64,
    /// Requests being answered at this moment, and the most there ever were.
    pub in_flight: u64,
    pub in_flight_peak: u64,
}

#[derive(Debug)]
pub(super) struct Log {
    requests: VecDeque<EchoRequest>,
    requests_max: usize,
    keys: HashMap<Arc<str>, u32>,
    keys_max: usize,
    totals: EchoTotals,
}

impl Log {
    pub(super) fn new(requests_max: usize, keys_max: usize) -> Self {
        let totals = EchoTotals::default();
        Self { requests: VecDeque::new(), requests_max, keys: HashMap::new(), keys_max, totals }
    }

    pub(super) fn requests(&self) -> Vec<EchoRequest> {
        self.requests.iter().cloned().collect()
    }

    pub(super) fn take_requests(&mut self) -> Vec<EchoRequest> {
        self.requests.drain(..).collect()
    }

    pub(super) const fn totals(&self) -> EchoTotals {
        self.totals
    }

    pub(super) fn answered(&self, key: &str) -> u32 {
        self.keys.get(key).copied().unwrap_or(0)
    }

    pub(super) fn keys(&self) -> Vec<(Arc<str>, u32)> {
        self.keys.iter().map(|(key, count)| (key.clone(), *count)).collect()
    }

    pub(super) fn began(&mut self) {
        self.totals.requests += 1;
        self.totals.in_flight += 1;
        self.totals.in_flight_peak = self.totals.in_flight_peak.max(self.totals.in_flight);
    }

    /// The request is over, with or without an answer.
    pub(super) const fn ended(&mut self) {
        self.totals.in_flight = self.totals.in_flight.saturating_sub(1);
    }

    pub(super) fn add(&mut self, request: EchoRequest, signature: Option<Signature>, in_outage: bool) {
        let totals = &mut self.totals;
        totals.verified += u64::from(signature == Some(Signature::Good));
        totals.refused += u64::from(request.status == 401);
        totals.failed += u64::from(in_outage);
        if request.status == 200 {
            totals.answered += 1;
            if let Some(count) = self.keys.get_mut(&request.key) {
                *count += 1;
                totals.repeats += 1;
            } else if request.key.is_empty() || self.keys.len() >= self.keys_max {
                totals.untold += 1;
            } else {
                totals.keys += 1;
                self.keys.insert(request.key.clone(), 1);
            }
        }
        if self.requests_max == 0 {
            return;
        }
        if self.requests.len() >= self.requests_max {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}
