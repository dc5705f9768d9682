//! `docs/metrics.md`, generated from the catalogue.

use std::fmt::Write as _;

use taut_core::metric::{ALL, MetricKind};

/// The reference of all metrics as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nGenerated from the catalogue in `workers/core/src/metric.rs`; a test keeps it true.\n\n\
         Series with a `tenant` label appear when something happened: an idle tenant has at most eight.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in ALL {
        let kind = match metric.kind {
            MetricKind::Counter => "counter".into(),
            MetricKind::Gauge => "gauge".into(),
            MetricKind::Histogram(bounds) => {
                let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
                format!("histogram ({} s)", bounds.join(", "))
            }
        };
        let labels = metric.labels.join(", ");
        writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help)
            .expect("a String takes every write");
    }
    text
}
