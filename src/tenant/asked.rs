//! What a tenant's supervisor has been asked for and has not taken up yet.
//!
//! No channel: a channel allocates its first block at once, kilobytes for each of thousands of tenants that nobody
//! gives an order for weeks.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Drain, Order, Wanted};

/// Orders that may wait for one tenant; more are refused.
const ORDERS_MAX: usize = 16;

#[derive(Default)]
struct Asked {
    pending: Mutex<Pending>,
    changed: Notify,
}

#[derive(Default)]
struct Pending {
    orders: VecDeque<Order>,
    drain: Option<Drain>,
    wanted: Option<Box<Wanted>>,
    /// Nobody can ask any more.
    no_asker: bool,
    /// Nobody answers any more.
    no_supervisor: bool,
}

/// The outside's end.
pub(super) struct Asker(Arc<Asked>);

/// The supervisor's end.
pub(super) struct Inbox(Arc<Asked>);

/// What the supervisor takes up next.
pub(super) enum Next {
    Drain(Drain),
    Changed(Box<Wanted>),
    Order(Order),
    /// Nobody can ask any more.
    Gone,
}

/// Both ends.
pub(super) fn asked() -> (Asker, Inbox) {
    let asked = Arc::new(Asked::default());
    (Asker(Arc::clone(&asked)), Inbox(asked))
}

impl Asker {
    /// Leaves an order; false if too many wait, or the supervisor has ended.
    pub(super) fn order(&self, order: Order) -> bool {
        let mut pending = self.0.pending.lock();
        if pending.no_supervisor || pending.orders.len() >= ORDERS_MAX {
            return false;
        }
        pending.orders.push_back(order);
        drop(pending);
        self.0.changed.notify_one();
        true
    }

    /// Asks for the drain, before all orders; false if the supervisor has ended. Asked again, only the latest is
    /// answered.
    pub(super) fn drain(&self, drain: Drain) -> bool {
        let mut pending = self.0.pending.lock();
        if pending.no_supervisor {
            return false;
        }
        pending.drain = Some(drain);
        drop(pending);
        self.0.changed.notify_one();
        true
    }
}

impl Asker {
    /// Leaves another configuration, to be taken up before all orders; false if the supervisor has ended. Of two that
    /// wait, the later counts.
    pub(super) fn change(&self, wanted: Box<Wanted>) -> bool {
        let mut pending = self.0.pending.lock();
        if pending.no_supervisor {
            return false;
        }
        pending.wanted = Some(wanted);
        drop(pending);
        self.0.changed.notify_one();
        true
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.pending.lock().no_asker = true;
        self.0.changed.notify_one();
    }
}

impl Inbox {
    /// Waits for the next. Cancel safe.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.0.changed.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut pending = self.0.pending.lock();
        if let Some(drain) = pending.drain.take() {
            return Some(Next::Drain(drain));
        }
        if let Some(wanted) = pending.wanted.take() {
            return Some(Next::Changed(wanted));
        }
        let order = pending.orders.pop_front().map(Next::Order);
        order.or_else(|| pending.no_asker.then_some(Next::Gone))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut pending = self.0.pending.lock();
        pending.no_supervisor = true;
        let left = (std::mem::take(&mut pending.orders), pending.drain.take(), pending.wanted.take());
        drop(pending);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::TenantOrder;

    fn pause() -> Order {
        Order::Tenant(TenantOrder::Pause)
    }

    fn drain() -> (Drain, tokio::sync::oneshot::Receiver<bool>) {
        let (done, outcome) = tokio::sync::oneshot::channel();
        (Drain { timeout: Duration::ZERO, hurry: CancellationToken::new(), done }, outcome)
    }

    #[tokio::test]
    async fn a_drain_comes_before_the_orders_that_wait() {
        let (asker, inbox) = asked();
        assert!(asker.order(pause()));
        assert!(asker.drain(drain().0));
        assert!(matches!(inbox.next().await, Next::Drain(_)));
        assert!(matches!(inbox.next().await, Next::Order(_)));
        drop(asker);
        assert!(matches!(inbox.next().await, Next::Gone));
    }

    #[test]
    fn orders_are_bounded() {
        let (asker, _inbox) = asked();
        let taken = (0..100).filter(|_| asker.order(pause())).count();
        assert_eq!(taken, ORDERS_MAX);
    }

    #[test]
    fn nothing_waits_for_a_supervisor_that_has_ended() {
        let (asker, inbox) = asked();
        let (wanted, mut outcome) = drain();
        assert!(asker.drain(wanted));
        drop(inbox);
        assert!(outcome.try_recv().is_err(), "its asker hears that nobody answers");
        assert!(!asker.order(pause()));
        assert!(!asker.drain(drain().0));
    }
}
