//! The echo handler, called as Slack would call it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use taut_sim::{EchoAnswer, EchoConfig, EchoHandler, Outage, Sample};

use crate::LONG;
use crate::client::{Answer, request};

const SECRET: &[u8] = b"shhh-simulated";

async fn handler() -> EchoHandler {
    let signing_secret = Some(SECRET.to_vec());
    EchoHandler::start(EchoConfig { signing_secret, ..EchoConfig::default() }).await.unwrap()
}

async fn send(url: &str, secret: &[u8], content_type: &str, body: &str) -> Result<Answer, hyper::Error> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("v0:{seconds}:{body}").as_bytes());
    let hex = tag.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let call = Request::post(url)
        .header("host", "127.0.0.1")
        .header("content-type", content_type)
        .header("idempotency-key", "acme:42")
        .header("x-slack-request-timestamp", seconds)
        .header("x-slack-signature", format!("v0={hex}"));
    request(url, call.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()).await
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn signed_requests_are_answered_and_recorded_by_their_key() {
    let echo = handler().await;
    let event = Sample::Message.load();
    for _ in 0..2 {
        let answer = send(&echo.url(), SECRET, JSON, event).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    let answer = send(&echo.url(), SECRET, FORM, "command=%2Fline&text=hi+there").await.unwrap();
    assert_eq!(answer.body, "echo: hi there");
    let totals = echo.totals();
    assert_eq!((totals.requests, totals.verified, totals.keys, totals.repeats), (3, 3, 2, 1));
    assert_eq!((echo.answered("Ev0SIMULATED"), echo.answered("acme:42")), (2, 1));
    let requests = echo.requests();
    assert_eq!((requests[0].kind.as_str(), requests[2].kind.as_str()), ("message", "slash_commands"));
    assert_eq!(
        (requests[0].body.as_ref(), requests[0].header("idempotency-key")),
        (event.as_bytes(), "acme:42")
    );
}

#[tokio::test]
async fn a_wrong_signature_is_401_and_never_counts_as_answered() {
    let echo = handler().await;
    let own = echo.add_path("/slack/acme", "another secret");
    assert_eq!(send(&echo.url(), b"wrong", JSON, "{}").await.unwrap().status, 401);
    assert_eq!(send(&own, SECRET, JSON, "{}").await.unwrap().status, 401);
    assert_eq!(send(&own, b"another secret", JSON, "{}").await.unwrap().status, 200);
    let totals = echo.totals();
    assert_eq!((totals.refused, totals.answered), (2, 1));
}

#[tokio::test]
async fn url_verification_is_answered_with_its_challenge() {
    let echo = handler().await;
    let body = r#"{"token":"x","challenge":"abc","type":"url_verification"}"#;
    assert_eq!(send(&echo.url(), SECRET, JSON, body).await.unwrap().json()["challenge"], "abc");
}

#[tokio::test]
async fn each_outage_fails_in_its_way_and_ends() {
    let echo = handler().await;
    let call = || async { send(&echo.url(), SECRET, FORM, "command=%2Fline&text=x").await };
    echo.outage(Outage::Status(503));
    assert_eq!(call().await.unwrap().status, 503);
    echo.outage(Outage::Abort);
    assert!(call().await.is_err());
    echo.outage(Outage::Garbage);
    assert!(serde_json::from_slice::<serde_json::Value>(&call().await.unwrap().body).is_err());
    echo.outage(Outage::Oversized(30_000));
    assert_eq!(call().await.unwrap().body.len(), 30_000);
    echo.outage(Outage::Slow(Duration::from_millis(20)));
    assert_eq!(call().await.unwrap().body, "echo: x");
    echo.outage(Outage::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(40), call()).await.is_err());
    echo.outage(Outage::Refuse);
    let authority = echo.url().trim_start_matches("http://").trim_end_matches("/slack/events").to_owned();
    let mut refused = false;
    for _ in 0..1_000 {
        refused = tokio::net::TcpStream::connect(&authority).await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(refused, "nothing listens");
    echo.outage(Outage::None);
    let mut back = false;
    for _ in 0..1_000 {
        back = tokio::net::TcpStream::connect(&authority).await.is_ok();
        if back {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(back);
    assert_eq!(call().await.unwrap().status, 200);
    assert!(echo.wait_until(LONG, |totals| totals.in_flight == 0).await);
    assert_eq!(echo.totals().answered, 4, "garbage, oversized, slow and the last");
}

#[tokio::test]
async fn answers_can_be_replaced_by_kind() {
    let echo = handler().await;
    echo.answer("message", Some(EchoAnswer::status(404)));
    assert_eq!(send(&echo.url(), SECRET, JSON, Sample::Message.load()).await.unwrap().status, 404);
    echo.answer("message", None);
    assert_eq!(send(&echo.url(), SECRET, JSON, Sample::Message.load()).await.unwrap().status, 200);
    echo.stop().await;
}
