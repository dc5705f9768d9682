//! Every fault of a certificate is told from the others, and nothing goes on without verification.

use taut_sim::{Sim, SimConfig, TlsIdentity};

use crate::ca::{PrivateCa, self_signed};
use crate::connect_proxy::{ConnectProxy, Manner};
use crate::stage::{Stage, through, trusting};
use crate::support::{connected, echo};

/// A server of TLS with this certificate, and the proxy that leads to it.
async fn impostor(identity: TlsIdentity) -> (Sim, ConnectProxy) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = free.local_addr().expect("its address");
    drop(free);
    let config = SimConfig { listen, tls: Some(identity), ..SimConfig::default() };
    let sim = Sim::start(config).await.expect("it listens");
    (sim, ConnectProxy::to(listen, Manner::Tunnel).await)
}

/// Fault 37, with the real binary: one worker, a tenant for each certificate.
#[tokio::test(flavor = "multi_thread")]
async fn f37_each_fault_of_a_certificate_has_its_own_reason_and_an_inspector_is_named() {
    let mut stage = Stage::new(false, |_| String::new()).await;
    let handler = echo("own").await;
    let url = handler.url();
    let inspector = PrivateCa::named("Corp Inspection Root");
    let impostors = [
        (
            "inspected",
            impostor(inspector.identity("localhost")).await,
            "tls_untrusted",
            "CN=Corp Inspection Root",
        ),
        ("alone", impostor(self_signed("localhost")).await, "tls_untrusted", "self-signed"),
        ("expired", impostor(inspector.expired("localhost")).await, "tls_expired", "it has expired"),
        (
            "misnamed",
            impostor(inspector.identity("other.test")).await,
            "tls_wrong_name",
            "another host answered",
        ),
    ];
    for (number, (id, (_, proxy), _, _)) in (1..).zip(&impostors) {
        // Whoever signed: beyond trust, time and name count as well.
        let trusted = !matches!(*id, "inspected" | "alone");
        let network = if trusted { trusting(&proxy.url(), &inspector.file()) } else { through(&proxy.url()) };
        stage.tenant(number, id, &network, &url, "");
    }
    let way = ConnectProxy::to(stage.slack, Manner::Tunnel).await;
    let network = trusting(&way.url(), &stage.ca.file());
    let own = stage.tenant(100, "own", &network, &url, "");
    stage.tenant(101, "neighbour", &through(&way.url()), &url, "");
    stage.site.start().await;

    assert!(connected(&own).await, "its own root is trusted\n{}", stage.site.worker.log_tail());
    for (id, _, code, words) in &impostors {
        let sentence = stage.reason(id, code).await;
        assert!(sentence.contains(words), "{id}: {sentence}");
        assert!(stage.opens(id, "tls_failed").await >= 1.0, "{id}");
    }
    let hint = stage.reason("inspected", "tls_untrusted").await;
    assert!(hint.contains("network.ca_files"), "{hint}");
    let neighbour = stage.reason("neighbour", "tls_untrusted").await;
    assert!(neighbour.contains("CN=Corp Slack Root"), "one tenant's root is nobody else's: {neighbour}");
    assert_eq!(stage.decoy.came(), 0);
}
