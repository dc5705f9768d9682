//! The core's traits, answered by the disk store.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use taut_core::log::{
    Append, Backlog, Change, DeadLetter, DeadLetterStats, DeadLetters, DeadLettersError, Entry, Log,
    LogError, NewEntry, QueueLimits, Registry, RouteNumbers, StoreStats, TenantFacts, Wake,
};
use taut_core::{DedupKey, Epoch, RouteBits, RouteName, Seq, TenantId, WallMs};
use tokio::sync::oneshot;

use super::DiskStore;
use crate::inbox::{AppendJob, ChangeJob};
use crate::record::ChangeItem;
use crate::registry;

impl Log for DiskStore {
    fn append(&self, batch: Vec<NewEntry>) -> BoxFuture<'static, Vec<Append>> {
        let shared = &self.handle.shared;
        let entries = batch.len();
        let unavailable = move || vec![Append::Unavailable; entries];
        let Some(first) = batch.first().filter(|_| shared.is_writable()) else {
            return std::future::ready(unavailable()).boxed();
        };
        let (done, answers) = oneshot::channel();
        let job = AppendJob {
            tenant: first.tenant.clone(),
            bytes: batch.iter().map(|entry| entry.frame.len()).sum(),
            entries: batch.into_iter(),
            held_over: None,
            answers: Vec::with_capacity(entries),
            done,
            submitted: shared.clock.now(),
            parked: false,
            ahead: false,
            no_room: None,
        };
        shared.inbox.append(job);
        async move { answers.await.unwrap_or_else(|_| unavailable()) }.boxed()
    }

    fn change(&self, tenant: &TenantId, changes: Vec<Change>) -> BoxFuture<'static, Result<(), LogError>> {
        let shared = &self.handle.shared;
        let mut items = Vec::with_capacity(changes.len());
        let mut index = shared.index.lock();
        items.extend(changes.into_iter().filter(|change| index.apply(tenant, *change)).map(ChangeItem));
        drop(index);
        if items.is_empty() {
            return std::future::ready(Ok(())).boxed();
        }
        let urgent = items.iter().any(|item| matches!(item.0, Change::Release { .. }));
        let (done, answer) = oneshot::channel();
        let writable = shared.is_writable();
        let done = writable.then_some(done);
        shared.inbox.change(ChangeJob { tenant: tenant.clone(), items, done, urgent });
        let shared = shared.clone();
        async move { answer.await.unwrap_or_else(|_| Err(shared.unavailable())) }.boxed()
    }

    fn knows(&self, tenant: &TenantId, dedup: DedupKey) -> Option<Seq> {
        let now = self.handle.shared.clock.wall();
        self.handle.shared.index.lock().knows(tenant, dedup, now)
    }

    fn backlog(&self, tenant: &TenantId, after: Seq, max: usize) -> Vec<Entry> {
        self.handle.shared.index.lock().backlog(tenant, after, max)
    }

    fn read(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError> {
        self.handle.shared.read(tenant, seq)
    }

    fn attempt(&self, tenant: &TenantId, seq: Seq, route: RouteBits, under_way: bool) -> bool {
        let mut index = self.handle.shared.index.lock();
        index.tenants.get_mut(tenant).is_some_and(|part| part.attempt(seq, route, under_way))
    }

    fn subscribe(&self, tenant: &TenantId, wake: Wake) {
        let mut index = self.handle.shared.index.lock();
        let part = index.tenant_mut(tenant);
        part.wake = Some(wake);
        part.no_attempts();
    }

    fn set_limits(&self, tenant: &TenantId, limits: QueueLimits) {
        self.handle.shared.index.lock().tenant_mut(tenant).limits = Some(limits);
    }

    fn stats(&self, tenant: &TenantId) -> Backlog {
        self.handle.shared.index.lock().stats(tenant)
    }

    fn store_stats(&self) -> StoreStats {
        let shared = &self.handle.shared;
        StoreStats {
            disk_bytes: self.handle.storage.bytes() + self.handle.database.bytes(),
            live_bytes: shared.index.lock().live_bytes(),
            writable: shared.is_writable(),
            errors: shared.errors.load(Ordering::Relaxed),
            damaged_ranges: self.handle.damaged_ranges,
        }
    }

    fn epoch(&self) -> Epoch {
        self.handle.epoch
    }

    fn tenants(&self) -> Vec<TenantId> {
        let index = self.handle.shared.index.lock();
        index
            .tenants
            .iter()
            .filter(|(_, part)| part.envelopes > 0)
            .map(|(tenant, _)| tenant.clone())
            .collect()
    }
}

impl DeadLetters for DiskStore {
    fn put(&self, letters: Vec<(DeadLetter, Bytes)>) -> Result<(), DeadLettersError> {
        self.handle.dead_letters.put(letters)
    }

    fn list(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(TenantId, Seq, RouteName)>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        self.handle.dead_letters.list(tenant, after, max)
    }

    fn get(
        &self,
        tenant: &TenantId,
        seq: Seq,
        route: &RouteName,
    ) -> Result<Option<(DeadLetter, Bytes)>, DeadLettersError> {
        self.handle.dead_letters.get(tenant, seq, route)
    }

    fn remove(&self, keys: &[(TenantId, Seq, RouteName)]) -> Result<u64, DeadLettersError> {
        self.handle.dead_letters.remove(keys)
    }

    fn expire(&self, before: WallMs) -> Result<u64, DeadLettersError> {
        self.handle.dead_letters.expire(before)
    }

    fn stats(&self, tenant: &TenantId) -> DeadLetterStats {
        self.handle.dead_letters.stats(tenant)
    }
}

impl Registry for DiskStore {
    fn facts(&self, tenant: &TenantId) -> Result<TenantFacts, String> {
        registry::facts(&self.handle.database, tenant)
    }

    fn save_facts(&self, facts: &[(TenantId, TenantFacts)]) -> Result<(), String> {
        registry::save_facts(&self.handle.database, facts)
    }

    fn route_numbers(&self, tenant: &TenantId, names: &[RouteName]) -> Result<RouteNumbers, String> {
        let carried = self.handle.shared.index.lock().routes_carried(tenant);
        registry::route_numbers(&self.handle.database, tenant, names, carried)
    }

    fn number_routes(&self, tenants: &[(TenantId, Vec<RouteName>)]) -> Result<(), String> {
        let index = &self.handle.shared.index;
        registry::number_routes(&self.handle.database, tenants, |tenant| index.lock().routes_carried(tenant))
    }
}
