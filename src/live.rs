//! The configuration in force: one pointer that a reload replaces and everybody else reads when they need it.

use std::sync::Arc;

use parking_lot::RwLock;
use taut_core::config::Config;
use taut_core::log::QueueLimits;

/// The configuration in force. Cheap to clone; all clones see a replacement.
///
/// Keys that a running worker cannot change keep the value it started with, whatever the files say.
#[derive(Debug, Clone)]
pub struct Live(Arc<RwLock<Arc<Config>>>);

impl Live {
    /// What a worker starts with.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// The configuration as of now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.read())
    }

    /// Puts another one in force.
    pub fn replace(&self, config: Config) {
        *self.0.write() = Arc::new(config);
    }

    /// The limits of each tenant's queue as of now.
    pub fn limits(&self) -> QueueLimits {
        limits(&self.config())
    }
}

/// The limits of each tenant's queue.
pub fn limits(config: &Config) -> QueueLimits {
    QueueLimits {
        envelopes_max: config.queue.envelopes_max,
        bytes_max: config.queue.bytes_max.0,
        overflow: config.queue.overflow,
        request_reserve_percent: config.queue.request_reserve_percent,
        dedup_entries_max: config.queue.dedup_entries_max,
    }
}
