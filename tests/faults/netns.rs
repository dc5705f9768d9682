//! Row 29 with a real network: packets between two namespaces are dropped, and nobody is told.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Output};
use std::time::Duration;

use rustls_pki_types::PrivateKeyDer;
use taut_sim::{EchoConfig, EchoHandler, Load, Sim, SimConfig, TlsIdentity};

use crate::brisk;
use crate::support::tools::reckon;
use crate::support::{SOON, Site, signing_secret};

/// A namespace behind a pair of virtual interfaces; gone with this value.
struct Namespace {
    name: String,
    /// This side's address.
    host: IpAddr,
}

fn run(words: &str) -> std::io::Result<Output> {
    let mut words = words.split(' ');
    Command::new(words.next().expect("a program")).args(words).output()
}

impl Namespace {
    /// `None`, aloud, where the machine does not permit it.
    fn new() -> Option<Self> {
        let number = std::process::id() % 60_000;
        let name = format!("taut{number}");
        let (host, inside) =
            (format!("10.{}.{}", 200 + number / 25_000, number / 100 % 250), number % 100 * 2);
        let (near, far) = (format!("{host}.{inside}"), format!("{host}.{}", inside + 1));
        let steps = [
            format!("ip netns add {name}"),
            format!("ip link add h{name} type veth peer name n{name}"),
            format!("ip link set n{name} netns {name}"),
            format!("ip addr add {near}/31 dev h{name}"),
            format!("ip link set h{name} up"),
            format!("ip -n {name} addr add {far}/31 dev n{name}"),
            format!("ip -n {name} link set n{name} up"),
            format!("ip -n {name} link set lo up"),
            format!("ip netns exec {name} nft add table ip t"),
        ];
        let this = Self { name, host: near.parse().expect("an address") };
        for step in steps {
            let said = match run(&step) {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!("skipped: `{step}` is not possible here: {}", said.trim());
            return None;
        }
        Some(this)
    }

    fn nft(&self, rules: &str) {
        let nft = ["netns", "exec", &self.name, "nft", rules];
        let output = Command::new("ip").args(nft).output().expect("it was there at the start");
        assert!(output.status.success(), "{rules}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Packets of the connections there are vanish, both ways.
    fn drop_established(&self) {
        self.nft("add chain ip t out { type filter hook output priority 0; }");
        self.nft("add chain ip t in { type filter hook input priority 0; }");
        self.nft("add rule ip t out ip protocol tcp drop");
        self.nft("add rule ip t in ip protocol tcp drop");
    }

    fn heal(&self) {
        self.nft("flush table ip t");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for step in [format!("ip link del h{}", self.name), format!("ip netns del {}", self.name)] {
            if let Err(error) = run(&step) {
                eprintln!("{step}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f29_dropped_packets_to_slack_are_noticed_and_nothing_acked_is_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let listen = SocketAddr::from((namespace.host, 0));
    let issued = rcgen::generate_simple_self_signed(vec![namespace.host.to_string()]).expect("a certificate");
    let roots = tempfile::tempdir().expect("a directory");
    let root = roots.path().join("slack.pem");
    std::fs::write(&root, issued.cert.pem()).expect("the certificate is written");
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).expect("a key");
    let tls = Some(TlsIdentity { chain: vec![issued.cert.der().clone()], key });
    let config = SimConfig { listen, tls, switches: brisk(), ..SimConfig::default() };
    let sim = Sim::start(config).await.expect("the simulated Slack");
    let secret = Some(signing_secret("acme").into());
    let config = EchoConfig { listen, signing_secret: secret, ..EchoConfig::default() };
    let handler = EchoHandler::start(config).await.expect("the handler listens");
    let head = format!(
        "[network]\nca_files = [\"{}\"]\n[network.deadlines]\ntcp = \"500ms\"\ncall = \"1s\"\n",
        root.display()
    );
    let api_url = sim.api_url();
    let mut site = Site::over(&head, sim, &api_url);
    site.launch_by(&format!("exec ip netns exec {} \"$@\"", namespace.name));
    for line in ["ping_after = \"300ms\"", "quiet_max = \"1s\"", "opens_per_app = \"100 then 1/1s\""] {
        site.slack(line);
    }
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let old = app.connections()[0].id;
    let load = site.sim.load(Load { rate: 100.0, in_flight_max: 50, ..Load::default() });
    assert!(app.wait_until(SOON, |app| app.totals().acked > 50).await);

    namespace.drop_established();
    let tenant = site.until_tenant("acme", "given up", |tenant| tenant.sockets == 0).await;
    assert_ne!(tenant.state, "connected");
    tokio::time::sleep(Duration::from_secs(1)).await;
    namespace.heal();

    let newer =
        |app: &taut_sim::AppHandle| app.connections().iter().any(|next| next.id > old && next.helloed);
    assert!(app.wait_until(SOON, newer).await, "{}", site.worker.log_tail());
    load.stop().await;
    assert!(app.wait_settled(SOON).await, "{:?}", app.totals());
    let acked = app.totals().acked;
    assert!(handler.wait_until(SOON, |totals| totals.keys >= acked).await, "{:?}", handler.totals());
    let reckoning = reckon(&site.sim, &app, &handler);
    assert_eq!((reckoning.lost, reckoning.unacked), (vec![], vec![]));
    let tenant = site.until_tenant("acme", "connected", |tenant| tenant.sockets == 1).await;
    assert!(tenant.deaf_seconds >= 1.0, "{tenant:?}");
}
