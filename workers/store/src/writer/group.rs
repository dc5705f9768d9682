//! A group: what is made durable with one sync.

use taut_core::TenantId;
use taut_core::log::Append;

use crate::admit::{Item, Plan};
use crate::compact::Moved;
use crate::inbox::{AppendJob, ChangeJob};
use crate::index::Slot;
use crate::record::{ChangeItem, KeyItem};

/// A group on its way.
pub(super) struct Group {
    pub(super) plan: Plan,
    pub(super) jobs: Vec<AppendJob>,
    pub(super) changes: Vec<ChangeJob>,
    /// What is written of changes, all of it true in the index: those owed and those that came.
    pub(super) items: Vec<(TenantId, ChangeItem)>,
    /// Keys that were owed.
    pub(super) keys: Vec<(TenantId, KeyItem)>,
    pub(super) moved: Vec<Moved>,
}

impl Group {
    pub(super) fn answer_stored(&mut self) {
        for item in &self.plan.items {
            self.jobs[item.answer.job].answers[item.answer.entry] = Append::Stored(item.seq);
        }
        for (item, at) in &self.plan.joins {
            self.jobs[at.job].answers[at.entry] = Append::Duplicate(self.plan.items[*item].seq);
        }
    }
}

/// How the index will know the item.
pub(super) fn slot_of(item: &Item) -> Slot {
    let entry = &item.entry;
    Slot {
        seq: item.seq,
        received_at: entry.received_at,
        order: entry.order,
        routes: entry.routes,
        held: entry.answering,
        under_way: taut_core::RouteBits::NONE,
        place: item.place,
        bytes: u32::try_from(entry.frame.len()).expect("frames are far below 4 GiB"),
        kind: entry.kind,
        request: !entry.answering.is_empty(),
        damaged: false,
        leaving: false,
    }
}
