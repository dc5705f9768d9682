//! Names: in namespaces of its own, where a resolver of the test's making answers, the real binary meets names that are
//! unknown, slow, many, moved, and those that lead where they must not.
//!
//! The test runs itself again under `unshare`; where that is not permitted it says so and does nothing.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut_sim::{AckOutcome, AppHandle, AppSpec, Sample, Sim, SimConfig, Switches};
use tokio::net::UdpSocket;

use crate::ca::PrivateCa;
use crate::connect_proxy::{ConnectProxy, Manner};
use crate::support::{SOON, Site, connected, echo, until};

const INSIDE: &str = "TAUT_TEST_INSIDE_NAMESPACES";
/// Where Slack is in there.
const PORT: u16 = 8443;

/// Runs one test of this file inside its own user, mount and network namespaces.
fn inside(test: &str) {
    let script = "ip link set lo up && printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' > \"$0.conf\" && \
                  mount --bind \"$0.conf\" /etc/resolv.conf && exec \"$@\"";
    let scratch = tempfile::tempdir().expect("a directory");
    let possible =
        Command::new("unshare").args(["-rmn", "true"]).status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("SKIPPED {test}: unshare -rmn is not permitted here");
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["-rmn", "sh", "-c", script])
        .arg(scratch.path().join("resolv"))
        .arg(program)
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .expect("unshare runs");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", words(&output.stdout), words(&output.stderr));
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// How a name is answered.
#[derive(Clone, PartialEq, Eq)]
enum Reply {
    /// These IPv4 addresses, and no IPv6 ones.
    V4(Vec<Ipv4Addr>),
    /// The same, but a question for IPv6 is swallowed.
    V4Only(Vec<Ipv4Addr>),
    /// No such name.
    Unknown,
    /// Nothing.
    Swallow,
}

/// A resolver's other end.
#[derive(Clone, Default)]
struct Names {
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    async fn serve() -> Self {
        let names = Self::default();
        let socket = UdpSocket::bind("127.0.0.1:53").await.expect("the port is free in here");
        let serving = names.clone();
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if let Some(answer) = serving.answer(&question[..length]) {
                    socket.send_to(&answer, from).await.expect("sent");
                }
            }
        });
        names
    }

    fn set(&self, name: &str, reply: Reply) {
        self.replies.lock().expect("no panic").insert(name.to_owned(), reply);
    }

    fn asked_for(&self, name: &str) -> usize {
        self.asked.lock().expect("no panic").iter().filter(|asked| *asked == name).count()
    }

    /// One question of RFC 1035, answered.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        const IPV4: u16 = 1;
        let (mut at, mut labels) = (12, Vec::new());
        while question[at] != 0 {
            let length = usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_lowercase());
            at += length + 1;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let (name, end) = (labels.join("."), at + 5);
        self.asked.lock().expect("no panic").push(name.clone());
        let reply = self.replies.lock().expect("no panic").get(&name).cloned().unwrap_or(Reply::Unknown);
        let (code, addresses) = match reply {
            Reply::Swallow => return None,
            Reply::V4Only(_) if kind != IPV4 => return None,
            Reply::V4(addresses) | Reply::V4Only(addresses) => {
                (0, if kind == IPV4 { addresses } else { Vec::new() })
            }
            Reply::Unknown => (3, Vec::new()),
        };
        let count = u8::try_from(addresses.len()).expect("few");
        let mut answer = vec![question[0], question[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        answer.extend_from_slice(&question[12..end]);
        for address in addresses {
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend_from_slice(&address.octets());
        }
        Some(answer)
    }
}

async fn acked(app: &AppHandle) {
    let outcome = app.push(Sample::Message).wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
}

fn slack(ca: &PrivateCa, at: Ipv4Addr) -> SimConfig {
    SimConfig {
        listen: SocketAddr::from((at, PORT)),
        tls: Some(ca.identity("slack.test")),
        public: Some(format!("slack.test:{PORT}")),
        switches: Switches { speed: 60.0, ..Switches::default() },
        ..SimConfig::default()
    }
}

fn network(ca: &PrivateCa, more: &str) -> String {
    format!("[network]\nca_files = [\"{}\"]\n{more}", ca.file().display())
}

#[test]
fn f67_names_that_are_unknown_slow_many_or_moved() {
    if !is_inside() {
        return inside("names::f67_names_that_are_unknown_slow_many_or_moved");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (names, ca) = (Names::serve().await, PrivateCa::named("Corp Slack Root"));
        let (here, there, dead) =
            (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 9));
        let head = network(&ca, "[network.deadlines]\ndns = \"700ms\"\n");
        let mut site = Site::with_sim(&head, slack(&ca, here)).await;
        site.slack("opens_per_app = \"100 then 1/1s\"");
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start().await;

        // Unknown, then swallowed: told apart.
        let unknown = site.until_tenant("acme", "unknown", |tenant| tenant.reason == "dns_failed").await;
        assert!(
            unknown.reason_text.contains("slack.test") && unknown.reason_text.contains("DNS"),
            "{unknown:?}"
        );
        names.set("slack.test", Reply::Swallow);
        site.until_tenant("acme", "swallowed", |tenant| tenant.reason == "dns_timeout").await;
        assert!(site.metric("taut_socket_opens_total{tenant=\"acme\",outcome=\"dns_failed\"}").await >= 2.0);

        // Many addresses of which the last one lives, and nobody answers for IPv6.
        names.set("slack.test", Reply::V4Only(vec![dead, dead, dead, here]));
        assert!(connected(&app).await, "{}", site.worker.log_tail());
        acked(&app).await;

        // The resolver goes away for a moment: the last good answer stands in.
        names.set("slack.test", Reply::Swallow);
        let newest = app.connections().iter().map(|socket| socket.id).max();
        let asked = names.asked_for("slack.test");
        app.drop_tcp();
        let renewed = |app: &AppHandle| {
            app.connections().iter().any(|socket| Some(socket.id) > newest && socket.helloed)
        };
        assert!(app.wait_until(SOON, renewed).await, "{}", site.worker.log_tail());
        assert!(names.asked_for("slack.test") > asked, "the resolver was asked first");
        acked(&app).await;

        // The name moves: the fresh answer counts, not the old one.
        let moved = Sim::start(slack(&ca, there)).await.expect("the simulated Slack, elsewhere");
        let app_there = moved.add_app(AppSpec::numbered(1));
        names.set("slack.test", Reply::V4(vec![there]));
        std::mem::replace(&mut site.sim, moved).stop().await;
        assert!(connected(&app_there).await, "{}", site.worker.log_tail());
        acked(&app_there).await;
    });
}

#[test]
fn handler_whose_name_leads_where_it_must_not_is_a_target_fault() {
    if !is_inside() {
        return inside("names::handler_whose_name_leads_where_it_must_not_is_a_target_fault");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let names = Names::serve().await;
        // Nobody answers there: what was dialled would time out, not be refused by name.
        names.set("bot.test", Reply::V4(vec![Ipv4Addr::new(169, 254, 169, 254)]));
        let head = "[delivery]\nallow_hosts = [\"loopback\", \"bot.test\"]\nbreaker_faults = 1\n";
        let mut site = Site::new(head).await;
        let app = site.add_simple(1, "acme", "http://bot.test:8080/slack/events");
        site.start_connected(&[&app]).await;
        acked(&app).await;
        site.until_tenant("acme", "the breaker", |tenant| !tenant.routes_down.is_empty()).await;
        assert!(
            site.metric("taut_delivery_attempts_total{tenant=\"acme\",outcome=\"target_fault\"}").await
                >= 1.0
        );
        let log = site.read("worker.log");
        assert!(log.contains("169.254.169.254") && log.contains("delivery.allow_hosts"), "{log}");

        // The name is corrected: a public one would do as well, but this one the list knows.
        let handler = echo("acme").await;
        let page = site.taut(&["doctor"]).await;
        assert!(
            page.stdout.contains("169.254.169.254") && page.stdout.contains("taut's configuration"),
            "{page:?}"
        );
        let port =
            handler.url().rsplit_once(':').map(|(_, rest)| rest.split('/').next().unwrap_or("").to_owned());
        let port = port.expect("a port");
        names.set("bot.test", Reply::V4(vec![Ipv4Addr::LOCALHOST]));
        let onward = tokio::net::TcpListener::bind("127.0.0.1:8080").await.expect("free in here");
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = onward.accept().await {
                let mut handler =
                    tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("it");
                tokio::spawn(async move {
                    drop(tokio::io::copy_bidirectional(&mut tcp, &mut handler).await);
                });
            }
        });
        assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await, "{}", site.worker.log_tail());
    });
}

/// In a network of its own: with a proxy configured, not even the name of Slack is asked for here.
#[test]
fn f38_with_a_proxy_the_host_neither_asks_for_slacks_name_nor_dials_it() {
    if !is_inside() {
        return inside("names::f38_with_a_proxy_the_host_neither_asks_for_slacks_name_nor_dials_it");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (names, ca) = (Names::serve().await, PrivateCa::named("Corp Slack Root"));
        let here = Ipv4Addr::LOCALHOST;
        names.set("slack.test", Reply::V4(vec![Ipv4Addr::new(127, 0, 0, 9)]));
        names.set("proxy.test", Reply::V4(vec![here]));
        let proxy = ConnectProxy::to(SocketAddr::from((here, PORT)), Manner::Tunnel).await;
        let way = format!("proxy = \"http://proxy.test:{}\"\n", proxy.at.port());
        let mut site = Site::with_sim(&network(&ca, &way), slack(&ca, here)).await;
        site.slack("opens_per_app = \"100 then 1/1s\"");
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start_connected(&[&app]).await;
        acked(&app).await;
        proxy.behave(Manner::Close);
        site.until_tenant("acme", "the proxy is away", |tenant| tenant.reason == "proxy_closed").await;
        names.set("proxy.test", Reply::Unknown);
        let asked = names.asked_for("proxy.test");
        until("the proxy's name is asked for again", || names.asked_for("proxy.test") > asked + 4).await;
        assert_eq!(names.asked_for("slack.test"), 0, "Slack's name was asked for beside the proxy");
        tokio::time::timeout(Duration::from_secs(20), site.worker.terminate())
            .await
            .expect("it stops")
            .expect("ended");
    });
}
