//! The dashboard: every query of every panel, asked of a real Prometheus that scrapes a real worker under load.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use taut_sim::{Load, Sample};
use tokio::process::{Child, Command};

use crate::support::tools::get;
use crate::support::{SOON, Site, echo};
use crate::{text, there};

/// A Prometheus over one worker. It ends with this.
struct Prometheus {
    address: String,
    _process: Child,
}

impl Prometheus {
    async fn over(site: &Site) -> Self {
        // Prometheus takes no port 0; one that was free a moment ago will do.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: taut\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
            site.listener()
        );
        let file = site.write_secret("prometheus.yml", &config);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", site.dir.path().join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus starts");
        let prometheus = Self { address, _process: process };
        let listening = async {
            // It listens before it answers.
            while tokio::net::TcpStream::connect(&prometheus.address).await.is_err()
                || get(&prometheus.address, "/-/ready").await.0 != 200
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, listening).await.expect("prometheus listens");
        prometheus
    }

    /// How many series a query has; panics if it is refused.
    async fn ask(&self, query: &str) -> usize {
        let escaped = query.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"));
        let (status, body) = get(&self.address, &format!("/api/v1/query?query={escaped}")).await;
        assert_eq!(status, 200, "{query}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        body["data"]["result"].as_array().map_or(0, Vec::len)
    }

    async fn until_any(&self, query: &str) {
        let asking = async {
            while self.ask(query).await == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let asked = tokio::time::timeout(SOON, asking).await;
        assert!(asked.is_ok(), "nothing ever: {query}");
    }
}

/// A query as Grafana would ask it with every variable at "All".
fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$tenant", ".*")
}

fn dashboard() -> Value {
    serde_json::from_str(&text("config/grafana/taut.json")).expect("JSON")
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().expect("panels");
    all.iter().filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn every_panel_has_a_unit_thresholds_a_place_and_known_metrics() {
    let dashboard = dashboard();
    let mut ids = std::collections::BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is taken");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(defaults["unit"].is_string() && defaults["thresholds"]["steps"].is_array(), "{title}");
        assert!(panel["gridPos"]["w"].as_u64().is_some_and(|width| width <= 24), "{title}");
        for target in panel["targets"].as_array().expect("queries") {
            let query = target["expr"].as_str().expect("a query");
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            for word in query.split(|c| !is_name(c)).filter(|word| word.starts_with("taut_")) {
                let base = word.strip_suffix("_bucket").unwrap_or(word);
                let known = taut_core::metric::ALL.iter().any(|metric| metric.name == base);
                assert!(known, "{title}: there is no {word}");
            }
        }
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance", "tenant"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_has_an_answer_from_a_worker_under_load() {
    if !there("prometheus") {
        return;
    }
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let prometheus = Prometheus::over(&site).await;
    let load = app.load(Load { rate: 50.0, ..Load::default() });
    for _ in 0..3 {
        app.push(Sample::SlashCommand);
    }
    // Rates need two scrapes of something that grows.
    prometheus.until_any("rate(taut_delivery_attempts_total{outcome=\"done\"}[1m]) > 0").await;
    app.push(Sample::SlashCommand);
    prometheus.until_any("rate(taut_answer_latency_seconds_count[1m]) > 0").await;
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        // What is empty when all is well says so, and shows a 0 instead of "no data".
        let quiet = panel["fieldConfig"]["defaults"]["noValue"] == "0";
        let description = panel["description"].as_str().unwrap_or_default();
        assert_eq!(quiet, description.contains("mpty when all is well"), "{}", panel["title"]);
        for target in panel["targets"].as_array().expect("queries") {
            let query = filled(target["expr"].as_str().expect("a query"));
            assert!(!query.contains('$'), "{query}");
            let series = prometheus.ask(&query).await;
            assert!(series > 0 || quiet, "{}: no answer to {query}", panel["title"]);
        }
    }
    load.stop().await;
}
