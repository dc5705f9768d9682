//! The findings for a terminal.

use std::fmt::Write as _;

use super::{Finding, Mark};

/// One part's findings, each on a line, with what to do below what failed.
pub fn text(part: &str, findings: &[Finding]) -> String {
    let mut text = format!("{part}\n");
    let width = findings.iter().map(|finding| finding.step.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let mark = match finding.mark {
            Mark::Ok => "ok",
            Mark::Notice => "notice",
            Mark::Failed => "FAILED",
            Mark::Skipped => "skipped",
        };
        let mut line = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).and_then(|()| text.write_char('\n')).expect("a String takes every write");
        };
        line(format_args!("  {mark:<8} {:<width$}  {}", finding.step, finding.seen));
        let indent = width + 13;
        for detail in &finding.details {
            line(format_args!("{:indent$}{detail}", ""));
        }
        if let Some(whose) = finding.whose {
            line(format_args!("{:indent$}whose: {}", "", whose.words()));
        }
        if !finding.advice.is_empty() {
            line(format_args!("{:indent$}do:    {}", "", finding.advice));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Fault, Findings};
    use super::*;

    #[test]
    fn failure_says_whose_it_is_and_what_to_do() {
        let mut findings = Findings::of("acme");
        findings.ok("dns slack.com", "192.0.2.1 (3 ms)");
        findings.failed("tls slack.com", "its issuer `CN=Corp` is not trusted here", Fault::Host, "add it");
        findings.detail(["CN=slack.com, signed by CN=Corp".to_owned()]);
        let found: Vec<Finding> = findings.into();
        let wanted = "acme\n  ok       dns slack.com  192.0.2.1 (3 ms)\n  \
                      FAILED   tls slack.com  its issuer `CN=Corp` is not trusted here\n                          \
                      CN=slack.com, signed by CN=Corp\n                          \
                      whose: this host\n                          do:    add it\n";
        assert_eq!(text("acme", &found), wanted);
    }
}
