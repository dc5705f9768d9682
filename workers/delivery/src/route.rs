//! One route at run time: its target, its health, and one attempt.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Method, Uri};
use parking_lot::Mutex;
use taut_core::config::{
    DeliveryConfig, Environment, KindMatch, LateAnswer, RouteConfig, RouteMatch, Target,
};
use taut_core::{Clock, Envelope, Epoch, Kind, RouteBits, RouteName, TenantId, WallMs};
use taut_net::http::{HttpAnswer, HttpClient, HttpError, HttpRequest};
use tokio_util::sync::CancellationToken;

use crate::allow::paths::{BadPathEntry, PathRules, RefusedPath};
use crate::allow::{BadEntry, Refused, handler_url};
use crate::pure::answer::HandlerAnswer;
use crate::pure::exec::status_of_exit;
use crate::pure::headers::{AttemptHeaders, RouteHeaders};
use crate::pure::health::Health;
use crate::pure::ndjson;
use crate::pure::plan::Rules;
use crate::pure::schedule::Retry;
use crate::pure::shape::{Shaped, shape};
use crate::pure::verdict::{Answered, End, Verdict, verdict};
use crate::router::RouteSpec;
use crate::signer::Signer;
use crate::target::exec::{ExecEnd, ExecTarget, Slots};
use crate::target::file::{FileEnd, FileTarget};

/// A route that cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BadRoute {
    /// Its target is no URL that taut may post to.
    #[error("route `{route}` cannot be used: its target")]
    Target {
        /// Which route.
        route: RouteName,
        /// What is wrong with it.
        #[source]
        source: Refused,
    },
    /// `delivery.allow_hosts` itself cannot be read.
    #[error("delivery.allow_hosts cannot be read")]
    AllowHosts(#[source] BadEntry),
    /// Its program or its file is not one that this host lets routes use.
    #[error("route `{route}` cannot be used: its target")]
    Path {
        /// Which route.
        route: RouteName,
        /// What is wrong with it.
        #[source]
        source: RefusedPath,
    },
    /// `delivery.exec_allow` or `delivery.file_dirs` itself cannot be read.
    #[error("delivery.exec_allow or delivery.file_dirs cannot be read")]
    Paths(#[source] BadPathEntry),
    /// A file answers nobody.
    #[error("route `{route}` cannot be used: {FILE_KINDS_RULE}")]
    FileTakesEvents {
        /// Which route.
        route: RouteName,
    },
}

/// What a route to a file must match. A request needs an answer, and a file gives none.
pub const FILE_KINDS_RULE: &str = "its match.kinds must name events_api or unknown, and nothing else: a file answers \
     nobody, so it takes no requests";

/// Whether a route with this match may go to a file.
pub fn fits_a_file(matching: &RouteMatch) -> bool {
    let is_event = |kind: &KindMatch| match kind {
        KindMatch::EventsApi | KindMatch::Unknown => true,
        KindMatch::Interactive | KindMatch::SlashCommands => false,
    };
    !matching.kinds.is_empty() && matching.kinds.iter().all(is_event)
}

/// Most that is read of an answer whose body decides nothing but the kind of a 404, in bytes.
const EVENT_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One route of one tenant.
pub(crate) struct Route {
    pub(crate) name: RouteName,
    pub(crate) bit: RouteBits,
    pub(crate) late: LateAnswer,
    pub(crate) timeout: Duration,
    pub(crate) rules: Rules,
    /// Shared by events and requests; never held across an await.
    pub(crate) health: Mutex<Health>,
    way: Way,
    headers: RouteHeaders,
    answer_bytes_max: usize,
}

/// How a route's envelopes get to their target.
enum Way {
    Http { url: Uri, client: HttpClient },
    Exec(ExecTarget),
    File(FileTarget),
}

/// What a route is built with, beside its own configuration.
pub(crate) struct Surroundings<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) environment: Environment,
    pub(crate) epoch: Epoch,
    pub(crate) client: HttpClient,
    pub(crate) config: &'a DeliveryConfig,
    pub(crate) slots: Slots,
    pub(crate) stop: CancellationToken,
}

/// One attempt's terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// From 1.
    pub(crate) attempt: u32,
    /// After which it is given up.
    pub(crate) timeout: Duration,
    /// What the handler is told it has.
    pub(crate) left: Duration,
    /// When the envelope was read.
    pub(crate) received_at: WallMs,
}

/// What one attempt came to.
pub(crate) struct Posted {
    pub(crate) verdict: Verdict,
    /// The end in a few words; empty for a success.
    pub(crate) words: String,
    pub(crate) answer: Option<PostedAnswer>,
}

/// The HTTP answer of an attempt.
pub(crate) struct PostedAnswer {
    status: u16,
    headers: HeaderMap,
    /// `None` if it was larger than what taut reads, or broke off.
    body: Option<Bytes>,
}

impl PostedAnswer {
    /// The answer as the tables read it.
    pub(crate) fn as_handler_answer(&self) -> HandlerAnswer<'_> {
        HandlerAnswer {
            status: self.status,
            content_type: self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()),
            body: self.body.as_deref(),
        }
    }
}

impl Route {
    pub(crate) fn new(spec: &RouteSpec, around: &Surroundings<'_>) -> Result<Self, BadRoute> {
        let RouteConfig { name, order, on_late_answer, concurrency, timeout, .. } = &spec.config;
        let Surroundings { tenant, epoch, config, .. } = *around;
        let way = way(&spec.config, around)?;
        let retry = Retry { first: config.retry_first.0, max: config.retry_max.0 };
        Ok(Self {
            name: name.clone(),
            bit: RouteBits::one(spec.number),
            late: *on_late_answer,
            timeout: timeout.0,
            rules: Rules {
                order: *order,
                concurrency: usize::try_from(*concurrency).unwrap_or(usize::MAX),
                attempts_max: config.attempts_max,
                age_max: config.age_max.0,
                retry,
            },
            health: Mutex::new(Health::new(config.breaker_faults, config.poison_hold, retry)),
            way,
            headers: RouteHeaders::new(tenant, name, epoch),
            answer_bytes_max: config.answer_bytes_max.bytes(),
        })
    }

    /// One attempt, whatever the target is.
    pub(crate) async fn post(
        &self,
        envelope: &Envelope,
        terms: Terms,
        signer: &Signer,
        clock: &dyn Clock,
    ) -> Posted {
        match &self.way {
            Way::Http { url, client } => self.send((url, client), envelope, terms, signer, clock).await,
            Way::Exec(program) => {
                judge_exit(envelope, program.run(&self.headers, envelope, &terms, clock).await)
            }
            Way::File(file) => {
                let line = ndjson::line(&self.headers, envelope, terms.attempt, terms.received_at);
                match file.append(line, terms.timeout).await {
                    FileEnd::Written => Posted { verdict: Verdict::Done, words: String::new(), answer: None },
                    FileEnd::Unusable(why) => unanswered(&End::Unusable(&why)),
                    FileEnd::TimedOut => unanswered(&End::TimedOut),
                }
            }
        }
    }

    /// Lets go of what only one may hold, for a successor; no attempt of the backlog comes here any more.
    pub(crate) fn let_go(&self) {
        match &self.way {
            Way::File(file) => file.let_go(),
            Way::Http { .. } | Way::Exec(_) => {}
        }
    }

    /// One attempt over HTTP: signed now, answered or given up within its timeout.
    async fn send(
        &self,
        (url, client): (&Uri, &HttpClient),
        envelope: &Envelope,
        Terms { attempt, timeout, left, received_at: _ }: Terms,
        signer: &Signer,
        clock: &dyn Clock,
    ) -> Posted {
        let Shaped { content_type, body } = shape(envelope);
        let timestamp = clock.wall().seconds();
        let signature = signer.signature(timestamp, &body);
        let headers = self
            .headers
            .of(envelope, &AttemptHeaders { content_type, timestamp, signature: &signature, attempt, left });
        let sent = clock.now();
        let request = HttpRequest {
            method: Method::POST,
            url: url.clone(),
            headers,
            body,
            timeout,
            answer_bytes_max: self.answer_bytes_max(envelope.kind),
        };
        let result = client.send(request).await;
        judge(envelope, result, clock.now().since(sent))
    }
}

impl Route {
    /// How much of an answer to this kind is read.
    fn answer_bytes_max(&self, kind: Kind) -> usize {
        if kind.is_request() {
            self.answer_bytes_max
        } else {
            self.answer_bytes_max.min(EVENT_ANSWER_BYTES_MAX)
        }
    }
}

fn way(config: &RouteConfig, around: &Surroundings<'_>) -> Result<Way, BadRoute> {
    let route = || config.name.clone();
    let refused = |source| BadRoute::Path { route: route(), source };
    match &config.target {
        Target::Http(url) => {
            let url = handler_url(url).map_err(|source| BadRoute::Target { route: route(), source })?;
            Ok(Way::Http { url, client: around.client.clone() })
        }
        Target::Exec(argv) => {
            let allow = PathRules::programs(&around.config.exec_allow).map_err(BadRoute::Paths)?;
            allow.check(Path::new(argv.first().map_or("", String::as_str))).map_err(refused)?;
            let (slots, stop) = (around.slots.clone(), around.stop.clone());
            Ok(Way::Exec(ExecTarget::new(argv, allow, slots, stop, around.environment)))
        }
        Target::File(_) if !fits_a_file(&config.matching) => {
            Err(BadRoute::FileTakesEvents { route: route() })
        }
        Target::File(path) => {
            let allow = PathRules::directories(&around.config.file_dirs).map_err(BadRoute::Paths)?;
            allow.check(path).map_err(refused)?;
            Ok(Way::File(FileTarget::new(path, allow)))
        }
    }
}

/// Judges a program's end. Its answer, where there is one, stands for HTTP's.
fn judge_exit(envelope: &Envelope, end: ExecEnd) -> Posted {
    let (code, body) = match end {
        ExecEnd::Exited(code, stdout) => (code, stdout),
        ExecEnd::Killed(signal) => return unanswered(&End::Killed(signal)),
        ExecEnd::TimedOut => return unanswered(&End::TimedOut),
        ExecEnd::Unusable(why) => return unanswered(&End::Unusable(&why)),
    };
    let end = End::Exited(code);
    let verdict = verdict(&end, code != 0 && is_rate_limit_notice(envelope));
    let words = if verdict.is_success() { String::new() } else { end.words() };
    let answer = PostedAnswer { status: status_of_exit(code), headers: HeaderMap::new(), body };
    Posted { verdict, words, answer: Some(answer) }
}

/// Judges what the client returned.
fn judge(envelope: &Envelope, result: Result<HttpAnswer, HttpError>, took: Duration) -> Posted {
    // A body that was not read is not an empty one.
    const UNREAD: &[u8] = b"?";
    let (answer, step) = match result {
        Ok(HttpAnswer { status, headers, body }) => {
            (Some(PostedAnswer { status, headers, body: Some(body) }), String::new())
        }
        Err(HttpError::AnswerTooLarge { status, .. }) => {
            (Some(PostedAnswer { status, headers: HeaderMap::new(), body: None }), String::new())
        }
        // The handler has decided; only its words are missing.
        Err(HttpError::AnswerCut { status, headers }) => {
            (Some(PostedAnswer { status, headers: *headers, body: None }), String::new())
        }
        Err(HttpError::Dial(error)) => (None, format!("{}: {}", error.step, error.kind)),
        Err(HttpError::BadUrl { .. }) => (None, "the URL cannot be used".into()),
        Err(HttpError::Timeout { .. }) => return unanswered(&End::TimedOut),
        Err(HttpError::Reset { .. }) => return unanswered(&End::Reset),
    };
    let Some(answer) = answer else { return unanswered(&End::Unreachable(&step)) };
    let end = End::Answered(Answered {
        status: answer.status,
        body: answer.body.as_deref().unwrap_or(UNREAD),
        no_retry: answer.headers.get("x-slack-no-retry").is_some_and(|value| value == "1"),
        retry_after: retry_after(&answer.headers),
        took,
    });
    let notice = (400..500).contains(&answer.status) && is_rate_limit_notice(envelope);
    let verdict = verdict(&end, notice);
    let words = if verdict.is_success() { String::new() } else { end.words() };
    Posted { verdict, words, answer: Some(answer) }
}

fn unanswered(end: &End<'_>) -> Posted {
    Posted { verdict: verdict(end, false), words: end.words(), answer: None }
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn is_rate_limit_notice(envelope: &Envelope) -> bool {
    envelope.kind == Kind::EventsApi && envelope.facts().payload_type.as_deref() == Some("app_rate_limited")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_whose_body_broke_off_is_a_success() {
        let frame = Bytes::from_static(br#"{"envelope_id":"e","type":"events_api","payload":{}}"#);
        let envelope = Envelope::from_frame(&frame).expect("an envelope");
        let cut = |status| Err(HttpError::AnswerCut { status, headers: Box::default() });
        assert!(judge(&envelope, cut(200), Duration::ZERO).verdict.is_success());
        let failed = judge(&envelope, cut(500), Duration::ZERO);
        assert_eq!(failed.verdict, Verdict::Transient { retry_after: None });
        assert!(failed.answer.is_some_and(|answer| answer.body.is_none()));
    }
}
