//! The simulator over the wire: a plain HTTP client and tokio-tungstenite against every behaviour and switch.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, helpers included")]

mod acks;
mod client;
mod control;
mod echo;
mod faults;
mod load;
mod opens;
mod sockets;

use std::time::Duration;

use taut_sim::{AppHandle, AppSpec, Sim, SimConfig, Switches};

/// Longer than anything here should take; a wait that ends by it is a failure.
const LONG: Duration = Duration::from_secs(10);

const TOKEN: &str = "xapp-1-A0TESTAPP01-4000000001-00ff";

/// A simulator with one app.
async fn sim_with(switches: Switches) -> (Sim, AppHandle) {
    let sim = Sim::start(SimConfig { switches, ..SimConfig::default() }).await.expect("a free local port");
    let mut spec = AppSpec::new("A0TESTAPP01", TOKEN);
    spec.bot_token = Some("xoxb-test".to_owned());
    let app = sim.add_app(spec);
    (sim, app)
}

/// Retries a thousand times as fast, and acks due within 400 ms.
fn fast() -> Switches {
    Switches { ack_deadline: Duration::from_millis(400), speed: 1_000.0, ..Switches::default() }
}
