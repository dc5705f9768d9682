//! A request's course up to its deadline: what to wait for, and what to do with what came.

use std::time::Duration;

use taut_core::config::LateAnswer;
use taut_core::kind::AckRule;
use taut_core::log::Append;
use taut_core::request::SilentReason;
use taut_core::{Kind, Seq};

/// From reading a request to its ack: Slack gives up at 3 s, and the ack has a way to go.
pub const REQUEST_DEADLINE: Duration = Duration::from_millis(2_500);

/// From reading a request to the durable record that its bare ack is owed: beyond, Slack would not see the ack.
pub const RELEASE_DEADLINE: Duration = Duration::from_millis(2_800);

/// How far the handler's answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Under way.
    Pending,
    /// An HTTP answer is there, good or bad.
    Answered,
    /// There will be none: no connection, reset, or the route takes nothing now.
    NoAnswer,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Ack as the handler's answer says.
    Reply(Seq),
    /// Record that the bare ack is owed, then ack bare; the backlog delivers it.
    Defer(Seq),
    /// No ack.
    Silent(SilentReason),
}

/// The decision; `None` to wait for the store, the handler or the deadline. `at_deadline`: there is no more time.
pub fn decide(
    kind: Kind,
    late: LateAnswer,
    append: Option<Append>,
    handler: Handler,
    at_deadline: bool,
) -> Option<Decision> {
    let seq = match append {
        Some(Append::Stored(seq) | Append::Duplicate(seq)) => seq,
        Some(Append::Full(_) | Append::Unavailable) => {
            return Some(Decision::Silent(SilentReason::NotStored));
        }
        None => return at_deadline.then_some(Decision::Silent(SilentReason::NotStored)),
    };
    match handler {
        Handler::Answered => Some(Decision::Reply(seq)),
        Handler::Pending if !at_deadline => None,
        Handler::Pending | Handler::NoAnswer if may_defer(kind, late) => Some(Decision::Defer(seq)),
        Handler::Pending => Some(Decision::Silent(SilentReason::Late)),
        Handler::NoAnswer => Some(Decision::Silent(SilentReason::Refused)),
    }
}

/// Whether a bare ack may go out without the handler's word. Never where it would close a form or empty a menu.
pub const fn may_defer(kind: Kind, late: LateAnswer) -> bool {
    matches!(late, LateAnswer::AckThenDeliver)
        && matches!(kind.ack_rule(), AckRule::BareOnSuccess | AckRule::AnswerOrBare)
}

/// Whether a late answer's body still has somewhere to go: the `response_url`.
pub const fn posts_late(kind: Kind) -> bool {
    matches!(kind.ack_rule(), AckRule::AnswerOrBare)
}

#[cfg(test)]
mod tests {
    use taut_core::log::FullReason;

    use super::*;

    const STORED: Option<Append> = Some(Append::Stored(Seq(1)));

    fn requests() -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| kind.is_request())
    }

    #[test]
    fn nothing_is_acked_before_it_is_stored() {
        for kind in requests() {
            let early = decide(kind, LateAnswer::AckThenDeliver, None, Handler::Answered, false);
            assert_eq!(early, None);
            for append in [None, Some(Append::Unavailable), Some(Append::Full(FullReason::Bytes))] {
                let end = decide(kind, LateAnswer::AckThenDeliver, append, Handler::Answered, true);
                assert_eq!(end, Some(Decision::Silent(SilentReason::NotStored)));
            }
        }
    }

    #[test]
    fn the_handlers_answer_decides_once_it_is_stored() {
        for kind in requests() {
            for append in [Append::Stored(Seq(1)), Append::Duplicate(Seq(1))] {
                let decision = decide(kind, LateAnswer::Fail, Some(append), Handler::Answered, false);
                assert_eq!(decision, Some(Decision::Reply(Seq(1))));
            }
        }
    }

    #[test]
    fn at_the_deadline_fail_acks_nothing() {
        for kind in requests() {
            let decision = decide(kind, LateAnswer::Fail, STORED, Handler::Pending, true);
            assert_eq!(decision, Some(Decision::Silent(SilentReason::Late)));
        }
    }

    #[test]
    fn ack_then_deliver_defers_commands_and_buttons_but_never_forms_and_menus() {
        for kind in requests() {
            let decision = decide(kind, LateAnswer::AckThenDeliver, STORED, Handler::Pending, true);
            let expected = match kind.ack_rule() {
                AckRule::AnswerOnly => Decision::Silent(SilentReason::Late),
                AckRule::WhenStored | AckRule::BareOnSuccess | AckRule::AnswerOrBare => {
                    Decision::Defer(Seq(1))
                }
            };
            assert_eq!(decision, Some(expected), "{kind:?}");
        }
    }

    #[test]
    fn a_handler_that_is_away_is_not_waited_for() {
        let away = |late| decide(Kind::SlashCommands, late, STORED, Handler::NoAnswer, false);
        assert_eq!(away(LateAnswer::Fail), Some(Decision::Silent(SilentReason::Refused)));
        assert_eq!(away(LateAnswer::AckThenDeliver), Some(Decision::Defer(Seq(1))));
    }

    #[test]
    fn only_commands_and_legacy_buttons_post_late_answers() {
        let posting: Vec<_> = requests().filter(|kind| posts_late(*kind)).collect();
        assert_eq!(posting, [Kind::SlashCommands, Kind::InteractiveMessage]);
    }
}
