//! What an attempt's end means for its envelope: one table.
//!
//! | verdict | on | then |
//! |---|---|---|
//! | done | 2xx | commit |
//! | unhandled | a 404 that says nobody listens; any 4xx to `app_rate_limited` | commit, counted apart |
//! | target fault | no connection, TLS, 3xx, 401, 403, other 404, 405, 407, 410, 421 | retry, breaker, alarm; costs no attempt |
//! | transient | 408, 425, 429, 5xx, time-out, reset | retry; costs an attempt while others succeed |
//! | poison | other 4xx, `X-Slack-No-Retry: 1` | dead letter |

use std::borrow::Cow;
use std::time::Duration;

use super::exec::status_of_exit;

/// Longest `Retry-After` that is honoured.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);

/// A 404 without body this late comes from a handler that never acked (Bolt JS gives up after 3.0 s), not from a
/// wrong path.
pub const NEVER_ACKED_AFTER: Duration = Duration::from_millis(2_900);

/// How one attempt ended, as far as verdicts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End<'a> {
    /// The handler answered, at least with a status and complete headers.
    Answered(Answered<'a>),
    /// No connection: name, TCP, proxy or TLS. The word names the step.
    Unreachable(&'a str),
    /// A program or a file that cannot be used as it is. Says why, in a few words.
    Unusable(&'a str),
    /// A program ended with this code.
    Exited(i32),
    /// A program was ended by this signal, which was not ours.
    Killed(i32),
    /// No answer within the attempt's time.
    TimedOut,
    /// The connection broke before the answer's headers were complete.
    Reset,
}

/// The parts of an HTTP answer that a verdict reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    /// Its status.
    pub status: u16,
    /// What was read of its body.
    pub body: &'a [u8],
    /// Whether `X-Slack-No-Retry: 1` was among its headers.
    pub no_retry: bool,
    /// `Retry-After`, in whole seconds, where it was a number.
    pub retry_after: Option<u64>,
    /// From sending the request to the answer.
    pub took: Duration,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The handler took it.
    Done,
    /// The handler said that nobody listens.
    Unhandled,
    /// The target is wrong or away; no envelope is to blame.
    TargetFault,
    /// The same bytes may succeed later, at the earliest after the span the handler asked for.
    Transient {
        /// `Retry-After`, cut to [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// The same bytes will not succeed.
    Poison,
}

impl Verdict {
    /// The label in `taut_delivery_attempts_total{outcome}`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unhandled => "unhandled",
            Self::TargetFault => "target_fault",
            Self::Transient { .. } => "transient",
            Self::Poison => "poison",
        }
    }

    /// Whether the handler was reached and content: what closes a breaker.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Unhandled)
    }
}

/// The verdict. `rate_limited_notice` says that the payload is an `app_rate_limited` notice, which most handlers
/// have no listener for.
pub fn verdict(end: &End<'_>, rate_limited_notice: bool) -> Verdict {
    match end {
        End::Unreachable(_) | End::Unusable(_) => Verdict::TargetFault,
        End::TimedOut | End::Reset | End::Killed(_) => Verdict::Transient { retry_after: None },
        End::Exited(code) => judge(&as_answer(*code), rate_limited_notice),
        End::Answered(answer) => judge(answer, rate_limited_notice),
    }
}

/// An exit as the answer that it stands for.
const fn as_answer(code: i32) -> Answered<'static> {
    let status = status_of_exit(code);
    Answered { status, body: b"", no_retry: false, retry_after: None, took: Duration::ZERO }
}

fn judge(answer: &Answered<'_>, rate_limited_notice: bool) -> Verdict {
    match answer.status {
        200..=299 => Verdict::Done,
        400..=499 if rate_limited_notice => Verdict::Unhandled,
        404 if nobody_listens(answer) => Verdict::Unhandled,
        _ if answer.no_retry => Verdict::Poison,
        300..=399 | 401 | 403 | 404 | 405 | 407 | 410 | 421 => Verdict::TargetFault,
        408 | 425 | 429 | 500.. => Verdict::Transient {
            retry_after: answer.retry_after.map(|secs| Duration::from_secs(secs).min(RETRY_AFTER_MAX)),
        },
        400..=499 => Verdict::Poison,
        // An interim status never ends an answer; whoever sends one as final has not understood HTTP.
        0..=199 => Verdict::TargetFault,
    }
}

/// Tells "nobody listens to this" from "nobody is here": the JSON of Bolt for Python and Java, slack-edge's sentence,
/// and Bolt JS's empty body after its three seconds.
fn nobody_listens(answer: &Answered<'_>) -> bool {
    #[derive(serde::Deserialize)]
    struct Bolt<'a> {
        #[serde(borrow)]
        error: Cow<'a, str>,
    }
    let body = answer.body.trim_ascii();
    if body.is_empty() {
        return answer.took >= NEVER_ACKED_AFTER;
    }
    let bolt = serde_json::from_slice::<Bolt<'_>>(body);
    body.starts_with(b"No listener found")
        || bolt.is_ok_and(|body| matches!(&*body.error, "unhandled request" | "no handler found"))
}

impl End<'_> {
    /// The end in a few words, for a dead letter's notes and alarms. Never a payload.
    pub fn words(&self) -> String {
        match self {
            Self::Answered(answer) => format!("status {}", answer.status),
            Self::Unreachable(step) => format!("not reachable: {step}"),
            Self::Unusable(why) => format!("not usable: {why}"),
            Self::Exited(code) => format!("exit code {code}"),
            Self::Killed(signal) => format!("killed by signal {signal}"),
            Self::TimedOut => "no answer in time".into(),
            Self::Reset => "connection reset".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUICK: Duration = Duration::from_millis(5);

    fn answered(status: u16, body: &str, took: Duration) -> End<'_> {
        End::Answered(Answered { status, body: body.as_bytes(), no_retry: false, retry_after: None, took })
    }

    fn of_status(status: u16) -> Verdict {
        verdict(&answered(status, "x", QUICK), false)
    }

    #[test]
    fn every_2xx_is_done() {
        assert!((200..300).all(|status| of_status(status) == Verdict::Done));
    }

    #[test]
    fn redirects_are_target_faults_and_never_followed() {
        assert!((300..400).all(|status| of_status(status) == Verdict::TargetFault));
    }

    #[test]
    fn refusals_of_the_whole_target_are_target_faults() {
        for status in [401, 403, 404, 405, 407, 410, 421] {
            assert_eq!(of_status(status), Verdict::TargetFault, "{status}");
        }
    }

    #[test]
    fn what_may_pass_is_transient() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(of_status(status), Verdict::Transient { retry_after: None }, "{status}");
        }
    }

    #[test]
    fn other_4xx_are_poison() {
        for status in [400, 402, 406, 409, 411, 413, 415, 422, 451, 499] {
            assert_eq!(of_status(status), Verdict::Poison, "{status}");
        }
    }

    #[test]
    fn a_404_that_says_nobody_listens_is_unhandled() {
        for body in [
            r#"{"error":"unhandled request"}"#,
            "{ \"error\": \"unhandled request\" }\n",
            r#"{"error":"no handler found"}"#,
            "No listener found",
        ] {
            assert_eq!(verdict(&answered(404, body, QUICK), false), Verdict::Unhandled, "{body}");
        }
    }

    #[test]
    fn an_empty_404_after_three_seconds_is_a_handler_that_never_acked() {
        assert_eq!(verdict(&answered(404, "", Duration::from_millis(3_001)), false), Verdict::Unhandled);
        assert_eq!(verdict(&answered(404, "", QUICK), false), Verdict::TargetFault);
    }

    #[test]
    fn any_other_404_is_a_wrong_path() {
        for body in ["<html>", r#"{"error":"not found"}"#, "Cannot POST /slack/event"] {
            assert_eq!(
                verdict(&answered(404, body, Duration::from_secs(9)), false),
                Verdict::TargetFault,
                "{body}"
            );
        }
    }

    #[test]
    fn any_4xx_to_a_rate_limit_notice_is_unhandled() {
        for status in [400, 401, 404, 429] {
            assert_eq!(verdict(&answered(status, "", QUICK), true), Verdict::Unhandled, "{status}");
        }
        assert_eq!(verdict(&answered(503, "", QUICK), true), Verdict::Transient { retry_after: None });
    }

    #[test]
    fn a_handler_may_ask_for_no_retry() {
        for (status, expected) in [(500, Verdict::Poison), (404, Verdict::Poison), (200, Verdict::Done)] {
            let end = Answered { status, body: b"x", no_retry: true, retry_after: None, took: QUICK };
            assert_eq!(verdict(&End::Answered(end), false), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_ten_minutes() {
        for (asked, given) in [(30, 30), (600, 600), (3_600, 600), (u64::MAX, 600)] {
            let end =
                Answered { status: 429, body: b"", no_retry: false, retry_after: Some(asked), took: QUICK };
            let expected = Verdict::Transient { retry_after: Some(Duration::from_secs(given)) };
            assert_eq!(verdict(&End::Answered(end), false), expected);
        }
    }

    #[test]
    fn no_connection_is_a_target_fault_and_silence_is_transient() {
        assert_eq!(verdict(&End::Unreachable("tcp"), false), Verdict::TargetFault);
        assert_eq!(verdict(&End::TimedOut, false), Verdict::Transient { retry_after: None });
        assert_eq!(verdict(&End::Reset, false), Verdict::Transient { retry_after: None });
    }

    #[test]
    fn exits_are_judged_by_the_same_table() {
        for (code, expected) in [
            (0, Verdict::Done),
            (75, Verdict::Transient { retry_after: None }),
            (1, Verdict::Poison),
            (2, Verdict::Poison),
            (127, Verdict::Poison),
            (255, Verdict::Poison),
        ] {
            assert_eq!(verdict(&End::Exited(code), false), expected, "{code}");
        }
        assert_eq!(verdict(&End::Exited(1), true), Verdict::Unhandled, "nobody needs a rate limit's notice");
        assert_eq!(verdict(&End::Killed(9), false), Verdict::Transient { retry_after: None });
        assert_eq!(verdict(&End::Unusable("no such file"), false), Verdict::TargetFault);
    }

    proptest! {
        #[test]
        fn whatever_a_handler_answers_there_is_a_verdict(
            status: u16, body: Vec<u8>, no_retry: bool, retry_after: Option<u64>, millis: u16, notice: bool,
        ) {
            let took = Duration::from_millis(u64::from(millis));
            let _ = verdict(&End::Answered(Answered { status, body: &body, no_retry, retry_after, took }), notice);
        }
    }
}
