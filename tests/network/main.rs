//! The way out under hostile networks: proxies, certificates, names; and `taut doctor`, which says whose fault it is.
//! The real binary, and the simulated Slack over TLS.

#![expect(unreachable_pub, reason = "a test binary exports nothing; `pub` says what tests use")]

mod bypass;
#[path = "../support/ca.rs"]
mod ca;
mod certificates;
#[path = "../support/connect_proxy.rs"]
mod connect_proxy;
mod doctor;
mod names;
mod proxies;
mod stage;
#[path = "../support/mod.rs"]
mod support;
