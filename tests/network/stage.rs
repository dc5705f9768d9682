//! A simulated Slack over TLS that can be reached through proxies alone: where it says that it is, a decoy listens.

use std::net::SocketAddr;
use std::path::Path;

use taut_sim::{AppHandle, SimConfig, Switches};

use crate::ca::PrivateCa;
use crate::connect_proxy::Decoy;
use crate::support::Site;

/// What a proxy wants to hear from user `taut` with [`PASSWORD`].
pub const AUTHORIZATION: &str = "Basic dGF1dDpodW50ZXIyLXByb3h5";
/// The proxy's password of these tests.
pub const PASSWORD: &str = "hunter2-proxy";

/// The stage.
pub struct Stage {
    pub site: Site,
    pub decoy: Decoy,
    pub ca: PrivateCa,
    /// Where the simulated Slack really listens.
    pub slack: SocketAddr,
}

impl Stage {
    /// A stage whose worker trusts the CA if `trusted`; `head` is more configuration.
    pub async fn new(trusted: bool, head: impl FnOnce(SocketAddr) -> String) -> Self {
        let decoy = Decoy::start().await;
        let ca = PrivateCa::named("Corp Slack Root");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let slack = free.local_addr().expect("its address");
        drop(free);
        let sim = SimConfig {
            listen: slack,
            tls: Some(ca.identity("localhost")),
            public: Some(format!("localhost:{}", decoy.at.port())),
            switches: Switches { speed: 60.0, ..Switches::default() },
            ..SimConfig::default()
        };
        let roots =
            if trusted { format!("ca_files = [\"{}\"]\n", ca.file().display()) } else { String::new() };
        let rest = head(slack);
        let head = format!("[network]\n{roots}{rest}");
        let mut site = Site::with_sim(&head, sim).await;
        site.slack("opens_per_app = \"100 then 1/1s\"");
        Self { site, decoy, ca, slack }
    }

    /// Adds a tenant with this `network` and a route to this handler.
    pub fn tenant(&mut self, number: u32, id: &str, network: &str, handler: &str, more: &str) -> AppHandle {
        let routes = format!(
            "{network}\n[[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{handler}\" }}\n{more}\n"
        );
        self.site.add_tenant(number, id, &routes)
    }

    /// Waits until the tenant's reason is this one, and returns its sentence.
    pub async fn reason(&self, tenant: &str, code: &str) -> String {
        let tenant = self.site.until_tenant(tenant, code, |tenant| tenant.reason == code).await;
        tenant.reason_text
    }

    /// How often opening a socket ended like this.
    pub async fn opens(&self, tenant: &str, outcome: &str) -> f64 {
        self.site
            .metric(&format!("taut_socket_opens_total{{tenant=\"{tenant}\",outcome=\"{outcome}\"}}"))
            .await
    }
}

/// A tenant's `network` with this proxy and no credentials.
pub fn through(proxy: &str) -> String {
    format!("network = {{ proxy = \"{proxy}\" }}")
}

/// A tenant's `network` with these roots beside its proxy.
pub fn trusting(proxy: &str, root: &Path) -> String {
    format!("network = {{ proxy = \"{proxy}\", ca_files = [\"{}\"] }}", root.display())
}
