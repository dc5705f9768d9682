//! Alerting rules: valid, tested one by one, each with its entry in the runbook.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{file, text, there};

/// What follows this mark at the beginning of a line.
fn after(text: &str, mark: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix(mark));
    names.map(|name| name.trim().to_owned()).collect()
}

fn promtool(arguments: &[&str]) {
    let judged = Command::new("promtool")
        .args(arguments)
        .current_dir(file("config/prometheus"))
        .output()
        .expect("promtool runs");
    let said = [judged.stdout, judged.stderr].concat();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_rules() {
    if there("promtool") {
        promtool(&["check", "rules", "alerts.yml"]);
    }
}

#[test]
fn each_alert_fires_on_its_trouble_and_is_silent_without() {
    let (rules, tests) = (text("config/prometheus/alerts.yml"), text("config/prometheus/alerts.test.yml"));
    assert!(after(&rules, "- alert:").is_subset(&after(&tests, "- name:")), "an alert has no test");
    if there("promtool") {
        promtool(&["test", "rules", "alerts.test.yml"]);
    }
}

#[test]
fn each_alert_has_its_entry_in_the_runbook_and_no_entry_is_left_over() {
    let (rules, runbook) = (text("config/prometheus/alerts.yml"), text("docs/runbook.md"));
    let alerts = after(&rules, "- alert:");
    assert_eq!(alerts, after(&runbook, "#### "));
    let linked = after(&rules, "runbook: docs/runbook.md#");
    assert_eq!(linked, alerts.iter().map(|alert| alert.to_lowercase()).collect());
    for entry in runbook.split("\n#### ").skip(1) {
        let (name, rest) = entry.split_once('\n').expect("a name and its text");
        let body = rest.split("\n#").next().unwrap_or_default();
        assert!(body.trim().len() > 40, "{name} says nothing");
    }
}
