//! Slack's error codes of `apps.connections.open`: what each asks for, and a sentence for the person who can fix it.
//!
//! The codes are those of <https://docs.slack.dev/reference/methods/apps.connections.open> and of Slack's common
//! list; Slack publishes no classes, these are ours.

/// What an error asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenClass {
    /// A person has to change something: no further tries of our own but rare probes.
    Park,
    /// It passes, but not soon: long pauses.
    Wait,
    /// It may pass at any time: back-off.
    Retry,
}

/// One code of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Slack's word.
    pub(super) code: &'static str,
    /// What it asks for.
    pub(super) class: OpenClass,
    /// Whose fault it is and what to do.
    pub(super) text: &'static str,
}

const fn park(code: &'static str, text: &'static str) -> Row {
    Row { code, class: OpenClass::Park, text }
}

const fn wait(code: &'static str, text: &'static str) -> Row {
    Row { code, class: OpenClass::Wait, text }
}

const fn retry(code: &'static str, text: &'static str) -> Row {
    Row { code, class: OpenClass::Retry, text }
}

/// Said of codes that a correct request never gets.
const OUR_BUG: &str = "Slack calls taut's request wrong; that is a bug of taut, or of something that rewrites \
                       requests on the way: report it";

/// Every code that is known.
pub(super) const CODES: [Row; 35] = [
    park(
        "not_authed",
        "no token reached Slack: check app_token, and whether a proxy strips the Authorization header",
    ),
    park(
        "missing_args",
        "no token reached Slack: check app_token, and whether a proxy strips the Authorization header",
    ),
    park(
        "invalid_auth",
        "Slack does not accept the app-level token, or this host's address is not in the app's allowed IP ranges: \
         the app's admin checks both",
    ),
    park("token_revoked", "the app-level token was revoked, or the app deleted: its admin makes a new token"),
    park("token_expired", "the app-level token has expired: the app's admin makes a new one"),
    park(
        "account_inactive",
        "the workspace or the user behind the token is deactivated: the workspace's admin decides",
    ),
    park(
        "not_allowed_token_type",
        "this is another kind of token: app_token must be an app-level token (xapp-…)",
    ),
    park(
        "missing_scope",
        "the app-level token lacks the scope connections:write: the app's admin makes one that has it",
    ),
    park("no_permission", "the workspace's policy forbids it: the workspace's admin decides"),
    park("access_denied", "the workspace's policy forbids it: the workspace's admin decides"),
    park("forbidden_team", "the workspace may not use this: the workspace's admin decides"),
    park(
        "two_factor_setup_required",
        "the workspace demands two-factor authentication of the app's owner, who sets it up",
    ),
    park(
        "enterprise_is_restricted",
        "the organisation's policy forbids it: the organisation's admin decides",
    ),
    park(
        "user_removed_from_team",
        "the user behind the token has left the workspace: the app's admin makes a new token",
    ),
    park("team_disabled", "the workspace is disabled: its admin, or Slack, decides"),
    park(
        "accesslimited",
        "Slack limits access from this network: the workspace's admin or the network's owner decides",
    ),
    wait("team_added_to_org", "the workspace is being moved into an Enterprise organisation; it passes"),
    wait("org_login_required", "the workspace is being moved into an Enterprise organisation; it passes"),
    retry("ratelimited", "too many calls for this app; Slack says how long to wait"),
    retry("rate_limited", "too many calls for this app; Slack says how long to wait"),
    retry("internal_error", "Slack has a fault of its own; it passes"),
    retry("fatal_error", "Slack has a fault of its own; it passes"),
    retry("service_unavailable", "Slack is not available; it passes"),
    retry("request_timeout", "Slack did not get the whole request in time; the network or Slack is slow"),
    park("invalid_arg_name", OUR_BUG),
    park("invalid_arguments", OUR_BUG),
    park("invalid_array_arg", OUR_BUG),
    park("invalid_charset", OUR_BUG),
    park("invalid_form_data", OUR_BUG),
    park("invalid_post_type", OUR_BUG),
    park("missing_post_type", OUR_BUG),
    park("insecure_request", OUR_BUG),
    park("deprecated_endpoint", OUR_BUG),
    park("method_deprecated", OUR_BUG),
    park(
        "unknown_method",
        "slack.api_url does not lead to a Slack that knows apps.connections.open: check it",
    ),
];

/// Said of a code that is not in the table.
pub(super) const UNKNOWN: &str = "taut does not know this code and keeps trying: look it up in Slack's documentation, \
                                  then tell the app's admin";

/// Looks a code up.
pub(super) fn find(code: &str) -> Option<Row> {
    CODES.into_iter().find(|known| known.code == code)
}
