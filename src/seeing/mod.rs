//! How operators see a worker: metrics, health and status, all read from the tenants' boards and the store.

pub mod health;
pub mod histograms;
pub mod page;
mod process;
pub mod reference;
pub mod server;
pub mod status;

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use taut_core::log::{Backlog, DeadLetters, Log};
use taut_core::{Board, Clock, TenantId};

use crate::reload::ConfigStatus;

/// What every view reads. Cheap to clone.
#[derive(Clone)]
pub struct Seen {
    boards: Arc<RwLock<Vec<Arc<Board>>>>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The dead letters.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How the worker stands to its files.
    pub config: Arc<Mutex<ConfigStatus>>,
    /// Facts that do not change while the worker runs.
    pub about: Arc<About>,
}

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// The worker's name.
    pub worker: String,
    /// The store's durability setting in one word, for `taut_build_info`.
    pub durability_word: &'static str,
    /// What an ack survives, in words.
    pub durability: &'static str,
    /// The store's directory.
    pub store_path: String,
    /// What recovery found at start, for `taut status`.
    pub recovery: String,
}

impl Seen {
    /// A view of no tenants yet.
    pub fn new(
        log: Arc<dyn Log>,
        dead_letters: Arc<dyn DeadLetters>,
        clock: Arc<dyn Clock>,
        about: About,
    ) -> Self {
        Self {
            boards: Arc::default(),
            log,
            dead_letters,
            clock,
            config: Arc::default(),
            about: Arc::new(about),
        }
    }

    /// Adds a tenant's board.
    pub fn add(&self, board: Arc<Board>) {
        self.boards.write().push(board);
    }

    /// Takes a tenant's board away.
    pub fn remove(&self, tenant: &TenantId) {
        self.boards.write().retain(|board| board.tenant != *tenant);
    }

    /// Tenants that are not configured and have acked envelopes in the log all the same, with how much.
    pub fn unconfigured(&self) -> Vec<(TenantId, Backlog)> {
        let boards = self.boards();
        let configured: HashSet<&TenantId> = boards.iter().map(|board| &board.tenant).collect();
        let mut left: Vec<_> = self
            .log
            .tenants()
            .into_iter()
            .filter(|tenant| !configured.contains(tenant))
            .map(|tenant| (tenant.clone(), self.log.stats(&tenant)))
            .filter(|(_, backlog)| backlog.envelopes > 0)
            .collect();
        left.sort_by(|(one, _), (other, _)| one.cmp(other));
        left
    }

    /// All boards, in the order the tenants were added.
    pub fn boards(&self) -> Vec<Arc<Board>> {
        self.boards.read().clone()
    }

    /// One tenant's board.
    pub fn board(&self, tenant: &TenantId) -> Option<Arc<Board>> {
        self.boards.read().iter().find(|board| board.tenant == *tenant).cloned()
    }
}
