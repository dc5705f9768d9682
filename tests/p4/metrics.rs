//! The worker's metrics page, as a scraper sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::direct;
use crate::support::{SOON, Site};

/// The port of `/metrics`, from the line the worker prints once it runs.
pub(crate) fn port(site: &Site) -> u16 {
    let log = site.read("worker.log");
    let address = log.split("\"metrics\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let port = address.and_then(|address| address.rsplit(':').next()).and_then(|port| port.parse().ok());
    port.expect("the worker's log names the address of its metrics")
}

/// The tenant's delivery attempts by outcome, once there are at least `count`; what there is if that never comes.
pub(crate) async fn attempts(port: u16, tenant: &str, count: u64) -> BTreeMap<String, u64> {
    let until = Instant::now() + SOON;
    loop {
        let page = direct::get(port, "/metrics").await;
        let found = parse(&String::from_utf8_lossy(&page.body), tenant);
        if found.values().sum::<u64>() >= count || Instant::now() >= until {
            return found;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn parse(page: &str, tenant: &str) -> BTreeMap<String, u64> {
    let of_tenant = format!("tenant=\"{tenant}\"");
    let outcome = |line: &str| {
        let (labels, value) = line.strip_prefix("taut_delivery_attempts_total{")?.split_once("} ")?;
        let outcome = labels.split("outcome=\"").nth(1)?.split('"').next()?;
        let value = value.parse().ok().filter(|value| *value > 0)?;
        labels.contains(&of_tenant).then(|| (outcome.to_owned(), value))
    };
    page.lines().filter_map(outcome).collect()
}
