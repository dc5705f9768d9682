//! The log's contract: what every store engine must do, and what its callers may rely on.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::order::OrderKeys;
use crate::{AppId, DedupKey, Epoch, Kind, RouteBits, RouteName, Seq, TenantId, WallMs};

/// An envelope on its way into the log.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Whose it is.
    pub tenant: TenantId,
    /// The owner's epoch at intake.
    pub epoch: Epoch,
    /// The whole frame as Slack sent it.
    pub frame: Bytes,
    /// What it is.
    pub kind: Kind,
    /// What makes it a duplicate; `None` for a replayed dead letter, which goes past dedup.
    pub dedup: Option<DedupKey>,
    /// Its order keys.
    pub order: OrderKeys,
    /// Routes that get it from the backlog at once.
    pub routes: RouteBits,
    /// The route (at most one) that answers it as a request: held back from the backlog until
    /// [`Change::Release`] or [`Change::Commit`].
    pub answering: RouteBits,
    /// When the frame was read.
    pub received_at: WallMs,
}

/// What became of one appended entry. Only `Stored` and `Duplicate` may be acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "only Stored and Duplicate may be acked"]
pub enum Append {
    /// Durable: it survives what the store's durability setting says. An entry without any route is stored as
    /// its dedup key alone.
    Stored(Seq),
    /// Its dedup key belongs to an entry that is durable; nothing was written.
    Duplicate(Seq),
    /// A limit of the tenant or of the whole store would be passed; nothing was written, no key was left.
    Full(FullReason),
    /// The store cannot make anything durable just now; nothing is promised, no key was left.
    Unavailable,
}

/// Which limit refused an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FullReason {
    /// `queue.envelopes_max` of the tenant.
    Envelopes,
    /// `queue.bytes_max` of the tenant.
    Bytes,
    /// `queue.total_bytes_max`.
    Total,
    /// The oldest entry had to go, but dead letters are at `dead_letters.bytes_max` too.
    DeadLetters,
}

impl FullReason {
    /// The label in `taut_envelopes_refused_total{reason}`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Envelopes => "envelopes_max",
            Self::Bytes => "bytes_max",
            Self::Total => "total_bytes_max",
            Self::DeadLetters => "dead_letters_full",
        }
    }
}

/// How a route's copy of an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Outcome {
    /// The handler took it.
    Delivered = 1,
    /// The handler said that nobody listens.
    Unhandled = 2,
    /// A request that was not acked in time.
    Expired = 3,
    /// Kept for a person.
    DeadLetter = 4,
}

/// A change to stored entries of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// These routes are done with the entry; without any route left the entry goes.
    Commit {
        /// Which entry.
        seq: Seq,
        /// Which routes' copies end.
        routes: RouteBits,
        /// How they ended.
        outcome: Outcome,
    },
    /// The request's bare ack is owed: its answering route's copy joins the backlog.
    Release {
        /// Which entry.
        seq: Seq,
    },
}

/// One entry of a tenant's backlog, as delivery plans with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub seq: Seq,
    /// What it is.
    pub kind: Kind,
    /// Its order keys.
    pub order: OrderKeys,
    /// Routes that still owe its delivery (an unreleased answering route is not among them).
    pub routes: RouteBits,
    /// Size of its frame.
    pub bytes: u32,
    /// When its frame was read.
    pub received_at: WallMs,
}

/// A tenant's share of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Stored, not yet delivered by every route, in envelopes.
    pub envelopes: u64,
    /// The same, in bytes of frames.
    pub bytes: u64,
    /// When the oldest of them was read.
    pub oldest: Option<WallMs>,
}

/// A tenant's limits in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most envelopes in the backlog.
    pub envelopes_max: u64,
    /// Most bytes in the backlog.
    pub bytes_max: u64,
    /// What happens beyond.
    pub overflow: Overflow,
    /// Share of both limits that only requests may use, in percent.
    pub request_reserve_percent: u8,
    /// Most dedup keys remembered.
    pub dedup_entries_max: u32,
}

/// What happens to an envelope that finds its tenant's queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest entry becomes a dead letter (kept, replayable) and makes room.
    #[default]
    DeadLetterOldest,
    /// It is not acked.
    Refuse,
}

/// Why a read or a change failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The entry's stored bytes are damaged: no later read brings them back.
    #[error("envelope {seq} is damaged in the log: {cause}")]
    Read {
        /// Which entry.
        seq: Seq,
        /// The system's words.
        cause: String,
    },
    /// The disk does not do it now; a later try may succeed.
    #[error("the store does not answer now: {cause}")]
    Unavailable {
        /// The system's words.
        cause: String,
    },
}

/// Called after entries of a tenant became deliverable. Must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The log of stored envelopes. One writer groups appends and changes of all tenants into one sync.
///
/// Every method may be called from async code: those that return futures submit at once (dropping the future takes
/// nothing back), the others touch memory or the page cache only.
pub trait Log: Send + Sync + 'static {
    /// Appends a batch; the answers come when its group is durable, one for each entry, in order.
    ///
    /// An entry whose key another entry of an unfinished group holds joins that group's fate.
    fn append(&self, batch: Vec<NewEntry>) -> BoxFuture<'static, Vec<Append>>;

    /// Applies changes; the backlog shows them at once, the answer comes when they are durable.
    fn change(&self, tenant: &TenantId, changes: Vec<Change>) -> BoxFuture<'static, Result<(), LogError>>;

    /// Whether this key belongs to a durable entry still in the dedup window.
    fn knows(&self, tenant: &TenantId, dedup: DedupKey) -> Option<Seq>;

    /// Up to `max` entries after `after`, in order, that still have routes to deliver to.
    fn backlog(&self, tenant: &TenantId, after: Seq, max: usize) -> Vec<Entry>;

    /// An entry's frame; `None` if it is no longer stored.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the disk fails, [`LogError::Read`] if the bytes are damaged.
    fn read(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError>;

    /// Says that an attempt of this entry for this route begins, or with `under_way` false that it ended and the entry
    /// stays: a full queue lets no entry go whose attempt is under way, so that none ends twice. A commit ends it too.
    ///
    /// False if the entry is on its way out: no attempt may begin.
    fn attempt(&self, _tenant: &TenantId, _seq: Seq, _route: RouteBits, _under_way: bool) -> bool {
        true
    }

    /// Has `wake` called after each group that made entries of this tenant deliverable; replaces an earlier one.
    /// No attempt of an earlier subscriber counts as under way any more.
    fn subscribe(&self, tenant: &TenantId, wake: Wake);

    /// Registers a tenant or changes its limits. Lower limits shed nothing by themselves.
    fn set_limits(&self, tenant: &TenantId, limits: QueueLimits);

    /// A tenant's backlog in numbers.
    fn stats(&self, tenant: &TenantId) -> Backlog;

    /// The store in numbers.
    fn store_stats(&self) -> StoreStats;

    /// The epoch this opening of the store has given out.
    fn epoch(&self) -> Epoch;

    /// Tenants with a backlog, whether configured or not.
    fn tenants(&self) -> Vec<TenantId>;
}

/// The store in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StoreStats {
    /// Bytes on disk, segments and database.
    pub disk_bytes: u64,
    /// Bytes of live records.
    pub live_bytes: u64,
    /// Whether appends can become durable now.
    pub writable: bool,
    /// Failed syncs and writes since start.
    pub errors: u64,
    /// Ranges set aside as damaged at the last recovery.
    pub damaged_ranges: u64,
}

/// Why something became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The handler refused it (a 4xx, or it asked for no retry).
    Poison,
    /// `delivery.attempts_max` reached.
    AttemptsMax,
    /// `delivery.age_max` reached.
    AgeMax,
    /// Its queue was full and it was the oldest.
    Overflow,
    /// Its route is no longer configured.
    RouteRemoved,
    /// Its stored bytes could not be read.
    Damaged,
}

impl DeadReason {
    /// The name in logs and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::AttemptsMax => "attempts_max",
            Self::AgeMax => "age_max",
            Self::Overflow => "overflow",
            Self::RouteRemoved => "route_removed",
            Self::Damaged => "damaged",
        }
    }
}

/// What one attempt came to, kept with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptNote {
    /// When it ended.
    pub at: WallMs,
    /// Its verdict in a few words, e.g. `status 500`. Never a payload.
    pub what: String,
}

/// An envelope that taut has given up on for one route and keeps for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its place in the log; with the route its identity.
    pub seq: Seq,
    /// The route that failed.
    pub route: RouteName,
    /// What it is.
    pub kind: Kind,
    /// Why it died.
    pub reason: DeadReason,
    /// When its frame was read.
    pub received_at: WallMs,
    /// When it died.
    pub died_at: WallMs,
    /// The last attempts, oldest first, at most [`ATTEMPT_NOTES_MAX`].
    pub attempts: Vec<AttemptNote>,
    /// Size of its frame.
    pub bytes: u32,
}

/// Most attempts whose reasons are kept.
pub const ATTEMPT_NOTES_MAX: usize = 20;

/// Why the dead letters could not be changed or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadLettersError {
    /// `dead_letters.bytes_max` is reached.
    #[error("dead letters are full: replay or drop some, or raise dead_letters.bytes_max")]
    Full,
    /// The database failed.
    #[error("the dead letters' database failed: {cause}")]
    Failed {
        /// The database's words.
        cause: String,
    },
}

/// Counts of a tenant's dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DeadLetterStats {
    /// How many.
    pub count: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// The dead letters. Putting one in is durable when the call returns; call it off the async threads.
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps these; putting the same one again changes nothing.
    ///
    /// # Errors
    /// [`DeadLettersError::Full`] (none was kept) or [`DeadLettersError::Failed`].
    fn put(&self, letters: Vec<(DeadLetter, Bytes)>) -> Result<(), DeadLettersError>;

    /// Up to `max` dead letters after `after`, in order of (tenant, seq, route); of one tenant if given.
    ///
    /// # Errors
    /// [`DeadLettersError::Failed`].
    fn list(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(TenantId, Seq, RouteName)>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, DeadLettersError>;

    /// One dead letter with its frame.
    ///
    /// # Errors
    /// [`DeadLettersError::Failed`].
    fn get(
        &self,
        tenant: &TenantId,
        seq: Seq,
        route: &RouteName,
    ) -> Result<Option<(DeadLetter, Bytes)>, DeadLettersError>;

    /// Removes these (after a replay, a drop or a purge) and says how many were there.
    ///
    /// # Errors
    /// [`DeadLettersError::Failed`].
    fn remove(&self, keys: &[(TenantId, Seq, RouteName)]) -> Result<u64, DeadLettersError>;

    /// Removes what died before `before` and says how many.
    ///
    /// # Errors
    /// [`DeadLettersError::Failed`].
    fn expire(&self, before: WallMs) -> Result<u64, DeadLettersError>;

    /// Counts for one tenant.
    fn stats(&self, tenant: &TenantId) -> DeadLetterStats;
}

/// What the store remembers of a tenant between starts, besides envelopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantFacts {
    /// The app id learnt from the first hello, pinned.
    pub app_id: Option<AppId>,
    /// When the last frame was read from a live socket; saved each minute.
    pub last_frame_at: Option<WallMs>,
    /// Whether the tenant was meant to be connected then (a pause or park is no deafness).
    pub wanted: bool,
    /// Whether an operator has paused it by command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Routes that an operator has paused one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused_routes: Vec<RouteName>,
}

/// Small facts about tenants that outlive the process, and the numbers of their routes.
pub trait Registry: Send + Sync + 'static {
    /// A tenant's facts; the default for one never seen.
    ///
    /// # Errors
    /// The database's words.
    fn facts(&self, tenant: &TenantId) -> Result<TenantFacts, String>;

    /// Saves facts of several tenants at once.
    ///
    /// # Errors
    /// The database's words.
    fn save_facts(&self, facts: &[(TenantId, TenantFacts)]) -> Result<(), String>;

    /// Gives each named route its number (stable over restarts; a number is reused only when no stored entry
    /// carries it) and tells which numbers belong to routes that are no longer named.
    ///
    /// # Errors
    /// The database's words; also when more than 64 numbers would be in use.
    fn route_numbers(&self, tenant: &TenantId, names: &[RouteName]) -> Result<RouteNumbers, String>;

    /// Gives the routes of many tenants their numbers at once, so that a first start syncs once and not for each
    /// tenant. [`Registry::route_numbers`] tells them; a tenant that cannot be given its numbers hears so there.
    ///
    /// # Errors
    /// If the registry could not be read or written; nothing was given.
    fn number_routes(&self, tenants: &[(TenantId, Vec<RouteName>)]) -> Result<(), String>;
}

/// Numbers of a tenant's routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteNumbers {
    /// A number for each named route, in the order asked.
    pub current: Vec<u8>,
    /// Numbers whose route is gone, with the name it had.
    pub removed: Vec<(u8, RouteName)>,
}
