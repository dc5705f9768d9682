//! The store's metrics, with handles held from the start.

use metrics::{Counter, Histogram};
use taut_core::metric::{STORE_ERRORS, STORE_LATENCY};

/// Handles of `taut_store_latency_seconds{op}` and `taut_store_errors_total{op}`.
pub(crate) struct Meters {
    /// From handing an append to the store until its group is answered; one sample for a group.
    pub append: Histogram,
    pub sync: Histogram,
    pub read: Histogram,
    pub dead_letter: Histogram,
    pub append_errors: Counter,
    pub read_errors: Counter,
    pub dead_letter_errors: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let latency = |op: &'static str| metrics::histogram!(STORE_LATENCY.name, "op" => op);
        let errors = |op: &'static str| metrics::counter!(STORE_ERRORS.name, "op" => op);
        Self {
            append: latency("append"),
            sync: latency("sync"),
            read: latency("read"),
            dead_letter: latency("dead_letter"),
            append_errors: errors("append"),
            read_errors: errors("read"),
            dead_letter_errors: errors("dead_letter"),
        }
    }
}
