//! The generated documents are true. `TAUT_RENEW_DOCS=1 cargo test --test reference` renews them.

use std::path::Path;

fn same(document: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(document);
    if std::env::var_os("TAUT_RENEW_DOCS").is_some() {
        std::fs::write(&path, generated).expect("the document is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/{document} is out of date: renew it with TAUT_RENEW_DOCS=1 cargo test --test reference"
    );
}

#[test]
fn the_metrics_page_lists_the_catalogue() {
    same("metrics.md", &taut::seeing::reference::reference());
}

#[test]
fn the_command_line_page_lists_every_command() {
    same("cli.md", &taut::cli::reference());
}

#[test]
fn every_metric_of_the_alerts_is_in_the_catalogue() {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus/alerts.yml");
    let text = std::fs::read_to_string(alerts).expect("the alerts are there");
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    for word in text.split(|c| !is_name(c)).filter(|word| word.starts_with("taut_")) {
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        let known = taut_core::metric::ALL.iter().any(|metric| metric.name == word || metric.name == base);
        assert!(known, "the alerts speak of {word}, which is no metric of this version");
    }
}
