use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use taut_net::dial::Way;
use taut_net::http::{HttpClient, HttpLimits};
use taut_net::slack::{OpenClass, SlackApi};
use taut_vault::AppToken;
use tokio::net::TcpListener;

use crate::kit::{Server, dialer};

const TOKEN: &str = "xapp-1-A0123456789-111-feedface";

fn api(url: &str) -> SlackApi {
    let http = HttpClient::new(dialer(), Way::Outside, HttpLimits::default());
    SlackApi::new(http, url).expect("a base URL")
}

#[tokio::test]
async fn call_carries_the_token_in_its_header_alone() {
    let open = post(|headers: HeaderMap, body: String| async move {
        let fine = headers["authorization"] == format!("Bearer {TOKEN}").as_str() && body.is_empty();
        let url = if fine { "ws://127.0.0.1:9/link/?ticket=t1" } else { "" };
        format!(r#"{{"ok":true,"url":"{url}"}}"#)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    let router = Router::new().route("/api/apps.connections.open", open);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let opened =
        api(&format!("http://{at}/api/")).open_connection(&AppToken::from(TOKEN)).await.expect("opened");
    assert_eq!(opened.url.host(), "127.0.0.1");
    assert!(opened.server_date.is_some());
}

#[tokio::test]
async fn answer_without_content_type_is_read() {
    let body = r#"{"ok":false,"error":"account_inactive"}"#;
    let server =
        Server::saying(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    let error = api(&format!("http://{}/api/", server.at)).open_connection(&AppToken::from(TOKEN)).await;
    let error = error.expect_err("refused");
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Park, "account_inactive"));
}

#[tokio::test]
async fn endless_answer_and_silence_are_cut() {
    let endless = Server::saying(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(70_000))).await;
    let error = api(&format!("http://{}/api/", endless.at)).open_connection(&AppToken::from(TOKEN)).await;
    let error = error.expect_err("too large");
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, "odd_answer"));

    let silent = Server::silent().await;
    let api = api(&format!("http://{}/api/", silent.at)).with_timeout(Duration::from_millis(50));
    let error = api.open_connection(&AppToken::from(TOKEN)).await.expect_err("silent");
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, "timeout"));
}

#[tokio::test]
async fn unreachable_slack_is_retried_and_says_where_it_broke() {
    let error = api("https://nowhere.invalid/api/").open_connection(&AppToken::from(TOKEN)).await;
    let error = error.expect_err("unreachable");
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, "dns_failed"));
    assert!(error.text.contains("nowhere.invalid") && error.text.contains("name resolution"), "{error}");
}

#[tokio::test]
async fn token_that_no_header_can_carry_parks_unseen() {
    let error = api("http://127.0.0.1:1/api/").open_connection(&AppToken::from("xapp\nX: y")).await;
    let error = error.expect_err("refused");
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Park, "bad_token_text"));
    assert!(!error.to_string().contains("X: y"));
}

#[tokio::test]
async fn base_urls_are_checked() {
    let http = HttpClient::new(dialer(), Way::Outside, HttpLimits::default());
    for fine in ["https://slack.com/api/", "http://[::1]:8080/"] {
        assert!(SlackApi::new(http.clone(), fine).is_ok(), "{fine}");
    }
    for odd in [
        "",
        "slack.com/api/",
        "ftp://slack.com/api/",
        "https://slack.com/api",
        "https://u:p@slack.com/api/",
        "https://slack.com/?a=/",
    ] {
        assert!(SlackApi::new(http.clone(), odd).is_err(), "{odd}");
    }
}
