//! `/livez` and `/readyz`: whether the process answers, and whether it does its work.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use taut_core::Board;

use super::Seen;

/// A tenant that has tried for so long without an answer from Slack has had its outcome, if others had theirs: one
/// tenant's trouble must not keep a worker that does its work from being ready.
const TRIED_MAX: Duration = Duration::from_mins(1);

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether the store works and every tenant had a first outcome.
    pub ready: bool,
    /// What is missing, each with its part.
    pub reasons: Vec<NotReady>,
}

/// One reason for not being ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReady {
    /// `store`, `tenants` or `drain`.
    pub part: String,
    /// What is the matter.
    pub text: String,
}

impl Readiness {
    /// Judges the worker: the store must be writable, and every tenant must have had its first outcome: a hello, a
    /// lasting refusal, or a minute of trying while others had one. Where no tenant at all reaches Slack, the fault is
    /// this worker's or its network's, and it is not ready.
    pub fn of(seen: &Seen, draining: bool) -> Self {
        let mut reasons = Vec::new();
        if draining {
            reasons.push(NotReady { part: "drain".into(), text: "the worker is draining".into() });
        }
        if !seen.log.store_stats().writable {
            let text = "the store cannot write: nothing is acked until it can".into();
            reasons.push(NotReady { part: "store".into(), text });
        }
        let now = seen.clock.now();
        let first = |board: &Arc<Board>| {
            let status = board.status();
            let tried = status.trying_since.map(|since| now.since(since));
            First { tenant: board.tenant.to_string(), settled: status.settled, tried }
        };
        let tenants: Vec<_> = seen.boards().iter().map(first).collect();
        reasons.extend(without_outcome(&tenants));
        Self { ready: reasons.is_empty(), reasons }
    }

    /// The judgement in one line.
    pub fn sentence(&self) -> String {
        if self.ready {
            return "ready".into();
        }
        let reasons: Vec<_> = self.reasons.iter().map(|reason| reason.text.as_str()).collect();
        format!("not ready: {}", reasons.join("; "))
    }
}

/// How far a tenant has come since the start.
struct First {
    tenant: String,
    settled: bool,
    /// For how long a first hello is tried for.
    tried: Option<Duration>,
}

fn without_outcome(tenants: &[First]) -> Option<NotReady> {
    let some_settled = tenants.iter().any(|tenant| tenant.settled);
    let unreachable = |tenant: &First| some_settled && tenant.tried.is_some_and(|tried| tried >= TRIED_MAX);
    let waiting: Vec<_> =
        tenants.iter().filter(|tenant| !tenant.settled && !unreachable(tenant)).map(|t| &*t.tenant).collect();
    if waiting.is_empty() {
        return None;
    }
    let names = waiting.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let text =
        format!("{} of {} tenants wait for their first outcome: {names}", waiting.len(), tenants.len());
    Some(NotReady { part: "tenants".into(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(tenant: &str, settled: bool, tried: Option<u64>) -> First {
        First { tenant: tenant.into(), settled, tried: tried.map(Duration::from_secs) }
    }

    fn waiting(tenants: &[First]) -> Option<String> {
        without_outcome(tenants).map(|reason| reason.text)
    }

    #[test]
    fn one_tenant_that_never_reaches_slack_holds_readiness_up_for_a_minute_and_no_longer() {
        let after = |secs| waiting(&[first("acme", true, Some(secs)), first("globex", false, Some(secs))]);
        assert_eq!(after(59).as_deref(), Some("1 of 2 tenants wait for their first outcome: globex"));
        assert_eq!(after(60), None);
    }

    #[test]
    fn a_worker_none_of_whose_tenants_reaches_slack_is_never_ready() {
        assert!(waiting(&[first("acme", false, Some(3600)), first("globex", false, Some(3600))]).is_some());
        assert!(
            waiting(&[first("acme", true, None), first("globex", false, None)]).is_some(),
            "not even tried"
        );
        assert_eq!(waiting(&[]), None);
    }
}
