//! The kinds of envelopes, and what each owes to Slack.

use serde::{Deserialize, Serialize};

/// What an envelope is, as far as acks and delivery differ. Closed list; what Slack adds later is [`Kind::Unknown`].
///
/// Discriminants are stored in the log: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// An Events API event or notice.
    EventsApi = 1,
    /// A slash command.
    SlashCommands = 2,
    /// A click or choice in a message, modal or home tab.
    BlockActions = 3,
    /// A menu with an external data source asks for its options.
    BlockSuggestion = 4,
    /// A modal was submitted.
    ViewSubmission = 5,
    /// A modal was closed.
    ViewClosed = 6,
    /// A global shortcut.
    Shortcut = 7,
    /// A message shortcut.
    MessageAction = 8,
    /// A legacy attachment's button or menu.
    InteractiveMessage = 9,
    /// A legacy dialog was submitted.
    DialogSubmission = 10,
    /// A legacy dialog was cancelled.
    DialogCancellation = 11,
    /// A legacy dialog's menu asks for its options.
    DialogSuggestion = 12,
    /// A kind this version does not know: stored, acked and passed on.
    Unknown = 13,
}

impl Kind {
    /// Every kind, in the order of their stored numbers.
    pub const ALL: [Self; 13] = [
        Self::EventsApi,
        Self::SlashCommands,
        Self::BlockActions,
        Self::BlockSuggestion,
        Self::ViewSubmission,
        Self::ViewClosed,
        Self::Shortcut,
        Self::MessageAction,
        Self::InteractiveMessage,
        Self::DialogSubmission,
        Self::DialogCancellation,
        Self::DialogSuggestion,
        Self::Unknown,
    ];

    /// Their names, in the same order: the label values of families by kind.
    pub const NAMES: [&'static str; 13] = {
        let mut names = [""; 13];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The kind of an envelope with this `type`, whose payload has this `type` (interactive payloads only).
    pub fn of(envelope_type: &str, payload_type: Option<&str>) -> Self {
        match (envelope_type, payload_type) {
            ("events_api", _) => Self::EventsApi,
            ("slash_commands", _) => Self::SlashCommands,
            ("interactive", Some(payload_type)) => match payload_type {
                "block_actions" => Self::BlockActions,
                "block_suggestion" => Self::BlockSuggestion,
                "view_submission" => Self::ViewSubmission,
                "view_closed" => Self::ViewClosed,
                "shortcut" => Self::Shortcut,
                "message_action" => Self::MessageAction,
                "interactive_message" => Self::InteractiveMessage,
                "dialog_submission" => Self::DialogSubmission,
                "dialog_cancellation" => Self::DialogCancellation,
                "dialog_suggestion" => Self::DialogSuggestion,
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// The name used in metrics, logs and `match.interactive_types`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventsApi => "events_api",
            Self::SlashCommands => "slash_commands",
            Self::BlockActions => "block_actions",
            Self::BlockSuggestion => "block_suggestion",
            Self::ViewSubmission => "view_submission",
            Self::ViewClosed => "view_closed",
            Self::Shortcut => "shortcut",
            Self::MessageAction => "message_action",
            Self::InteractiveMessage => "interactive_message",
            Self::DialogSubmission => "dialog_submission",
            Self::DialogCancellation => "dialog_cancellation",
            Self::DialogSuggestion => "dialog_suggestion",
            Self::Unknown => "unknown",
        }
    }

    /// The kind with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// What its ack waits for.
    pub const fn ack_rule(self) -> AckRule {
        match self {
            Self::EventsApi | Self::ViewClosed | Self::DialogCancellation | Self::Unknown => {
                AckRule::WhenStored
            }
            Self::Shortcut | Self::MessageAction | Self::BlockActions => AckRule::BareOnSuccess,
            Self::SlashCommands | Self::InteractiveMessage => AckRule::AnswerOrBare,
            Self::ViewSubmission
            | Self::DialogSubmission
            | Self::BlockSuggestion
            | Self::DialogSuggestion => AckRule::AnswerOnly,
        }
    }

    /// Whether its ack waits for the handler's answer (a *request*) rather than for the store alone (an *event*).
    pub const fn is_request(self) -> bool {
        !matches!(self.ack_rule(), AckRule::WhenStored)
    }
}

/// What an envelope's ack waits for, and what it may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckRule {
    /// Acked as soon as it is stored; the handler's answer is ignored.
    WhenStored,
    /// A bare ack on any 2xx of the handler.
    BareOnSuccess,
    /// A 200's body becomes the ack's payload; another 2xx is a bare ack; too large a body goes to `response_url`.
    AnswerOrBare,
    /// Only a 200 acks, with its body; a bare ack would close the form or empty the menu, so nothing else acks.
    AnswerOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_number_and_its_slack_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u8), Some(kind));
            let plain = matches!(kind, Kind::EventsApi | Kind::SlashCommands);
            let (envelope_type, payload_type) =
                if plain { (kind.name(), None) } else { ("interactive", Some(kind.name())) };
            assert_eq!(Kind::of(envelope_type, payload_type), kind);
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::of("brand_new", None), Kind::Unknown);
    }
}
