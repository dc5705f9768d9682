//! Samples of every kind of payload, as files under `samples/`.
//!
//! Each file is a whole payload, pretty-printed for people; on the wire it goes out compact, with fresh ids (see
//! [`crate::template`]). All names and ids are made up.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::envelope::EnvelopeType;
use crate::switches::Switches;
use crate::template::Template;

/// One kind of payload, backed by a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Sample {
    /// A message in a channel, with mentions, an emoji and escaped non-ASCII.
    Message,
    /// A mention of the app's bot.
    AppMention,
    /// A reaction to a message.
    ReactionAdded,
    /// Somebody opens the app's Home tab.
    AppHomeOpened,
    /// An edit; the channel's message is inside.
    MessageChanged,
    /// A deletion; the message is inside.
    MessageDeleted,
    /// A reply in a thread of a private channel, with U+2028.
    ThreadReply,
    /// A message with a file (its URLs need a token).
    FileSharedMessage,
    /// Somebody joins a channel.
    MemberJoinedChannel,
    /// Somebody joins the workspace; `user` is an object.
    TeamJoin,
    /// A message of another workspace in a shared channel.
    SharedChannelMessage,
    /// A message seen through an org-wide installation.
    OrgMessage,
    /// A workflow step of the app runs; carries a short-lived token.
    FunctionExecuted,
    /// The app was removed from the workspace.
    AppUninstalled,
    /// Tokens were revoked; names users, not tokens.
    TokensRevoked,
    /// Slack's notice that it withholds events; has neither `event` nor `event_id`.
    AppRateLimited,
    /// A slash command.
    SlashCommand,
    /// A button in a message.
    BlockActions,
    /// A select in a modal; has no `response_url`.
    BlockActionsView,
    /// Options for an external select.
    BlockSuggestion,
    /// A modal is submitted.
    ViewSubmission,
    /// A modal is closed.
    ViewClosed,
    /// A global shortcut; has no channel and no `api_app_id`.
    Shortcut,
    /// A message shortcut.
    MessageAction,
    /// A button of a legacy attachment.
    InteractiveMessage,
    /// A legacy dialog is submitted.
    DialogSubmission,
    /// Options for a legacy dialog's select.
    DialogSuggestion,
    /// A legacy dialog is cancelled.
    DialogCancellation,
}

impl Sample {
    /// Every sample, in the order of the documentation.
    pub const ALL: [Self; 28] = [
        Self::Message,
        Self::AppMention,
        Self::ReactionAdded,
        Self::AppHomeOpened,
        Self::MessageChanged,
        Self::MessageDeleted,
        Self::ThreadReply,
        Self::FileSharedMessage,
        Self::MemberJoinedChannel,
        Self::TeamJoin,
        Self::SharedChannelMessage,
        Self::OrgMessage,
        Self::FunctionExecuted,
        Self::AppUninstalled,
        Self::TokensRevoked,
        Self::AppRateLimited,
        Self::SlashCommand,
        Self::BlockActions,
        Self::BlockActionsView,
        Self::BlockSuggestion,
        Self::ViewSubmission,
        Self::ViewClosed,
        Self::Shortcut,
        Self::MessageAction,
        Self::InteractiveMessage,
        Self::DialogSubmission,
        Self::DialogSuggestion,
        Self::DialogCancellation,
    ];

    /// The name used in scripts, on the command line and in the journal: that of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::AppMention => "app_mention",
            Self::ReactionAdded => "reaction_added",
            Self::AppHomeOpened => "app_home_opened",
            Self::MessageChanged => "message_changed",
            Self::MessageDeleted => "message_deleted",
            Self::ThreadReply => "thread_reply",
            Self::FileSharedMessage => "file_shared_message",
            Self::MemberJoinedChannel => "member_joined_channel",
            Self::TeamJoin => "team_join",
            Self::SharedChannelMessage => "shared_channel_message",
            Self::OrgMessage => "org_message",
            Self::FunctionExecuted => "function_executed",
            Self::AppUninstalled => "app_uninstalled",
            Self::TokensRevoked => "tokens_revoked",
            Self::AppRateLimited => "app_rate_limited",
            Self::SlashCommand => "slash_command",
            Self::BlockActions => "block_actions",
            Self::BlockActionsView => "block_actions_view",
            Self::BlockSuggestion => "block_suggestion",
            Self::ViewSubmission => "view_submission",
            Self::ViewClosed => "view_closed",
            Self::Shortcut => "shortcut",
            Self::MessageAction => "message_action",
            Self::InteractiveMessage => "interactive_message",
            Self::DialogSubmission => "dialog_submission",
            Self::DialogSuggestion => "dialog_suggestion",
            Self::DialogCancellation => "dialog_cancellation",
        }
    }

    /// The payload as the file has it, with its made-up ids.
    pub const fn load(self) -> &'static str {
        match self {
            Self::Message => include_str!("../samples/message.json"),
            Self::AppMention => include_str!("../samples/app_mention.json"),
            Self::ReactionAdded => include_str!("../samples/reaction_added.json"),
            Self::AppHomeOpened => include_str!("../samples/app_home_opened.json"),
            Self::MessageChanged => include_str!("../samples/message_changed.json"),
            Self::MessageDeleted => include_str!("../samples/message_deleted.json"),
            Self::ThreadReply => include_str!("../samples/thread_reply.json"),
            Self::FileSharedMessage => include_str!("../samples/file_shared_message.json"),
            Self::MemberJoinedChannel => include_str!("../samples/member_joined_channel.json"),
            Self::TeamJoin => include_str!("../samples/team_join.json"),
            Self::SharedChannelMessage => include_str!("../samples/shared_channel_message.json"),
            Self::OrgMessage => include_str!("../samples/org_message.json"),
            Self::FunctionExecuted => include_str!("../samples/function_executed.json"),
            Self::AppUninstalled => include_str!("../samples/app_uninstalled.json"),
            Self::TokensRevoked => include_str!("../samples/tokens_revoked.json"),
            Self::AppRateLimited => include_str!("../samples/app_rate_limited.json"),
            Self::SlashCommand => include_str!("../samples/slash_command.json"),
            Self::BlockActions => include_str!("../samples/block_actions.json"),
            Self::BlockActionsView => include_str!("../samples/block_actions_view.json"),
            Self::BlockSuggestion => include_str!("../samples/block_suggestion.json"),
            Self::ViewSubmission => include_str!("../samples/view_submission.json"),
            Self::ViewClosed => include_str!("../samples/view_closed.json"),
            Self::Shortcut => include_str!("../samples/shortcut.json"),
            Self::MessageAction => include_str!("../samples/message_action.json"),
            Self::InteractiveMessage => include_str!("../samples/interactive_message.json"),
            Self::DialogSubmission => include_str!("../samples/dialog_submission.json"),
            Self::DialogSuggestion => include_str!("../samples/dialog_suggestion.json"),
            Self::DialogCancellation => include_str!("../samples/dialog_cancellation.json"),
        }
    }

    /// The type of the envelope that carries this payload.
    pub const fn envelope_type(self) -> EnvelopeType {
        match self {
            Self::SlashCommand => EnvelopeType::SlashCommands,
            Self::BlockActions
            | Self::BlockActionsView
            | Self::BlockSuggestion
            | Self::ViewSubmission
            | Self::ViewClosed
            | Self::Shortcut
            | Self::MessageAction
            | Self::InteractiveMessage
            | Self::DialogSubmission
            | Self::DialogSuggestion
            | Self::DialogCancellation => EnvelopeType::Interactive,
            Self::Message
            | Self::AppMention
            | Self::ReactionAdded
            | Self::AppHomeOpened
            | Self::MessageChanged
            | Self::MessageDeleted
            | Self::ThreadReply
            | Self::FileSharedMessage
            | Self::MemberJoinedChannel
            | Self::TeamJoin
            | Self::SharedChannelMessage
            | Self::OrgMessage
            | Self::FunctionExecuted
            | Self::AppUninstalled
            | Self::TokensRevoked
            | Self::AppRateLimited => EnvelopeType::EventsApi,
        }
    }

    /// Whether its envelope says `accepts_response_payload`.
    pub(crate) fn accepts_payload(self, switches: &Switches) -> bool {
        if matches!(self, Self::Shortcut | Self::MessageAction | Self::ViewClosed) {
            return switches.shortcuts_accept_payload;
        }
        self.envelope_type() != EnvelopeType::EventsApi
    }

    pub(crate) fn template(self) -> &'static Template {
        static TEMPLATES: OnceLock<Vec<Template>> = OnceLock::new();
        let templates =
            TEMPLATES.get_or_init(|| Self::ALL.iter().map(|sample| Template::new(sample.load())).collect());
        &templates[self as usize]
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No sample has this name; the text lists those there are.
#[derive(Debug, thiserror::Error)]
#[error("no sample `{name}`; there are: {}", Sample::ALL.map(Sample::name).join(", "))]
pub struct UnknownSample {
    name: String,
}

impl FromStr for Sample {
    type Err = UnknownSample;

    /// Reads a sample's name. Dashes count as underscores, and `slash_commands` is the command sample.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let wanted = name.replace('-', "_");
        let wanted = if wanted == "slash_commands" { "slash_command" } else { &wanted };
        Self::ALL
            .into_iter()
            .find(|sample| sample.name() == wanted)
            .ok_or_else(|| UnknownSample { name: name.to_owned() })
    }
}

impl TryFrom<String> for Sample {
    type Error = UnknownSample;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_sample_is_json_and_is_found_by_its_name() {
        for sample in Sample::ALL {
            let payload: Value = serde_json::from_str(sample.load()).unwrap();
            assert!(payload.is_object());
            assert_eq!(sample.name().parse::<Sample>().expect("its own name"), sample);
            let routing = crate::envelope::Routing::of(sample.load().as_bytes());
            assert_eq!(routing.envelope_type, sample.envelope_type(), "{sample}");
        }
    }

    #[test]
    fn a_misspelt_name_lists_the_samples() {
        let refusal = "mesage".parse::<Sample>().expect_err("no such sample").to_string();
        assert!(refusal.contains("`mesage`") && refusal.contains("view_submission"));
    }
}
