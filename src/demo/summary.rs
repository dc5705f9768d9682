//! The reckoning: what the simulated Slack saw acked against what the handlers saw delivered.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use taut_sim::{End, SentEnvelope};

use super::plan::Seen;
use super::stage::Stage;
use super::view::{millis, percentile};

/// One tenant's reckoning.
struct Line {
    tenant: String,
    produced: usize,
    acked: usize,
    delivered: usize,
    unacked: usize,
    /// Acked by the journal, never seen by the handler.
    lost: Vec<Arc<str>>,
    forged: u64,
}

/// The whole reckoning.
pub(super) struct Summary<'a> {
    lines: Vec<Line>,
    acks: Vec<Duration>,
    seen: &'a Seen,
}

impl<'a> Summary<'a> {
    pub(super) fn of(stage: &Stage, seen: &'a Seen) -> Self {
        let mut acks = Vec::new();
        let mut lines = Vec::new();
        for tenant in &stage.tenants {
            let events = stage.events(tenant);
            let produced: BTreeSet<Arc<str>> =
                events.iter().map(|event| Arc::clone(&event.dedup_id)).collect();
            let is_acked = |event: &&SentEnvelope| matches!(event.end, End::Acked(_));
            let acked: BTreeSet<_> =
                events.iter().filter(is_acked).map(|event| Arc::clone(&event.dedup_id)).collect();
            let delivered = tenant.delivered();
            acks.extend(stage.event_acks(tenant));
            lines.push(Line {
                tenant: tenant.id.clone(),
                produced: produced.len(),
                acked: acked.len(),
                delivered: acked.intersection(&delivered).count(),
                unacked: produced.len() - acked.len(),
                lost: acked.difference(&delivered).map(Arc::clone).collect(),
                forged: tenant.forged(),
            });
        }
        acks.sort_unstable();
        Self { lines, acks, seen }
    }

    /// Whether nothing acked was lost, and everything the demo set out to show was shown.
    pub(super) fn is_whole(&self) -> bool {
        let trips = &self.seen.round_trips;
        self.lines.iter().all(|line| line.lost.is_empty() && line.forged == 0 && line.unacked == 0)
            && trips
                .iter()
                .all(|trip| trip.after.is_some() && (!trip.wants_payload || trip.payload.is_some()))
            && self.is_counted()
            && self.seen.settled
            && self.seen.drained
    }

    /// Whether the journal still knows every event that was sent, and there were some: what it forgot is reconciled
    /// with nothing.
    fn is_counted(&self) -> bool {
        let produced: usize = self.lines.iter().map(|line| line.produced).sum();
        produced > 0 && produced as u64 == self.seen.pushed
    }

    /// The summary for a person.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).and_then(|()| text.write_char('\n')).expect("a String takes every write");
        };
        line(format_args!("\nRequests, one of each kind (simulated Slack → handler → ack):"));
        for trip in &self.seen.round_trips {
            let payload = trip.payload.as_deref().unwrap_or("(bare)");
            let shown: String = payload.chars().take(60).collect();
            line(format_args!("  {:<20} {:>9}  {shown}", trip.kind, millis(trip.after)));
        }
        line(format_args!(
            "\n{:<12} {:>8} {:>8} {:>10} {:>8} {:>6}",
            "events of", "sent", "acked", "delivered", "unacked", "LOST"
        ));
        for l in &self.lines {
            line(format_args!(
                "{:<12} {:>8} {:>8} {:>10} {:>8} {:>6}",
                l.tenant,
                l.produced,
                l.acked,
                l.delivered,
                l.unacked,
                l.lost.len()
            ));
        }
        let (p50, p90) = (percentile(&self.acks, 50), percentile(&self.acks, 90));
        line(format_args!("\nevent acks    p50 {}, p90 {} (stored on disk first)", millis(p50), millis(p90)));
        let seen = self.seen;
        line(format_args!(
            "refresh       {} connections, {:.3} s deaf",
            seen.refreshed, seen.deaf_by_refresh
        ));
        line(format_args!("outage        {} envelopes waited on disk", seen.backlog_at_outage));
        if let Some((first, last)) = seen.restart {
            line(format_args!("kill -9       first tenant back after {first:.2?}, all after {last:.2?}"));
        }
        let stop = if seen.drained { "exit 0" } else { "CUT SHORT" };
        line(format_args!("SIGTERM       drained in {:.2?}, {stop}", seen.drain_took));
        line(format_args!("\n{}", self.verdict()));
        text
    }

    fn verdict(&self) -> String {
        let lost: usize = self.lines.iter().map(|line| line.lost.len()).sum();
        let acked: usize = self.lines.iter().map(|line| line.acked).sum();
        if lost > 0 {
            let first = self.lines.iter().flat_map(|line| &line.lost).next().map_or("", AsRef::as_ref);
            return format!("FAILED: {lost} of {acked} acked envelopes were lost, the first is {first}");
        }
        if self.is_whole() {
            let delivered: usize = self.lines.iter().map(|line| line.delivered).sum();
            return format!("OK: {acked} acked, {delivered} delivered, 0 lost");
        }
        let mut faults = Vec::new();
        let unacked: usize = self.lines.iter().map(|line| line.unacked).sum();
        let forged: u64 = self.lines.iter().map(|line| line.forged).sum();
        if !self.is_counted() {
            faults.push(format!("of {} events pushed not all are in the journal", self.seen.pushed));
        }
        if unacked > 0 {
            faults.push(format!("{unacked} envelopes were never acked"));
        }
        if forged > 0 {
            faults.push(format!("{forged} deliveries had a signature that does not verify"));
        }
        let unanswered = self.seen.round_trips.iter().filter(|trip| trip.after.is_none()).count();
        if unanswered > 0 {
            faults.push(format!("{unanswered} requests were not answered"));
        }
        if !self.seen.settled {
            faults.push("the backlog did not run dry in time".into());
        }
        if !self.seen.drained {
            faults.push("the drain was cut short".into());
        }
        format!("FAILED: nothing acked was lost, but {}", faults.join("; "))
    }
}
