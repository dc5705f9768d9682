//! Who gets what: routes by everything `match` names, copies for every route, and what no route wants.

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use support::{SOON, Site, echo};
use taut_sim::{AckOutcome, AppHandle, EchoHandler, Push, Sample};

/// Longest an ack may take: Slack waits 3 s.
const ACK_MAX: Duration = Duration::from_secs(3);

/// A tenant with a route, and a handler, for each of these matches.
async fn routed<const N: usize>(matches: [&str; N]) -> (Site, AppHandle, Vec<EchoHandler>) {
    let mut site = Site::new("").await;
    let mut handlers = Vec::new();
    let mut routes = String::new();
    for (number, matching) in matches.into_iter().enumerate() {
        let handler = echo("acme").await;
        write!(
            routes,
            "[[tenants.routes]]\nname = \"route-{number}\"\nmatch = {{ {matching} }}\ntarget = {{ http = \"{}\" }}\n",
            handler.url()
        )
        .expect("a String takes every write");
        handlers.push(handler);
    }
    let app = site.add_tenant(1, "acme", &routes);
    site.start_connected(&[&app]).await;
    (site, app, handlers)
}

async fn acked(app: &AppHandle, push: impl Into<Push>) -> Option<bytes::Bytes> {
    match app.push(push).wait_ack(ACK_MAX).await {
        AckOutcome::Acked { payload, .. } => payload,
        AckOutcome::Unacked { .. } => panic!("no ack"),
    }
}

/// The kinds a handler was asked for, sorted.
fn asked(handler: &EchoHandler) -> Vec<String> {
    let mut kinds: Vec<_> = handler.requests().into_iter().map(|request| request.kind).collect();
    kinds.sort();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_gets_what_it_matches() {
    let (site, app, handlers) = routed([
        r#"kinds = ["slash_commands"], commands = ["/line"]"#,
        r#"kinds = ["events_api"], event_types = ["reaction_added"]"#,
        r#"kinds = ["events_api"], channels = ["C0NORTH"]"#,
        r#"kinds = ["interactive"], interactive_types = ["view_submission", "view_closed"]"#,
        r#"kinds = ["interactive"], interactive_types = ["shortcut"]"#,
    ])
    .await;
    acked(&app, Sample::SlashCommand).await;
    acked(&app, Push::from(Sample::ReactionAdded).in_channel("C0SOUTH")).await;
    acked(&app, Push::from(Sample::Message).in_channel("C0NORTH")).await;
    acked(&app, Push::from(Sample::Message).in_channel("C0SOUTH")).await;
    acked(&app, Sample::ViewSubmission).await;
    acked(&app, Sample::ViewClosed).await;
    acked(&app, Sample::Shortcut).await;
    site.until_tenant("acme", "all delivered", |tenant| tenant.backlog_envelopes == 0).await;
    assert_eq!(asked(&handlers[0]), ["slash_commands"]);
    assert_eq!(asked(&handlers[1]), ["reaction_added"]);
    assert_eq!(asked(&handlers[2]), ["message"]);
    assert_eq!(asked(&handlers[3]), ["view_closed", "view_submission"]);
    assert_eq!(asked(&handlers[4]), ["shortcut"]);
    assert_eq!(site.tenant("acme").await.unrouted, 1, "the message in another channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_wants_is_acked_if_an_event_and_not_if_a_request() {
    let (site, app, handlers) = routed([r#"kinds = ["events_api"], event_types = ["app_mention"]"#]).await;
    acked(&app, Sample::Message).await;
    let command = app.push(Sample::SlashCommand).wait_ack(Duration::from_millis(300)).await;
    assert!(matches!(command, AckOutcome::Unacked { .. }), "{command:?}");
    assert!((site.metric("taut_envelopes_unrouted_total{tenant=\"acme\"}").await - 1.0).abs() < f64::EPSILON);
    let refused = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"unrouted\"}";
    assert!((site.metric(refused).await - 1.0).abs() < f64::EPSILON);
    assert_eq!(handlers[0].totals().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_routes_the_first_answers_a_request_and_the_others_get_a_copy() {
    let (site, app, handlers) = routed(["", r#"kinds = ["slash_commands", "events_api"]"#]).await;
    handlers[1].answer("slash_commands", Some(taut_sim::EchoAnswer::text("of the second")));
    let answer = acked(&app, Sample::SlashCommand).await.expect("a body");
    assert!(answer.starts_with(b"{\"text\":\"echo: "), "{answer:?}");
    acked(&app, Sample::Message).await;
    for handler in &handlers {
        assert!(handler.wait_until(SOON, |totals| totals.keys == 2).await, "{:?}", handler.totals());
        assert_eq!(asked(handler), ["message", "slash_commands"]);
    }
    site.until_tenant("acme", "all delivered", |tenant| tenant.backlog_envelopes == 0).await;
}
