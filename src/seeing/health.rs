//! `/livez` and `/readyz`: whether the process answers, and whether it does its work.

use serde::{Deserialize, Serialize};

use super::Seen;

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
    /// Judges the worker: the store must be writable, and every tenant must have had a hello or a lasting refusal.
    pub fn of(seen: &Seen, draining: bool) -> Self {
        let mut reasons = Vec::new();
        if draining {
            reasons.push(NotReady { part: "drain".into(), text: "the worker is draining".into() });
        }
        if !seen.log.store_stats().writable {
            let text = "the store cannot write: nothing is acked until it can".into();
            reasons.push(NotReady { part: "store".into(), text });
        }
        let boards = seen.boards();
        let unsettled: Vec<_> = boards
            .iter()
            .filter(|board| !board.status().settled)
            .map(|board| board.tenant.as_str())
            .collect();
        if !unsettled.is_empty() {
            let names = unsettled.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let text = format!(
                "{} of {} tenants wait for their first outcome: {names}",
                unsettled.len(),
                boards.len()
            );
            reasons.push(NotReady { part: "tenants".into(), text });
        }
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
