//! Rows 47, 51 and 52: what a handler and the way to it do.

use std::net::SocketAddr;
use std::time::Duration;

use taut_sim::{AckOutcome, AppHandle, EchoHandler, Outage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::fault_proxy::{Door, FaultProxy, Flow};
use crate::support::{SOON, Site, echo};
use crate::{ACK_MAX, brisk, event, messages};

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
    /// Between taut and the handler.
    way: FaultProxy,
}

impl Stand {
    async fn new() -> Self {
        let handler = echo("acme").await;
        let authority = handler.url().replace("http://", "").replace("/slack/events", "");
        let way = FaultProxy::before(authority.parse().expect("an address"));
        let mut site =
            Site::with_switches("[delivery]\nretry_first = \"100ms\"\nretry_max = \"1s\"\n", brisk()).await;
        let route = format!(
            "[[tenants.routes]]\nname = \"bot\"\ntimeout = \"1s\"\ntarget = {{ http = \"http://{}/slack/events\" }}\n",
            way.address()
        );
        let app = site.add_tenant(1, "acme", &route);
        site.start_connected(&[&app]).await;
        Self { site, app, handler, way }
    }

    async fn outcomes(&self, outcome: &str) -> f64 {
        let metric = format!("taut_delivery_attempts_total{{tenant=\"acme\",outcome=\"{outcome}\"}}");
        self.site.metric(&metric).await
    }

    async fn until_outcome(&self, outcome: &str) {
        let looking = async {
            while self.outcomes(outcome).await < 1.0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(
            tokio::time::timeout(SOON, looking).await.is_ok(),
            "no {outcome}\n{}",
            self.site.worker.log_tail()
        );
    }

    async fn stored(&self, id: &str) {
        let outcome = self.app.push(event(&self.app, id, id)).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 0, .. }), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f47_a_handler_that_never_answers_meets_each_attempts_timeout_and_the_routes_concurrency() {
    let stand = Stand::new().await;
    stand.handler.outage(Outage::Hang);
    messages(&stand.app, 40);
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked == 40).await, "stored, so acked");
    stand.until_outcome("transient").await;
    assert!(stand.handler.totals().in_flight_peak <= 8, "{:?}", stand.handler.totals());
    stand.handler.outage(Outage::None);
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 40).await, "{:?}", stand.handler.totals());
}

/// Ways to a handler that fail in the middle, one after the other; each event gets there in the end.
#[tokio::test(flavor = "multi_thread")]
async fn f47_a_way_to_the_handler_that_stalls_dribbles_hangs_or_resets_delays_and_loses_nothing() {
    let stand = Stand::new().await;
    let faults: [(&str, &str, &dyn Fn()); 4] = [
        ("Ev0STALL", "transient", &|| stand.way.down(Flow::Stall)),
        ("Ev0DRIP", "transient", &|| {
            stand.way.down(Flow::Dribble { bytes: 1, every: Duration::from_millis(100) });
        }),
        ("Ev0HANG", "transient", &|| (stand.way.reset(), stand.way.door(Door::Hang)).1),
        ("Ev0REFUSE", "transient", &|| (stand.way.reset(), stand.way.door(Door::Refuse)).1),
    ];
    for (id, outcome, fault) in faults {
        fault();
        stand.stored(id).await;
        stand.until_outcome(outcome).await;
        stand.way.both(Flow::Through);
        stand.way.door(Door::Open);
        stand.way.reset();
        let taken = stand.handler.wait_until(SOON, |_| stand.handler.answered(id) > 0).await;
        assert!(taken, "{id}\n{}", stand.site.worker.log_tail());
    }
    stand.site.until_tenant("acme", "all delivered", |tenant| tenant.backlog_envelopes == 0).await;
    assert_eq!(stand.site.tenant("acme").await.dead_letters, 0);
}

/// The status was whole, so the handler has done its work; sending again would do it twice.
#[tokio::test(flavor = "multi_thread")]
async fn f51_a_success_that_breaks_off_in_its_body_is_a_success() {
    let stand = Stand::new().await;
    stand.handler.outage(Outage::Oversized(200_000));
    stand.way.down(Flow::CutAfter(4_000));
    stand.stored("Ev0BROKEN").await;
    stand.site.until_tenant("acme", "delivered", |tenant| tenant.delivered == 1).await;
    assert!((stand.outcomes("done").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(stand.handler.totals().requests, 1, "asked once");
}

/// A handler that answers 429 for one channel and 200 for the others; the bodies of what it took.
async fn choosy(busy: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (taken, bodies) = mpsc::channel(64);
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 << 10];
            let mut read = 0;
            while !request[..read].ends_with(b"}}") {
                match stream.read(&mut request[read..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => read += count,
                }
            }
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let answer = if text.contains(busy) {
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            };
            stream.write_all(answer.as_bytes()).await.expect("taut reads");
            taken.send(text).await.expect("the test listens");
        }
    });
    (address, bodies)
}

#[tokio::test(flavor = "multi_thread")]
async fn f52_retry_after_holds_its_lane_and_no_other() {
    let (address, mut bodies) = choosy("C0BUSY").await;
    let mut site = Site::with_switches("", brisk()).await;
    let app = site.add_simple(1, "acme", &format!("http://{address}/"));
    site.start_connected(&[&app]).await;
    app.push(event(&app, "Ev0LATER", "C0BUSY"));
    assert!(bodies.recv().await.expect("it came").contains("Ev0LATER"));
    app.push(event(&app, "Ev0BEHIND", "C0BUSY"));
    for number in 0..20 {
        app.push(event(&app, &format!("Ev0FREE{number}"), "C0FREE"));
    }
    for _ in 0..20 {
        let body = tokio::time::timeout(SOON, bodies.recv()).await.expect("soon").expect("it came");
        assert!(body.contains("Ev0FREE"), "what waits is not asked for again: {body}");
    }
    let tenant =
        site.until_tenant("acme", "only that lane is left", |tenant| tenant.backlog_envelopes == 2).await;
    assert_eq!((tenant.delivered, tenant.dead_letters), (20, 0), "the head waits, and what is behind it");
}
