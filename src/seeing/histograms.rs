//! The part of the metrics that goes through the `metrics` crate: histograms and the store's counters, per worker.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use taut_core::metric::{ALL, MetricKind};

/// Installs the process-wide recorder with the catalogue's buckets and help texts.
///
/// # Errors
/// If a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let MetricKind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let handle = builder.install_recorder()?;
    for metric in ALL {
        match metric.kind {
            MetricKind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
        }
    }
    Ok(handle)
}
