//! Loads, and the simulator over TLS.

use std::time::Duration;

use taut_sim::{AppSpec, Load, Sample, Sim, SimConfig, Switches, TlsIdentity};

use crate::client::Socket;
use crate::{LONG, sim_with};

#[tokio::test]
async fn a_load_ends_at_its_count_and_every_envelope_can_be_acked() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let kinds = vec![Sample::Message, Sample::BlockActions];
    let load = app.load(Load { rate: f64::INFINITY, kinds, in_flight_max: 16, count: Some(200), time: None });
    let mut interactive = 0;
    for _ in 0..200 {
        let envelope = socket.json().await;
        interactive += u32::from(envelope["type"] == "interactive");
        assert!(app.unacked() <= 16);
        socket.ack(&envelope).await;
    }
    load.finished().await;
    assert!(app.wait_settled(LONG).await);
    assert_eq!((interactive, load.pushed(), app.totals().acked), (100, 200, 200));
}

#[tokio::test]
async fn a_load_keeps_its_rate_and_uses_the_channels_in_turn() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    let channels = ["C1", "C2", "C3"].map(str::to_owned).to_vec();
    sim.add_app(AppSpec { channels, ..AppSpec::new("A0TESTAPP01", crate::TOKEN) });
    let (mut socket, _) = Socket::connect(&sim).await;
    let load = sim.load(Load { rate: 1_000.0, time: Some(Duration::from_millis(100)), ..Load::default() });
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        seen.insert(socket.json().await["payload"]["event"]["channel"].to_string());
    }
    load.finished().await;
    assert_eq!(seen.len(), 3);
    assert!((30..=101).contains(&load.pushed()), "{}", load.pushed());
}

#[tokio::test]
async fn an_app_at_its_limit_refuses_pushes_and_says_so() {
    let sim = Sim::start(SimConfig { unacked_max: 2, ..SimConfig::default() }).await.unwrap();
    let app = sim.add_app(AppSpec::new("A0TESTAPP01", crate::TOKEN));
    let (_socket, _) = Socket::connect(&sim).await;
    for _ in 0..3 {
        app.push(Sample::Message);
    }
    assert_eq!((app.totals().produced, app.totals().refused, app.unacked()), (2, 1, 2));

    let waiting = sim.add_app(AppSpec::new("A0OTHER0001", "xapp-1-A0OTHER0001-1-ab"));
    for _ in 0..3 {
        waiting.push(Sample::Message);
    }
    assert_eq!(
        (waiting.totals().refused, waiting.unacked()),
        (1, 0),
        "between two attempts they count as well"
    );
}

#[tokio::test]
async fn with_an_identity_everything_goes_over_tls() {
    let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = issued.signing_key.serialize_der();
    let identity = TlsIdentity { chain: vec![issued.cert.der().clone()], key: key.try_into().unwrap() };
    let sim = Sim::start(SimConfig { tls: Some(identity), ..SimConfig::default() }).await.unwrap();
    sim.add_app(AppSpec::new("A0TESTAPP01", crate::TOKEN));
    assert!(sim.api_url().starts_with("https://127.0.0.1:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let authority = sim.url().strip_prefix("https://").unwrap().to_owned();
    let dial = async || {
        let tcp = tokio::net::TcpStream::connect(&authority).await.unwrap();
        connector.connect("127.0.0.1".try_into().unwrap(), tcp).await.unwrap()
    };

    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(dial().await)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("/api/apps.connections.open")
        .header("authorization", format!("Bearer {}", crate::TOKEN))
        .body(http_body_util::Full::<bytes::Bytes>::default())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap().into_body();
    let body = http_body_util::BodyExt::collect(answer).await.unwrap().to_bytes();
    let url = serde_json::from_slice::<serde_json::Value>(&body).unwrap()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("wss://"), "{url}");
    let (mut socket, _) = tokio_tungstenite::client_async(url.as_str(), dial().await).await.unwrap();
    let hello = futures::StreamExt::next(&mut socket).await.unwrap().unwrap();
    assert!(hello.to_text().unwrap().contains("\"hello\""));
}
