//! Every way a CONNECT proxy can fail is told from the others, and none of them sends anybody round it.

use crate::connect_proxy::{ConnectProxy, Manner};
use crate::stage::{AUTHORIZATION, PASSWORD, Stage, through};
use crate::support::{connected, echo};

const LOGIN_PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please log in</html>";
const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>no route</html>";

/// Fault 38, with the real binary: one worker, a tenant for each proxy.
#[tokio::test(flavor = "multi_thread")]
async fn f38_each_proxy_fault_has_its_own_reason_and_none_is_gone_round() {
    let mut stage = Stage::new(true, |_| "[network.deadlines]\nconnect = \"500ms\"\n".into()).await;
    let handler = echo("right").await;
    let (url, slack) = (handler.url(), stage.slack);
    stage.site.write_secret("proxy.password", PASSWORD);
    stage.site.write_secret("wrong.password", "not-the-password");
    let with = |proxy: &ConnectProxy, file: &str| {
        format!(
            "network = {{ proxy = \"{}\", proxy_user = \"taut\", proxy_password = {{ file = \"{file}\" }} }}",
            proxy.url()
        )
    };
    let guarded = ConnectProxy::wanting(AUTHORIZATION, slack).await;
    let mut networks = vec![
        ("missing", through(&guarded.url()), "proxy_auth", "none are configured"),
        ("wrong", with(&guarded, "wrong.password"), "proxy_auth", "refused the configured credentials"),
    ];
    let forbidden = "HTTP/1.1 403 Forbidden\r\n\r\n";
    let manners = [
        ("gateway", Manner::Say(BAD_GATEWAY), "proxy_refused", "answered 502"),
        ("forbidden", Manner::Say(forbidden), "proxy_refused", "its rules forbid"),
        ("login", Manner::Say(LOGIN_PAGE), "proxy_odd_answer", "login page"),
        ("smtp", Manner::Say("220 mail.corp ESMTP\r\n"), "proxy_odd_answer", "not an HTTP proxy"),
        ("closes", Manner::Close, "proxy_closed", "closed the connection"),
        ("hangs", Manner::Hang, "proxy_timeout", "no answer within 500ms"),
        ("drips", Manner::Drip, "proxy_timeout", "no answer within 500ms"),
        ("page", Manner::TunnelTo("HTTP/1.1 200 OK\r\n\r\n<html>"), "tls_failed", "handshake failed"),
    ];
    // Their proxies live as long as the test.
    let mut proxies = Vec::new();
    for (id, manner, code, words) in manners {
        let proxy = ConnectProxy::to(slack, manner).await;
        networks.push((id, through(&proxy.url()), code, words));
        proxies.push(proxy);
    }
    networks.push(("absent", through("http://127.0.0.1:1"), "proxy_unreachable", "connection refused"));
    networks.push(("nameless", through("http://proxy.invalid:1"), "proxy_unreachable", "name was not found"));
    for (number, (id, network, _, _)) in (1..).zip(&networks) {
        stage.tenant(number, id, network, &url, "");
    }
    let right = stage.tenant(100, "right", &with(&guarded, "proxy.password"), &url, "");
    stage.site.start().await;
    assert!(connected(&right).await, "{}", stage.site.worker.log_tail());
    for (id, _, code, words) in &networks {
        let sentence = stage.reason(id, code).await;
        assert!(sentence.contains(words), "{id}: {sentence}");
        let outcome = if *code == "tls_failed" { "tls_failed" } else { "proxy_failed" };
        assert!(stage.opens(id, outcome).await >= 1.0, "{id}: {outcome}");
    }
    assert_eq!(stage.decoy.came(), 0, "somebody went round a proxy");
    let said = format!("{}{:?}", stage.site.read("worker.log"), stage.site.status().await);
    for secret in [PASSWORD, "not-the-password", "dGF1dDpodW50ZXIy"] {
        assert!(!said.contains(secret), "the log or the status shows a proxy's password");
    }
}

/// The environment names the proxy, in curl's words, and `NO_PROXY` exempts; a configured proxy beats both.
#[tokio::test(flavor = "multi_thread")]
async fn f38_environment_counts_where_nothing_is_configured_and_only_there() {
    let handler = echo("acme").await;
    // Only a proxy knows this name: whoever goes straight finds nothing.
    let cases = [
        ("HTTPS_PROXY", "", false, "hello"),
        ("ALL_PROXY", "other.test,10.0.0.0/8", false, "hello"),
        ("https_proxy", ".test", false, "dns_failed"),
        ("HTTPS_PROXY", "slack.test", false, "dns_failed"),
        ("HTTPS_PROXY", "*", false, "dns_failed"),
        ("HTTPS_PROXY", "*", true, "hello"),
    ];
    let runs = cases.map(|(variable, exempt, configured, reason)| {
        let url = handler.url();
        async move {
            let ca = crate::ca::PrivateCa::named("Corp Slack Root");
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let slack = free.local_addr().expect("its address");
            drop(free);
            let proxy = ConnectProxy::to(slack, Manner::Tunnel).await;
            let other = ConnectProxy::to(slack, Manner::Say(BAD_GATEWAY)).await;
            let named = if configured { format!("proxy = \"{}\"\n", proxy.url()) } else { String::new() };
            let sim = taut_sim::SimConfig {
                listen: slack,
                tls: Some(ca.identity("slack.test")),
                public: Some("slack.test:443".into()),
                ..taut_sim::SimConfig::default()
            };
            let head = format!("[network]\nca_files = [\"{}\"]\n{named}", ca.file().display());
            let mut site = crate::support::Site::with_sim(&head, sim).await;
            for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
                site.worker.variable(name, "");
            }
            site.worker.variable(variable, &if configured { other.url() } else { proxy.url() });
            site.worker.variable("NO_PROXY", exempt);
            site.add_simple(1, "acme", &url);
            site.start().await;
            site.until_tenant("acme", reason, |tenant| tenant.reason == reason).await;
            let straight = reason == "dns_failed";
            assert_eq!(proxy.asked().is_empty(), straight, "{variable} {exempt}");
            assert!(proxy.asked().iter().all(|target| target == "slack.test:443"), "{:?}", proxy.asked());
            assert!(other.asked().is_empty(), "the environment's proxy was asked beside a configured one");
        }
    });
    futures::future::join_all(runs).await;
}
