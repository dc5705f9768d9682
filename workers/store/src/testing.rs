//! What tests of any store engine need: a clock turned by hand, and entries in one line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use taut_core::log::{DeadLetters, Log, NewEntry, Registry};
use taut_core::order::OrderKeys;
use taut_core::{Clock, DedupKey, Epoch, Kind, Moment, RouteBits, TenantId, WallMs};

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicU64::new(1_700_000_000_000))
    }
}

impl ManualClock {
    /// Turns it forward.
    pub fn advance(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).expect("tests turn the clock by less than ages");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst) * 1_000_000)
    }

    fn wall(&self) -> WallMs {
        WallMs(self.0.load(Ordering::SeqCst))
    }
}

/// Bounds of the store under test.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// `queue.total_bytes_max`.
    pub total_bytes_max: u64,
    /// `dead_letters.bytes_max`.
    pub dead_letters_bytes_max: u64,
    /// `queue.dedup_window`.
    pub dedup_window: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            total_bytes_max: 1 << 30,
            dead_letters_bytes_max: 1 << 20,
            dedup_window: Duration::new(15 * 60, 0),
        }
    }
}

/// A store that was opened.
pub struct Opened {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The dead letters.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Tenants' facts.
    pub registry: Arc<dyn Registry>,
    /// Closes it properly.
    pub close: Box<dyn FnOnce()>,
}

/// Something that opens the same store again and again.
pub trait Engine {
    /// Opens it; an earlier opening has been closed.
    fn open(&self, bounds: Bounds) -> Opened;
    /// The clock it reads.
    fn clock(&self) -> Arc<ManualClock>;
}

/// A tenant by name.
pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("tests use proper names")
}

/// An event of a tenant for route 0, with a key made from `text`; the frame is the text.
pub fn event(tenant_name: &str, text: &str, at: WallMs) -> NewEntry {
    NewEntry {
        tenant: tenant(tenant_name),
        epoch: Epoch(1),
        frame: Bytes::copy_from_slice(text.as_bytes()),
        kind: Kind::EventsApi,
        dedup: Some(DedupKey::of(text)),
        order: OrderKeys { channel: 1, thread: 2 },
        routes: RouteBits::one(0),
        answering: RouteBits::NONE,
        received_at: at,
    }
}

/// A slash command of a tenant that route 0 answers.
pub fn request(tenant_name: &str, text: &str, at: WallMs) -> NewEntry {
    NewEntry {
        kind: Kind::SlashCommands,
        routes: RouteBits::NONE,
        answering: RouteBits::one(0),
        ..event(tenant_name, text, at)
    }
}
