use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use taut_core::config::TenantNetwork;
use taut_net::dial::{DialFault, Dialer, Endpoint, Step, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::kit::{PrivateCa, Server, dialer, network, self_signed};

async fn echo_over(tls: TlsAcceptor) -> Server {
    Server::start(move |tcp| {
        let tls = tls.clone();
        async move {
            // A client that refuses the certificate ends the handshake.
            let Ok(mut stream) = tls.accept(tcp).await else { return };
            let mut byte = [0; 1];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await.expect("written");
                stream.flush().await.expect("flushed");
            }
        }
    })
    .await
}

fn localhost(server: &Server) -> Endpoint {
    Endpoint { host: "localhost".into(), port: server.at.port(), tls: true }
}

fn complaint(kind: &DialFault) -> &str {
    let DialFault::Certificate { text, .. } = kind else { panic!("not the certificate: {kind}") };
    text
}

#[tokio::test]
async fn private_ca_from_a_file_is_trusted() {
    let ca = PrivateCa::new();
    let server = echo_over(ca.acceptor("localhost")).await;
    let mut stream = ca.dialer().dial(&localhost(&server), Way::Direct).await.expect("trusted");
    stream.write_all(b"x").await.expect("written");
    stream.flush().await.expect("flushed");
    assert_eq!(stream.read_u8().await.expect("an echo"), b'x');
}

#[tokio::test]
async fn unknown_ca_is_refused_with_a_hint() {
    let server = echo_over(PrivateCa::new().acceptor("localhost")).await;
    let error = dialer().dial(&localhost(&server), Way::Direct).await.expect_err("untrusted");
    assert_eq!((error.step, error.host.as_str()), (Step::Tls, "localhost"));
    let complaint = complaint(&error.kind);
    assert!(
        complaint.contains("CN=Corp Inspection Root") && complaint.contains("network.ca_files"),
        "{error}"
    );
}

#[tokio::test]
async fn certificate_of_another_name_is_refused() {
    let ca = PrivateCa::new();
    let server = echo_over(ca.acceptor("other.corp")).await;
    let error = ca.dialer().dial(&localhost(&server), Way::Direct).await.expect_err("wrong name");
    assert!(complaint(&error.kind).contains("another host answered"), "{error}");
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let ca = PrivateCa::new();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.not_after = date_time_ymd(2001, 1, 1);
    let server = echo_over(ca.acceptor_with(&params)).await;
    let error = ca.dialer().dial(&localhost(&server), Way::Direct).await.expect_err("expired");
    assert!(complaint(&error.kind).contains("it has expired"), "{error}");
}

#[tokio::test]
async fn server_without_tls_is_a_failed_handshake() {
    let server = Server::start(|mut tcp| async move {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("written");
        std::future::pending::<()>().await;
    })
    .await;
    let error = dialer().dial(&localhost(&server), Way::Direct).await.expect_err("no TLS");
    assert!(matches!(error.kind, DialFault::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn silent_handshake_meets_the_deadline_of_its_step() {
    let server = Server::silent().await;
    let limit = Duration::from_millis(250);
    let dialer = Dialer::new(&network(limit), None).expect("a dialer");
    let error = dialer.dial(&server.endpoint(true), Way::Direct).await.expect_err("silent");
    assert_eq!((error.step, error.kind), (Step::Tls, DialFault::Timeout { limit }));
}

#[tokio::test]
async fn unknown_name_is_named() {
    let target = Endpoint { host: "nowhere.invalid".into(), port: 443, tls: true };
    let error = dialer().dial(&target, Way::Direct).await.expect_err("no such name");
    assert_eq!((error.step, error.host.as_str()), (Step::Dns, "nowhere.invalid"));
}

#[tokio::test]
async fn host_that_drops_packets_meets_the_deadline_of_its_step() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("a port");
    listener.listen(0).expect("listening");
    let at = listener.local_addr().expect("its address").as_socket().expect("IPv4");
    // The kernel drops what comes beyond a full backlog, as a firewall does.
    let mut waiting = Vec::new();
    let limit = Duration::from_millis(200);
    while let Ok(Ok(tcp)) = tokio::time::timeout(limit, tokio::net::TcpStream::connect(at)).await {
        waiting.push(tcp);
    }
    let dialer = Dialer::new(&network(limit), None).expect("a dialer");
    let target = Endpoint { host: at.ip().to_string(), port: at.port(), tls: true };
    let error = dialer.dial(&target, Way::Direct).await.expect_err("no answer");
    assert_eq!((error.step, error.kind), (Step::Tcp, DialFault::Timeout { limit }));
}

#[tokio::test]
async fn self_signed_certificate_is_called_that() {
    let server = echo_over(self_signed("localhost")).await;
    let error = dialer().dial(&localhost(&server), Way::Direct).await.expect_err("untrusted");
    assert_eq!(error.code(), "tls_untrusted", "{error}");
    assert!(complaint(&error.kind).contains("self-signed"), "{error}");
}

#[tokio::test]
async fn tenants_own_root_is_trusted_by_its_dialer_alone() {
    let ca = PrivateCa::new();
    let server = echo_over(ca.acceptor("localhost")).await;
    let host = dialer();
    let own = TenantNetwork { ca_files: vec![ca.file()], ..TenantNetwork::default() };
    let tenant = host.for_tenant(&own, None).expect("a dialer");
    tenant.dial(&localhost(&server), Way::Direct).await.expect("trusted");
    host.dial(&localhost(&server), Way::Direct).await.expect_err("untrusted");
}

#[tokio::test]
async fn guard_judges_what_a_name_stands_for() {
    let server = Server::silent().await;
    let endpoint = Endpoint { host: "localhost".into(), port: server.at.port(), tls: false };
    let nobody = dialer().guarded(Arc::new(|_, _| false));
    let error = nobody.dial(&endpoint, Way::Direct).await.expect_err("guarded");
    assert_eq!((error.code(), server.connections()), ("tcp_not_allowed", 0));
    assert!(error.to_string().contains("delivery.allow_hosts"), "{error}");
    let old = dialer().guarded(Arc::new(|host, address| host == "localhost" && address.is_ipv4()));
    old.dial(&endpoint, Way::Direct).await.expect("IPv4 is let through");
}

#[tokio::test]
async fn walk_shows_the_chain_and_who_vouches_for_it() {
    let ca = PrivateCa::new();
    let server = echo_over(ca.acceptor("localhost")).await;
    let walk = ca.dialer().walk(&localhost(&server), Way::Direct).await;
    assert_eq!(walk.failed, None);
    let steps: Vec<_> = walk.hops.iter().map(|hop| hop.step).collect();
    assert_eq!(steps, [Step::Dns, Step::Tcp, Step::Tls]);
    assert_eq!(walk.chain[0].issuer, "CN=Corp Inspection Root");
    let root = walk.trusted_by.expect("a root");
    assert!(root.contains("Corp Inspection Root") && root.contains("corp.pem"), "{root}");

    let walk = dialer().walk(&localhost(&server), Way::Direct).await;
    assert_eq!(walk.failed.map(|error| error.code()), Some("tls_untrusted"));
    assert_eq!((walk.chain.len(), walk.trusted_by), (1, None));
}
