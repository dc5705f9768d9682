//! Every kind of request, for quick, slow, failing, garbage and oversized answers, from Slack's side of the socket:
//! the table of `docs/answers.md`, end to end.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{SOON, Site, echo};
use taut_sim::{AckOutcome, AppHandle, EchoAnswer, EchoHandler, NoteKind, Outage, Push, Sample};

/// Longest an ack may take: Slack waits 3 s.
const ACK_MAX: Duration = Duration::from_secs(3);

/// What Slack gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    Bare,
    Body,
    None,
}

/// Kinds that are acked bare, by any success.
const CLICKS: [Sample; 4] =
    [Sample::Shortcut, Sample::MessageAction, Sample::BlockActions, Sample::BlockActionsView];
/// Kinds whose answer may come late, to their `response_url`.
const COMMANDS: [Sample; 2] = [Sample::SlashCommand, Sample::InteractiveMessage];
/// Kinds that are acked with their answer or not at all.
const FORMS: [Sample; 4] =
    [Sample::ViewSubmission, Sample::DialogSubmission, Sample::BlockSuggestion, Sample::DialogSuggestion];
/// Kinds that are acked when stored, whatever their handler says.
const NOTICES: [Sample; 2] = [Sample::ViewClosed, Sample::DialogCancellation];

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
}

impl Stand {
    async fn new(route: &str) -> Self {
        let mut site = Site::new("").await;
        let handler = echo("acme").await;
        let routes = format!(
            "[[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{}\" }}\n{route}\n",
            handler.url()
        );
        let app = site.add_tenant(1, "acme", &routes);
        site.start_connected(&[&app]).await;
        Self { site, app, handler }
    }

    /// Every kind gets this answer.
    fn always(&self, answer: &EchoAnswer) {
        for kind in ["slash_commands", "interactive_message", "shortcut", "message_action", "block_actions"] {
            self.handler.answer(kind, Some(answer.clone()));
        }
        for kind in ["view_submission", "dialog_submission", "block_suggestion", "dialog_suggestion"] {
            self.handler.answer(kind, Some(answer.clone()));
        }
        for kind in ["view_closed", "dialog_cancellation"] {
            self.handler.answer(kind, Some(answer.clone()));
        }
    }

    /// Pushes one of each kind at once and compares every ack with what is wanted.
    async fn acks(&self, clicks: Ack, commands: Ack, forms: Ack) {
        let wanted = [
            (&CLICKS[..], clicks),
            (&COMMANDS[..], commands),
            (&FORMS[..], forms),
            (&NOTICES[..], Ack::Bare),
        ];
        let pushed = wanted.into_iter().flat_map(|(samples, wanted)| {
            samples.iter().map(move |sample| (*sample, self.app.push(*sample), wanted))
        });
        let waits = pushed.map(|(sample, pushed, wanted)| async move {
            let outcome = pushed.wait_ack(2 * ACK_MAX).await;
            let ack = match &outcome {
                AckOutcome::Acked { payload: None, .. } => Ack::Bare,
                AckOutcome::Acked { payload: Some(_), .. } => Ack::Body,
                AckOutcome::Unacked { .. } => Ack::None,
            };
            assert_eq!(ack, wanted, "{}: {outcome:?}", sample.name());
        });
        futures::future::join_all(waits).await;
    }

    /// No request is acked while the handler answers this.
    async fn fails_with(&self, status: u16) {
        self.always(&EchoAnswer::status(status));
        let pushed = CLICKS.iter().chain(&COMMANDS).chain(&FORMS).map(|sample| self.app.push(*sample));
        let waits = pushed.map(|pushed| pushed.wait_ack(Duration::from_millis(200)));
        let outcomes = futures::future::join_all(waits).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, AckOutcome::Unacked { .. })), "{outcomes:?}");
    }

    /// Bodies posted to `response_url`s so far.
    fn responses(&self) -> Vec<String> {
        let notes = self.site.sim.journal().notes(None);
        let body = |note: taut_sim::Note| {
            if let NoteKind::Response { body, .. } = note.kind { Some(body) } else { None }
        };
        notes.into_iter().filter_map(body).collect()
    }

    /// Nothing waits and nothing was given up: what was not acked in time is closed, not delivered again.
    async fn all_is_over(&self) {
        let over =
            self.site.until_tenant("acme", "all is over", |tenant| tenant.backlog_envelopes == 0).await;
        assert_eq!(over.dead_letters, 0, "{over:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_answer_is_the_ack() {
    let stand = Stand::new("").await;
    let body = serde_json::json!({ "text": "tightened", "options": [] });
    stand.always(&EchoAnswer::json(&body));
    stand.acks(Ack::Bare, Ack::Body, Ack::Body).await;
    let command = stand.app.push(Sample::SlashCommand).wait_ack(ACK_MAX).await;
    let AckOutcome::Acked { payload: Some(payload), .. } = command else { panic!("{command:?}") };
    assert_eq!(serde_json::from_slice::<Value>(&payload).expect("JSON"), body);
    stand.all_is_over().await;
    assert_eq!(stand.app.totals().unwanted_payloads, 0);
    let metric = "taut_answer_latency_seconds_count";
    assert!(stand.site.metric(metric).await >= 10.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_becomes_a_message_and_nothing_becomes_a_bare_ack() {
    let stand = Stand::new("").await;
    stand.always(&EchoAnswer::text("tightened \"north\" – 了解"));
    let command = stand.app.push(Sample::SlashCommand).wait_ack(ACK_MAX).await;
    let AckOutcome::Acked { payload: Some(payload), .. } = command else { panic!("{command:?}") };
    let payload: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(payload, serde_json::json!({ "text": "tightened \"north\" – 了解" }));
    stand.always(&EchoAnswer::empty());
    stand.acks(Ack::Bare, Ack::Bare, Ack::Bare).await;
    stand.always(&EchoAnswer::status(202));
    stand.acks(Ack::Bare, Ack::Bare, Ack::None).await;
    stand.all_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_answer_is_no_ack_and_is_not_asked_again() {
    let stand = Stand::new("").await;
    for status in [500, 400, 429] {
        stand.fails_with(status).await;
    }
    stand.all_is_over().await;
    assert_eq!(stand.handler.totals().requests, 30, "each was asked once");
    // Faults of the target open the breaker, and then nobody is asked at all.
    for status in [404, 302] {
        stand.fails_with(status).await;
    }
    stand.all_is_over().await;
    let metric = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"handler_refused\"}";
    assert!(stand.site.metric(metric).await >= 30.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_no_ack_and_goes_to_the_response_url() {
    let stand = Stand::new("").await;
    stand.always(&EchoAnswer::text("late"));
    stand.handler.outage(Outage::Slow(Duration::from_millis(3_200)));
    stand.acks(Ack::None, Ack::None, Ack::None).await;
    support::until("late answers of commands", || stand.responses().len() == COMMANDS.len()).await;
    assert!(stand.responses().iter().all(|body| body.contains("late")), "{:?}", stand.responses());
    stand.handler.outage(Outage::None);
    stand.all_is_over().await;
    let late = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"late\"}";
    assert!(stand.site.metric(late).await >= 10.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_then_deliver_acks_bare_at_the_deadline_what_may_be_acked_bare() {
    let stand = Stand::new("on_late_answer = \"ack_then_deliver\"").await;
    stand.always(&EchoAnswer::text("late"));
    stand.handler.outage(Outage::Slow(Duration::from_millis(2_800)));
    stand.acks(Ack::Bare, Ack::Bare, Ack::None).await;
    stand.handler.outage(Outage::None);
    support::until("late answers of commands", || stand.responses().len() == COMMANDS.len()).await;
    stand.all_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_then_deliver_brings_it_again_until_the_handler_takes_it() {
    let mut stand = Stand::new("on_late_answer = \"ack_then_deliver\"").await;
    stand.handler.outage(Outage::Refuse);
    let outcome = stand.app.push(Sample::Shortcut).wait_ack(ACK_MAX).await;
    assert!(matches!(outcome, AckOutcome::Acked { payload: None, .. }), "{outcome:?}");
    stand.site.worker.kill().await.expect("it runs");
    stand.handler.outage(Outage::None);
    stand.site.start().await;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 1).await, "its bare ack was recorded");
    stand.all_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_text_for_a_command_and_no_ack_for_a_form() {
    let stand = Stand::new("").await;
    stand.handler.outage(Outage::Garbage);
    stand.acks(Ack::Bare, Ack::Body, Ack::None).await;
    stand.handler.outage(Outage::None);
    stand.all_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_for_an_ack_goes_to_the_response_url_or_nowhere() {
    let stand = Stand::new("").await;
    stand.handler.outage(Outage::Oversized(30_000));
    stand.acks(Ack::Bare, Ack::Bare, Ack::None).await;
    support::until("the bodies", || stand.responses().len() == COMMANDS.len()).await;
    assert!(stand.responses().iter().all(|body| body.len() >= 30_000));
    stand.handler.outage(Outage::None);
    stand.all_is_over().await;
    assert_eq!(stand.app.totals().acks_oversize, 0, "no ack that Slack would discard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_gets_the_first_ones_answer_from_one_call() {
    let stand = Stand::new("").await;
    let command = |app: &AppHandle| {
        let payload = format!(
            r#"{{"command":"/line","text":"once","api_app_id":"{}","team_id":"T1","channel_id":"C1"}}"#,
            app.id()
        );
        Push::raw(payload).with_envelope_id("6f1c1c5e-0000-4000-8000-00000000abcd".parse().expect("an id"))
    };
    for _ in 0..3 {
        let outcome = stand.app.push(command(&stand.app)).wait_ack(ACK_MAX).await;
        let AckOutcome::Acked { payload: Some(payload), .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(serde_json::from_slice::<Value>(&payload).expect("JSON")["text"], "echo: once");
    }
    assert_eq!(stand.handler.totals().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_found_open_at_recovery_is_expired_and_not_delivered() {
    let mut stand = Stand::new("").await;
    stand.handler.outage(Outage::Hang);
    for sample in COMMANDS {
        stand.app.push(sample);
    }
    assert!(stand.handler.wait_until(SOON, |totals| totals.in_flight == 2).await);
    // The handler is asked while the request is still being stored.
    stand.site.until_tenant("acme", "both are stored", |tenant| tenant.backlog_envelopes == 2).await;
    stand.site.worker.kill().await.expect("it runs");
    stand.handler.outage(Outage::None);
    stand.site.start().await;
    stand.all_is_over().await;
    let recovery = stand.site.status().await.store.recovery;
    assert!(recovery.contains("2 open requests expired"), "{recovery}");
    stand.app.push(Sample::Message);
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 1).await);
    assert_eq!(stand.handler.requests().last().map(|last| last.kind.clone()).as_deref(), Some("message"));
}
