//! The text of `/metrics`: per-tenant families rendered from the boards, behind what the exporter renders.
//!
//! Nothing is printed for what never happened, so an idle tenant has three series.

use std::fmt::Write as _;
use std::sync::Arc;

use taut_core::log::Backlog;
use taut_core::metric::{self, Metric, MetricKind};
use taut_core::{Board, TenantId, TenantState};

use super::{Seen, process};

/// Renders the families that are read from boards and stores.
pub fn render(seen: &Seen) -> String {
    let mut page = Page { text: String::with_capacity(4096) };
    page.worker(seen);
    let boards = seen.boards();
    page.states(&boards);
    page.counters(&boards, seen);
    page.queues(&boards, seen);
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        };
        self.line(format_args!("# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(line)
            .and_then(|()| self.text.write_char('\n'))
            .expect("a String takes every write");
    }

    /// One family with the tenant as its only label; `None` leaves the tenant out.
    fn family<T: std::fmt::Display>(
        &mut self,
        metric: &Metric,
        boards: &[Arc<Board>],
        value: impl Fn(&Board) -> Option<T>,
    ) {
        let mut headed = false;
        for board in boards {
            if let Some(value) = value(board) {
                if !std::mem::replace(&mut headed, true) {
                    self.head(metric);
                }
                self.line(format_args!("{}{{tenant=\"{}\"}} {value}", metric.name, board.tenant));
            }
        }
    }

    fn backlogs<T: std::fmt::Display>(
        &mut self,
        metric: &Metric,
        backlogs: &[(TenantId, Backlog)],
        value: impl Fn(&Backlog) -> T,
    ) {
        if !backlogs.is_empty() {
            self.head(metric);
        }
        for (tenant, backlog) in backlogs {
            self.line(format_args!("{}{{tenant=\"{tenant}\"}} {}", metric.name, value(backlog)));
        }
    }

    /// One family with the tenant and one more label.
    fn labelled(
        &mut self,
        metric: &Metric,
        boards: &[Arc<Board>],
        seen: impl Fn(&Board) -> Vec<(&'static str, u64)>,
    ) {
        let label = metric.labels.get(1).copied().unwrap_or("label");
        let mut headed = false;
        for board in boards {
            for (name, value) in seen(board) {
                if !std::mem::replace(&mut headed, true) {
                    self.head(metric);
                }
                self.line(format_args!(
                    "{}{{tenant=\"{}\",{label}=\"{name}\"}} {value}",
                    metric.name, board.tenant
                ));
            }
        }
    }

    fn worker(&mut self, seen: &Seen) {
        let store = seen.log.store_stats();
        self.head(&metric::BUILD_INFO);
        let (version, durability) = (env!("CARGO_PKG_VERSION"), seen.about.durability_word);
        self.line(format_args!("taut_build_info{{version=\"{version}\",durability=\"{durability}\"}} 1"));
        self.head(&metric::STORE_BYTES);
        self.line(format_args!("{} {}", metric::STORE_BYTES.name, store.disk_bytes));
        for (metric, value) in [
            (&metric::DESCRIPTORS_OPEN, process::descriptors_open()),
            (&metric::DESCRIPTORS_MAX, process::descriptors_max()),
            (&metric::TASKS, process::tasks()),
        ] {
            if let Some(value) = value {
                self.head(metric);
                self.line(format_args!("{} {value}", metric.name));
            }
        }
        self.head(&metric::CLAIMS_OWNED);
        self.line(format_args!("{} {}", metric::CLAIMS_OWNED.name, seen.boards().len()));
    }

    fn states(&mut self, boards: &[Arc<Board>]) {
        let mut totals = [0_u64; TenantState::ALL.len()];
        for board in boards {
            totals[board.status().state as usize] += 1;
        }
        self.head(&metric::TENANTS);
        for state in TenantState::ALL {
            self.line(format_args!("taut_tenants{{state=\"{}\"}} {}", state.name(), totals[state as usize]));
        }
        self.family(&metric::TENANT_CONNECTED, boards, |board| Some(u8::from(board.status().sockets > 0)));
        self.labelled(&metric::TENANT_STATE, boards, |board| vec![(board.status().state.name(), 1)]);
    }

    fn counters(&mut self, boards: &[Arc<Board>], seen: &Seen) {
        let now = seen.clock.now();
        self.family(&metric::TENANT_DEAF, boards, |board| {
            let deaf_ms = board.deaf_ms(now);
            (deaf_ms > 0).then(|| deaf_ms as f64 / 1000.0)
        });
        self.labelled(&metric::SOCKET_OPENS, boards, |b| b.counters.socket_opens.seen().collect());
        self.labelled(&metric::SOCKET_CLOSES, boards, |b| b.counters.socket_closes.seen().collect());
        self.family(&metric::SOCKETS_OPEN, boards, |b| nonzero(b.counters.sockets_open.get()));
        self.family(&metric::SOCKET_FOREIGN, boards, |b| nonzero(b.counters.socket_foreign.get()));
        self.labelled(&metric::ENVELOPES_RECEIVED, boards, |b| b.counters.received.seen().collect());
        self.labelled(&metric::ENVELOPES_ACKED, boards, |b| b.counters.acked.seen().collect());
        self.family(&metric::ENVELOPES_DUPLICATE, boards, |b| nonzero(b.counters.duplicate.get()));
        self.labelled(&metric::ENVELOPES_REFUSED, boards, |b| b.counters.refused.seen().collect());
        self.family(&metric::ENVELOPES_UNROUTED, boards, |b| nonzero(b.counters.unrouted.get()));
        self.family(&metric::FRAMES_UNREADABLE, boards, |b| nonzero(b.counters.unreadable.get()));
        self.family(&metric::REQUESTS_CUT, boards, |b| nonzero(b.counters.requests_cut.get()));
        self.family(&metric::TENANT_RESTARTS, boards, |b| nonzero(b.counters.restarts.get()));
        self.labelled(&metric::DELIVERY_ATTEMPTS, boards, |b| b.counters.attempts.seen().collect());
    }

    fn queues(&mut self, boards: &[Arc<Board>], seen: &Seen) {
        let wall = seen.clock.wall();
        let active = |board: &Board| board.counters.received.total() > 0;
        let stats = |board: &Board| {
            let stats = seen.log.stats(&board.tenant);
            (active(board) || stats.envelopes > 0).then_some(stats)
        };
        // A tenant that is configured no more keeps its backlog, and it must not be out of sight.
        let configured = boards.iter().filter_map(|board| Some((board.tenant.clone(), stats(board)?)));
        let backlogs: Vec<_> = configured.chain(seen.unconfigured()).collect();
        let age = |backlog: &Backlog| backlog.oldest.map_or(0.0, |at| wall.since(at).as_secs_f64());
        self.backlogs(&metric::BACKLOG_ENVELOPES, &backlogs, |backlog| backlog.envelopes);
        self.backlogs(&metric::BACKLOG_BYTES, &backlogs, |backlog| backlog.bytes);
        self.backlogs(&metric::BACKLOG_OLDEST, &backlogs, age);
        self.family(&metric::DEAD_LETTERS, boards, |b| nonzero(seen.dead_letters.stats(&b.tenant).count));
        self.labelled(&metric::SECRET_AGE, boards, |b| {
            let age = |(secret, set_at): (&'static str, _)| (secret, wall.since(set_at).as_secs());
            b.status().secrets.into_iter().map(age).collect()
        });
    }
}

fn nonzero(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}
