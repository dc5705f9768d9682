//! `taut handler test`: asks a handler what it would answer Slack, one sample of each kind, and says what taut would
//! make of it. Nothing is stored, nothing is acked.

use std::time::Duration;

use bytes::Bytes;
use taut_core::config::{DeliveryConfig, Environment, LateAnswer, RouteConfig, RouteMatch, Span, Target};
use taut_core::order::Order;
use taut_core::request::{AckChoice, SilentReason};
use taut_core::{Clock, Envelope, Epoch, FrameError, RouteName, TenantId};
use taut_net::http::HttpClient;
use taut_vault::SigningSecret;
use tokio_util::sync::CancellationToken;

use crate::pure::answer::{Asked, reply};
use crate::pure::request::REQUEST_DEADLINE;
use crate::pure::verdict::Verdict;
use crate::route::{BadRoute, Posted, Route, Surroundings, Terms};
use crate::router::RouteSpec;
use crate::signer::Signer;
use crate::target::exec::ExecPool;

/// How long a handler may take under test: long enough to see an answer that comes too late.
const PATIENCE: Duration = Duration::from_secs(6);
/// What a handler must send back to prove that it is a Request URL and that the secrets agree.
const CHALLENGE: &str = "taut-handler-test";

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRow {
    /// `url_verification`, or the sample's name.
    pub name: String,
    /// The HTTP status; `None` without an answer.
    pub status: Option<u16>,
    /// From sending to the answer, in milliseconds.
    pub millis: u64,
    /// What taut makes of it, in a sentence.
    pub outcome: String,
    /// Whether that is well.
    pub ok: bool,
}

/// Why a handler could not be tested.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The URL cannot be used.
    #[error("the handler's URL must be http:// or https:// with a host")]
    Url(#[source] BadRoute),
    /// A sample is not an envelope.
    #[error("sample `{name}` is not an envelope's frame")]
    Sample {
        /// Which one.
        name: String,
        /// Why.
        #[source]
        source: FrameError,
    },
}

/// Sends `url_verification`, then each sample (a name and an envelope's frame), one after the other.
///
/// # Errors
/// [`ProbeError`] if nothing could be sent; a handler's nonsense is a row.
pub async fn probe(
    url: &str,
    secret: &SigningSecret,
    http: &HttpClient,
    clock: &dyn Clock,
    samples: &[(String, Bytes)],
) -> Result<Vec<ProbeRow>, ProbeError> {
    let tester = Tester { route: route(url, http)?, signer: Signer::new(secret), clock };
    let mut rows = vec![tester.verify_url().await];
    for (name, frame) in samples {
        let envelope = Envelope::from_frame(frame)
            .map_err(|source| ProbeError::Sample { name: name.clone(), source })?;
        rows.push(tester.send(name, &envelope).await);
    }
    Ok(rows)
}

fn route(url: &str, http: &HttpClient) -> Result<Route, ProbeError> {
    let config = RouteConfig {
        name: RouteName::new("test").expect("a plain name"),
        matching: RouteMatch::default(),
        target: Target::Http(url.to_owned()),
        order: Order::None,
        on_late_answer: LateAnswer::Fail,
        concurrency: 1,
        timeout: Span(PATIENCE),
        proxy: false,
    };
    let spec = RouteSpec { config, number: 0 };
    let around = Surroundings {
        tenant: &TenantId::new("handler-test").expect("a plain name"),
        environment: Environment::Dev,
        epoch: Epoch(0),
        client: http.clone(),
        config: &DeliveryConfig::default(),
        slots: ExecPool::new(1).slots(),
        stop: CancellationToken::new(),
    };
    Route::new(&spec, &around).map_err(ProbeError::Url)
}

struct Tester<'a> {
    route: Route,
    signer: Signer,
    clock: &'a dyn Clock,
}

impl Tester<'_> {
    async fn post(&self, envelope: &Envelope) -> (Posted, Duration) {
        let received_at = self.clock.wall();
        let terms = Terms { attempt: 1, timeout: PATIENCE, left: REQUEST_DEADLINE, received_at };
        let sent = self.clock.now();
        let posted = self.route.post(envelope, terms, &self.signer, self.clock).await;
        (posted, self.clock.now().since(sent))
    }

    /// Slack's own check of a Request URL: path, secret, clock and content type in one, without side effects.
    /// (<https://docs.slack.dev/apis/events-api/using-http-request-urls>)
    async fn verify_url(&self) -> ProbeRow {
        let frame = format!(
            r#"{{"envelope_id":"url-verification","type":"events_api","payload":{{"token":"x","challenge":"{CHALLENGE}","type":"url_verification"}}}}"#
        );
        let envelope = Envelope::from_frame(&Bytes::from(frame)).expect("a well-formed frame");
        let (posted, took) = self.post(&envelope).await;
        let echoed = posted.answer.as_ref().is_some_and(|answer| {
            let answer = answer.as_handler_answer();
            let body = answer.body.unwrap_or_default();
            answer.status == 200 && body.windows(CHALLENGE.len()).any(|part| part == CHALLENGE.as_bytes())
        });
        let outcome = match (echoed, status(&posted)) {
            (true, _) => "the challenge came back: path, signing secret and clock are right".to_owned(),
            (false, Some(401)) => {
                "refused: the handler's signing secret is another, or its clock is off".to_owned()
            }
            (false, Some(404)) => "not found: the URL's path is another (Bolt's is /slack/events)".to_owned(),
            (false, Some(status)) => {
                format!("status {status} without the challenge: not a Request URL of Slack's shape")
            }
            (false, None) => posted.words.clone(),
        };
        row("url_verification", &posted, took, outcome, echoed)
    }

    async fn send(&self, name: &str, envelope: &Envelope) -> ProbeRow {
        let (posted, took) = self.post(envelope).await;
        let (outcome, ok) = if envelope.kind.is_request() {
            request_outcome(envelope, &posted, took)
        } else {
            (event_outcome(&posted), posted.verdict.is_success())
        };
        row(name, &posted, took, outcome, ok)
    }
}

fn row(name: &str, posted: &Posted, took: Duration, outcome: String, ok: bool) -> ProbeRow {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    ProbeRow { name: name.to_owned(), status: status(posted), millis, outcome, ok }
}

fn status(posted: &Posted) -> Option<u16> {
    posted.answer.as_ref().map(|answer| answer.as_handler_answer().status)
}

fn event_outcome(posted: &Posted) -> String {
    match posted.verdict {
        Verdict::Done => "acked when stored; delivered".to_owned(),
        Verdict::Unhandled => "acked when stored; nobody listens, counted as unhandled".to_owned(),
        Verdict::TargetFault => {
            format!("acked when stored; kept and retried, the target is at fault ({})", posted.words)
        }
        Verdict::Transient { .. } => format!("acked when stored; retried ({})", posted.words),
        Verdict::Poison => format!("acked when stored; a dead letter ({})", posted.words),
    }
}

fn request_outcome(envelope: &Envelope, posted: &Posted, took: Duration) -> (String, bool) {
    let Some(answer) = &posted.answer else {
        return (format!("no ack: {}", posted.words), false);
    };
    let status = answer.as_handler_answer().status;
    if posted.verdict == Verdict::Unhandled {
        return (format!("no ack: status {status}, nobody listens to this or nobody acked it"), false);
    }
    if took > REQUEST_DEADLINE {
        return (format!("no ack: answered after {took:.1?}, and taut waits 2.5 s"), false);
    }
    let asked = Asked {
        kind: envelope.kind,
        envelope_id: &envelope.envelope_id,
        accepts_payload: envelope.accepts_response_payload,
        has_response_url: envelope.facts().response_url.is_some(),
    };
    let reply = reply(&asked, &answer.as_handler_answer());
    let mut sentence = match &reply.ack {
        AckChoice::Bare if reply.post.is_some() => "bare ack; the body goes to response_url".to_owned(),
        AckChoice::Bare => "bare ack".to_owned(),
        AckChoice::Payload(json) => format!("ack with payload {}", shortened(json)),
        AckChoice::Silent(SilentReason::Refused) => {
            format!("no ack: status {status} does not ack a {}", envelope.kind.name())
        }
        AckChoice::Silent(reason) => format!("no ack: {}", reason.name()),
    };
    if let Some(oddity) = reply.oddity {
        sentence = format!("{sentence} ({})", oddity.words());
    }
    (sentence, !matches!(reply.ack, AckChoice::Silent(_)))
}

/// Enough of a payload to recognise it on a terminal.
fn shortened(json: &str) -> String {
    const CHARS_MAX: usize = 100;
    let line: String =
        json.chars().map(|char| if char.is_control() { ' ' } else { char }).take(CHARS_MAX).collect();
    if json.chars().count() > CHARS_MAX { format!("{line}…") } else { line }
}
