//! The worker's histograms, fetched once and shared by all lines.

use metrics::{Gauge, Histogram, gauge, histogram};
use taut_core::metric;

/// Handles of the worker's metrics that lines record into. Make one per worker, after the recorder is installed.
#[derive(Clone)]
pub struct LineMetrics {
    pub(crate) ack_latency: Histogram,
    pub(crate) answer_latency: Histogram,
    pub(crate) event_delay: Histogram,
    pub(crate) clock_skew: Gauge,
}

impl LineMetrics {
    /// Fetches the handles.
    pub fn new() -> Self {
        Self {
            ack_latency: histogram!(metric::ACK_LATENCY.name),
            answer_latency: histogram!(metric::ANSWER_LATENCY.name),
            event_delay: histogram!(metric::EVENT_DELAY.name),
            clock_skew: gauge!(metric::CLOCK_SKEW.name),
        }
    }
}

impl Default for LineMetrics {
    fn default() -> Self {
        Self::new()
    }
}
