//! Which of the waiting batches go into the next group when they do not all fit. Pure.
//!
//! The oldest goes first, so that every batch's turn comes; then those go that have the least of their own tenant's
//! bytes before them. Whoever brings much waits behind whoever brings little, and waits for himself only.

use std::collections::VecDeque;

use taut_core::TenantId;

use crate::hash::Map;

/// What the choice looks at.
pub(crate) trait Batch {
    fn tenant(&self) -> &TenantId;
    fn bytes(&self) -> usize;
    fn entries(&self) -> usize;
}

/// Takes batches out of `waiting` until a group is full: the one that passes a bound still goes, and is cut by the
/// group. Batches of one tenant keep their order, and what stays keeps its.
pub(crate) fn take_group<B: Batch>(
    waiting: &mut VecDeque<B>,
    bytes_max: usize,
    entries_max: usize,
) -> VecDeque<B> {
    let order = fair_order(waiting);
    let mut goes = vec![false; waiting.len()];
    let (mut bytes, mut entries) = (0, 0);
    for at in order {
        if bytes >= bytes_max || entries >= entries_max {
            break;
        }
        goes[at] = true;
        bytes += waiting[at].bytes();
        entries += waiting[at].entries();
    }
    let mut goes = goes.into_iter();
    let (taken, stays): (VecDeque<B>, VecDeque<B>) =
        std::mem::take(waiting).into_iter().partition(|_| goes.next().unwrap_or(false));
    *waiting = stays;
    taken
}

/// Places in `waiting`, the fairest first.
fn fair_order<B: Batch>(waiting: &VecDeque<B>) -> Vec<usize> {
    let mut sums: Map<&TenantId, usize> = Map::default();
    let keys: Vec<usize> = waiting
        .iter()
        .map(|batch| {
            let sum = sums.entry(batch.tenant()).or_default();
            *sum += batch.bytes();
            *sum
        })
        .collect();
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    // Stable: equals keep the order they came in. Sums grow, so batches of one tenant do too.
    order.sort_by_key(|at| if *at == 0 { 0 } else { keys[*at] });
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Job(TenantId, usize, u32);

    impl Batch for Job {
        fn tenant(&self) -> &TenantId {
            &self.0
        }

        fn bytes(&self) -> usize {
            self.1
        }

        fn entries(&self) -> usize {
            1
        }
    }

    fn job(tenant: u8, bytes: usize, number: u32) -> Job {
        Job(TenantId::new(&format!("t{tenant}")).unwrap(), bytes, number)
    }

    #[test]
    fn who_brings_little_does_not_wait_for_who_brings_much() {
        let mut waiting: VecDeque<_> = (0..100).map(|number| job(1, 100, number)).collect();
        waiting.push_back(job(2, 10, 100));
        waiting.push_back(job(3, 10, 101));
        let taken = take_group(&mut waiting, 300, usize::MAX);
        let numbers: Vec<_> = taken.iter().map(|job| job.2).collect();
        assert_eq!(numbers, [0, 1, 2, 100, 101]);
        assert_eq!(waiting.front().unwrap().2, 3);
    }

    #[test]
    fn the_oldest_goes_however_large_it_is() {
        let mut waiting: VecDeque<_> = [job(1, 1_000_000, 0), job(2, 1, 1)].into();
        let taken = take_group(&mut waiting, 100, usize::MAX);
        assert_eq!(taken.len(), 1);
        assert_eq!(waiting.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_tenants_order_holds(
            sizes in proptest::collection::vec((0_u8..4, 0_usize..50), 0..60),
            bytes_max in 1_usize..200,
            entries_max in 1_usize..20,
        ) {
            let jobs = sizes.iter().zip(0..);
            let mut waiting: VecDeque<_> = jobs.map(|((tenant, bytes), n)| job(*tenant, *bytes, n)).collect();
            let mut left = waiting.len();
            let mut last: Map<TenantId, u32> = Map::default();
            while left > 0 {
                let oldest = waiting.front().unwrap().2;
                let taken = take_group(&mut waiting, bytes_max, entries_max);
                prop_assert!(taken.iter().any(|job| job.2 == oldest), "the oldest waited");
                prop_assert!(taken.len() <= entries_max);
                prop_assert_eq!(waiting.len() + taken.len(), left);
                left = waiting.len();
                for job in taken {
                    let before = last.insert(job.0.clone(), job.2);
                    prop_assert!(before.is_none_or(|before| before < job.2));
                }
            }
        }
    }
}
