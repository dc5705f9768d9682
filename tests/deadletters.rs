//! What a handler refuses is kept for a person, who can list, show, replay and drop it, with the worker or without.

mod support;

use serde_json::Value;
use support::{SOON, Site, echo};
use taut_sim::{AppHandle, EchoAnswer, EchoHandler, Sample};

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
}

impl Stand {
    /// A tenant whose handler has refused this many events for good.
    async fn with_poison(environment: &str, count: u64) -> Self {
        let mut site = Site::new("").await;
        let handler = echo("acme").await;
        let routes = format!(
            "environment = \"{environment}\"\n[[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{}\" }}\n",
            handler.url()
        );
        let app = site.add_tenant(1, "acme", &routes);
        site.start_connected(&[&app]).await;
        handler.answer("message", Some(EchoAnswer::status(400)));
        for _ in 0..count {
            app.push(Sample::Message);
        }
        site.until_tenant("acme", "dead letters", |tenant| tenant.dead_letters == count).await;
        Self { site, app, handler }
    }

    /// The dead letters as `list --json` prints them.
    async fn letters(&self, more: &[&str]) -> Vec<Value> {
        let text = self.site.taut(&[&["deadletter", "list", "--json"], more].concat()).await.ok();
        let documents = serde_json::Deserializer::from_str(&text).into_iter();
        documents.map(|document| document.expect("each is a JSON document")).collect()
    }
}

fn number(letter: &Value) -> String {
    letter["seq"].as_u64().expect("its number").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_kept_with_every_attempts_reason() {
    let stand = Stand::with_poison("dev", 3).await;
    assert!(stand.app.wait_settled(SOON).await);
    assert_eq!(stand.app.totals().acked, 3, "acked all the same: it was stored");
    let list = stand.site.taut(&["deadletter", "list"]).await.ok();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(
        list.lines().all(|line| line.contains("acme") && line.contains("poison") && line.contains("400")),
        "{list}"
    );

    let letters = stand.letters(&[]).await;
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[0]["attempts"].as_array().map(Vec::len), Some(1), "{}", letters[0]);
    assert_eq!(stand.letters(&["--tenant", "globex"]).await.len(), 0);

    let shown = stand.site.taut(&["deadletter", "show", "acme", &number(&letters[0])]).await.ok();
    let shown: Value = serde_json::from_str(&shown).expect("one document");
    assert!(shown["frame"].as_str().is_some_and(|frame| frame.contains("envelope_id")), "{shown}");
    assert!(stand.site.metric("taut_dead_letters{tenant=\"acme\"}").await >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_prod_a_dead_letter_shows_no_body() {
    let stand = Stand::with_poison("prod", 1).await;
    let letters = stand.letters(&[]).await;
    let shown = stand.site.taut(&["deadletter", "show", "acme", &number(&letters[0])]).await.ok();
    let shown: Value = serde_json::from_str(&shown).expect("one document");
    assert!(shown["frame"].is_null(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_delivers_again_with_a_fresh_signature() {
    let stand = Stand::with_poison("dev", 3).await;
    let letters = stand.letters(&[]).await;
    let before = stand.handler.totals();
    stand.handler.answer("message", None);
    let one = stand.site.taut(&["deadletter", "replay", "acme", &number(&letters[1])]).await.ok();
    assert_eq!(one, "1 replayed\n");
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 1).await);
    let rest = stand.site.taut(&["deadletter", "replay", "acme", "--all"]).await.ok();
    assert_eq!(rest, "2 replayed\n");
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 3).await);
    assert_eq!(stand.handler.totals().verified, before.verified + 3);
    assert_eq!(stand.handler.totals().refused, 0);
    stand
        .site
        .until_tenant("acme", "nothing is left", |tenant| {
            tenant.dead_letters == 0 && tenant.backlog_envelopes == 0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_letter_is_gone_for_good() {
    let mut stand = Stand::with_poison("dev", 2).await;
    let letters = stand.letters(&[]).await;
    let dropped = stand.site.taut(&["deadletter", "drop", "acme", &number(&letters[0])]).await.ok();
    assert_eq!(dropped, "1 dropped\n");
    stand.site.worker.kill().await.expect("it runs");
    stand.site.start().await;
    assert_eq!(stand.letters(&[]).await, [letters[1].clone()]);
    let again = stand.site.taut(&["deadletter", "show", "acme", &number(&letters[0])]).await;
    assert_eq!(again.code, 1, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_the_same_commands_work_on_the_store_itself() {
    let mut stand = Stand::with_poison("dev", 3).await;
    let online = stand.letters(&[]).await;
    stand.handler.answer("message", None);
    let (whole, _) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole);
    let offline = stand.letters(&["--offline"]).await;
    assert_eq!(offline, online);
    let shown =
        stand.site.taut(&["deadletter", "show", "acme", &number(&offline[0]), "--offline"]).await.ok();
    assert!(shown.contains("envelope_id"), "{shown}");
    let dropped =
        stand.site.taut(&["deadletter", "drop", "acme", &number(&offline[0]), "--offline"]).await.ok();
    assert_eq!(dropped, "1 dropped\n");
    let replayed = stand.site.taut(&["deadletter", "replay", "acme", "--all", "--offline"]).await.ok();
    assert_eq!(replayed, "2 replayed\n");
    stand.site.start().await;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 2).await, "{:?}", stand.handler.totals());
    assert_eq!(stand.letters(&[]).await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_number_nothing_is_touched() {
    let stand = Stand::with_poison("dev", 1).await;
    let run = stand.site.taut(&["deadletter", "drop", "acme"]).await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("--all"), "{}", run.stderr);
    assert_eq!(stand.letters(&[]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_a_removed_route_is_kept_and_says_so() {
    let mut site = Site::new("").await;
    let (bot, audit) = (echo("acme").await, echo("acme").await);
    audit.outage(taut_sim::Outage::Status(503));
    let route = |name: &str, handler: &EchoHandler| {
        format!("[[tenants.routes]]\nname = \"{name}\"\ntarget = {{ http = \"{}\" }}\n", handler.url())
    };
    let app = site.add_tenant(1, "acme", &format!("{}{}", route("bot", &bot), route("audit", &audit)));
    site.start_connected(&[&app]).await;
    for _ in 0..5 {
        app.push(Sample::Message);
    }
    assert!(bot.wait_until(SOON, |totals| totals.keys == 5).await);
    let (whole, _) = site.worker.terminate().await.expect("it stops");
    assert!(whole);
    let text = site.read("taut.toml").replace(&route("audit", &audit), "");
    site.write_secret("taut.toml", &text);
    site.worker.start().await.expect("it starts");
    site.until_tenant("acme", "dead letters", |tenant| tenant.dead_letters == 5).await;
    let list = site.taut(&["deadletter", "list"]).await.ok();
    assert!(list.lines().all(|line| line.contains("route_removed") && line.contains("audit")), "{list}");
    let replay = site.taut(&["deadletter", "replay", "acme", "--all"]).await;
    assert_eq!(replay.code, 1, "{replay:?}");
    assert!(replay.stderr.contains("audit"), "names the route: {}", replay.stderr);
}
