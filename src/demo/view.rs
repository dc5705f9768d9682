//! What the demo shows while it runs: a table redrawn in a terminal, lines in a pipe.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

/// In a pipe, a table comes each so many looks.
const LOOKS_PER_TABLE: u32 = 5;
/// Events shown below the table.
const EVENTS_SHOWN: usize = 8;

/// One tenant at one look.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) tenant: String,
    pub(super) state: String,
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) backlog: u64,
    pub(super) delivered: u64,
    pub(super) ack_p50: Option<Duration>,
    pub(super) ack_p90: Option<Duration>,
}

/// Prints looks and events.
pub(super) struct View {
    terminal: bool,
    looks: u32,
    lines_drawn: usize,
    events: Vec<String>,
}

impl View {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), looks: 0, lines_drawn: 0, events: Vec::new() }
    }

    /// Tells what just happened.
    pub(super) fn event(&mut self, at: Duration, text: &str) {
        let line = format!("{:>5.1} s  {text}", at.as_secs_f64());
        if self.terminal {
            self.events.push(line);
        } else {
            println!("{line}");
        }
    }

    /// Shows where every tenant stands.
    pub(super) fn look(&mut self, at: Duration, rows: &[Row]) {
        self.looks += 1;
        if self.terminal {
            self.redraw(at, rows);
        } else if self.looks % LOOKS_PER_TABLE == 1 {
            print!("{}", table(rows));
        }
    }

    fn redraw(&mut self, at: Duration, rows: &[Row]) {
        let mut screen = format!("taut demo  {:>5.1} s\n\n{}\n", at.as_secs_f64(), table(rows));
        for event in self.events.iter().rev().take(EVENTS_SHOWN).rev() {
            screen.push_str(event);
            screen.push('\n');
        }
        let mut out = std::io::stdout().lock();
        // Up over what was drawn, then clear to the end of the screen.
        let up =
            if self.lines_drawn > 0 { format!("\x1b[{}A\x1b[J", self.lines_drawn) } else { String::new() };
        self.lines_drawn = screen.lines().count();
        if out.write_all(format!("{up}{screen}").as_bytes()).and_then(|()| out.flush()).is_err() {
            // Nobody watches any more; the summary's exit code still counts.
            self.terminal = false;
        }
    }

    /// Leaves the last picture as it is and goes on below it.
    pub(super) fn finish(&mut self, at: Duration, rows: &[Row]) {
        if self.terminal {
            self.redraw(at, rows);
        } else {
            print!("{}", table(rows));
        }
    }
}

/// The tenants as a table.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<12} {:<11} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9}\n",
        "tenant", "state", "sent", "acked", "backlog", "delivered", "ack p50", "ack p90"
    );
    for row in rows {
        let line = writeln!(
            text,
            "{:<12} {:<11} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9}",
            row.tenant,
            row.state,
            row.sent,
            row.acked,
            row.backlog,
            row.delivered,
            millis(row.ack_p50),
            millis(row.ack_p90)
        );
        line.expect("a String takes every write");
    }
    text
}

/// Milliseconds for people; a dash where there are none yet.
pub(super) fn millis(span: Option<Duration>) -> String {
    span.map_or_else(|| "-".into(), |span| format!("{:.2} ms", span.as_secs_f64() * 1000.0))
}

/// The value below which `percent` of the sorted samples lie.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent).div_ceil(100)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_sorted_list() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(51)));
        assert_eq!(percentile(&sorted, 90), Some(Duration::from_millis(91)));
        assert_eq!(percentile(&[], 50), None);
    }
}
