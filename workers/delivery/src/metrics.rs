//! Delivery's metrics of the whole worker. What is per tenant stands on the tenant's board.

use metrics::{Histogram, histogram};
use taut_core::metric::DELIVERY_LATENCY;

/// Handles to the worker's delivery metrics: make them once, after the recorder is installed; cheap to clone.
#[derive(Clone)]
pub struct DeliveryMetrics {
    /// From reading an event to the handler's successful answer, in seconds.
    pub(crate) delivery_latency: Histogram,
}

impl DeliveryMetrics {
    /// Takes the handles from the installed recorder (without one they do nothing).
    pub fn new() -> Self {
        Self { delivery_latency: histogram!(DELIVERY_LATENCY.name) }
    }
}

impl Default for DeliveryMetrics {
    fn default() -> Self {
        Self::new()
    }
}
