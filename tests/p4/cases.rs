//! The requests of `tests/apps/cases.json`, made the tenant's own.

use serde::Deserialize;
use serde_json::{Value, json};
use taut_sim::EnvelopeType;

/// How an envelope's payload becomes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Wire {
    #[serde(rename = "events_api")]
    Event,
    #[serde(rename = "interactive")]
    Interactive,
    #[serde(rename = "slash_commands")]
    Command,
}

/// What acks a kind of envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckedBy {
    /// Durability alone; the handler is told later.
    Storing,
    /// Any 2xx, without a payload.
    Success,
    /// A 200's body, or any 2xx without one.
    AnswerOrSuccess,
    /// Nothing but a 200.
    Answer,
}

/// One request.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(rename = "envelope_type")]
    pub(crate) wire: Wire,
    pub(crate) accepts_response_payload: bool,
    pub(crate) payload: Value,
    listener: Option<String>,
    listener_absent_in: Vec<String>,
}

impl Wire {
    /// The envelope's type on the socket.
    pub(crate) fn envelope_type(self) -> EnvelopeType {
        match self {
            Self::Event => EnvelopeType::EventsApi,
            Self::Interactive => EnvelopeType::Interactive,
            Self::Command => EnvelopeType::SlashCommands,
        }
    }
}

impl Case {
    /// All cases, as this app would get them: its own app id, and response URLs that lead to the simulated Slack.
    pub(crate) fn all(app_id: &str, response_urls: &str) -> Vec<Self> {
        let text = include_str!("../apps/cases.json");
        let mut cases: Vec<Self> = serde_json::from_str(text).expect("cases.json holds cases");
        cases.push(large(&cases[0]));
        for case in &mut cases {
            case.payload["api_app_id"] = json!(app_id);
            if case.payload.get("response_url").is_some() {
                let url = format!("{response_urls}/actions/T1/{app_id}/{}", case.name);
                case.payload["response_url"] = json!(url);
            }
        }
        cases
    }

    /// What tells this request from the others in an app's record, by the rule of the apps.
    pub(crate) fn id(&self) -> Value {
        let payload = &self.payload;
        let candidates = ["/event_id", "/trigger_id", "/view/id", "/action_ts", "/value"];
        candidates.iter().find_map(|pointer| payload.pointer(pointer)).cloned().unwrap_or(Value::Null)
    }

    /// The listener that must run in apps of this family.
    pub(crate) fn listener(&self, family: &str) -> Option<&str> {
        if self.listener_absent_in.iter().any(|absent| absent == family) {
            None
        } else {
            self.listener.as_deref()
        }
    }

    /// `app_rate_limited`, which most handlers refuse because it is no event of theirs.
    pub(crate) fn is_rate_limit_notice(&self) -> bool {
        self.payload["type"] == "app_rate_limited"
    }

    /// What acks this kind of request.
    pub(crate) fn acked_by(&self) -> AckedBy {
        match (self.wire, self.payload["type"].as_str()) {
            (Wire::Event, _) | (Wire::Interactive, Some("view_closed" | "dialog_cancellation")) => {
                AckedBy::Storing
            }
            (Wire::Interactive, Some("shortcut" | "message_action" | "block_actions")) => AckedBy::Success,
            (Wire::Command, _) | (Wire::Interactive, Some("interactive_message")) => AckedBy::AnswerOrSuccess,
            (
                Wire::Interactive,
                Some("view_submission" | "dialog_submission" | "block_suggestion" | "dialog_suggestion"),
            ) => AckedBy::Answer,
            (Wire::Interactive, kind) => panic!("{}: no rule for {kind:?}", self.name),
        }
    }
}

/// A message larger than some handlers take: 1.2 MB.
fn large(message: &Case) -> Case {
    let mut payload = message.payload.clone();
    payload["event_id"] = json!("Ev_message_1_2_mb");
    payload["event"]["text"] = json!("x".repeat(1_200_000));
    Case {
        name: "message_1_2_mb".into(),
        wire: message.wire,
        accepts_response_payload: message.accepts_response_payload,
        payload,
        listener: message.listener.clone(),
        listener_absent_in: Vec::new(),
    }
}
