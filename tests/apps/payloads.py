"""One request for each listener of the apps, and for what no listener takes; selftest.py writes them to cases.json."""

from dataclasses import dataclass
from typing import Optional

TEAM = {"id": "T1", "domain": "acme"}
USER = {"id": "U1", "username": "ann", "name": "ann", "team_id": "T1"}
CHANNEL = {"id": "C1", "name": "general"}
# Documented or observed for most; an assumption for app_rate_limited, view_closed and the legacy kinds.
WITHOUT_RESPONSE_PAYLOAD = {
    "event_callback", "app_rate_limited", "shortcut", "message_action", "view_closed", "dialog_cancellation",
}
RESPONSE_URL = "https://hooks.slack.com/actions/T1/1/x"


@dataclass(frozen=True)
class Request:
    """An envelope's type and payload, and the listener that must run (in the apps that have it), if any."""

    name: str
    envelope_type: str
    payload: dict
    listener: Optional[str]

    def as_json(self) -> dict:
        return {
            "name": self.name,
            "envelope_type": self.envelope_type,
            "accepts_response_payload": self.payload.get("type", "slash command") not in WITHOUT_RESPONSE_PAYLOAD,
            "listener": self.listener,
            "payload": self.payload,
        }


def event(name: str, listener: Optional[str], inner: dict) -> Request:
    authorization = {"enterprise_id": None, "team_id": "T1", "user_id": "U_BOT", "is_bot": True, "is_enterprise_install": False}
    payload = {
        "token": "tok",
        "team_id": "T1",
        "api_app_id": "A1",
        "event": inner,
        "type": "event_callback",
        "event_id": f"Ev_{name}",
        "event_time": 1700000000,
        "authorizations": [authorization],
        "is_ext_shared_channel": False,
    }
    return Request(name, "events_api", payload, listener)


def message(text: str, **extra) -> dict:
    base = {"type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "ts": "1700000000.000100"}
    return {**base, "text": text, "event_ts": "1700000000.000100", **extra}


def command(name: str, text: str = "", listener: Optional[str] = "") -> Request:
    payload = {
        "token": "tok",
        "team_id": "T1",
        "team_domain": "acme",
        "channel_id": "C1",
        "channel_name": "general",
        "user_id": "U1",
        "user_name": "ann",
        "command": name,
        "text": text,
        "api_app_id": "A1",
        "is_enterprise_install": "false",
        "response_url": "https://hooks.slack.com/commands/T1/1/x",
        "trigger_id": f"1.2.command_{name[1:]}",
    }
    return Request(f"command_{name[1:]}", "slash_commands", payload, name if listener == "" else listener)


def interactive(name: str, kind: str, listener: Optional[str], /, **rest) -> Request:
    payload = {
        "type": kind,
        "token": "tok",
        "api_app_id": "A1",
        "team": TEAM,
        "user": USER,
        "enterprise": None,
        "is_enterprise_install": False,
        **rest,
    }
    return Request(name, "interactive", payload, listener)


def view(callback_id: str, kind: str = "view_submission", listener: Optional[str] = "") -> Request:
    body = {
        "id": f"V_{callback_id}",
        "team_id": "T1",
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": '{"k":"a&b=c"}',
        "hash": "1700000000.abc",
        "title": {"type": "plain_text", "text": "Titel"},
        "blocks": [],
        "state": {"values": {"b1": {"a1": {"type": "plain_text_input", "value": "Grüße 🚀"}}}},
    }
    rest = {"is_cleared": False} if kind == "view_closed" else {"trigger_id": f"1.2.{callback_id}", "response_urls": []}
    return interactive(callback_id, kind, callback_id if listener == "" else listener, view=body, **rest)


def suggestion(action_id: str, listener: Optional[str]) -> Request:
    container = {"type": "message", "message_ts": "1700000000.000100", "channel_id": "C1"}
    rest = {"action_id": action_id, "block_id": "b1", "value": f"typed {action_id}", "container": container}
    return interactive(action_id, "block_suggestion", listener, channel=CHANNEL, **rest)


def events() -> list:
    item = {"type": "message", "channel": "C1", "ts": "1700000000.000100"}
    changed = {"message": message("after"), "previous_message": message("before"), "subtype": "message_changed", "hidden": True}
    function = {
        "type": "function_executed",
        "inputs": {"text": "日本語"},
        "function_execution_id": "Fx1",
        "workflow_execution_id": "Wx1",
        "event_ts": "1700000000.000100",
        "bot_access_token": "xwfp-made-up",
    }
    rate = {"token": "tok", "type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1700000000, "api_app_id": "A1"}
    return [
        event("message", "message", message("Grüße, 日本 🚀 </>")),
        event("message_changed", "event_message", {"type": "message", "channel": "C1", "ts": "1.2", **changed}),
        event("own_message", None, message("from the app itself", user="U_BOT")),
        event("app_mention", "app_mention", message("<@U_BOT> hé", type="app_mention")),
        event("reaction_added", "reaction_added", {"type": "reaction_added", "user": "U1", "reaction": "+1", "item": item}),
        event("app_home_opened", "app_home_opened", {"type": "app_home_opened", "user": "U1", "channel": "D1", "tab": "home"}),
        event("app_uninstalled", "app_uninstalled", {"type": "app_uninstalled"}),
        event("tokens_revoked", "tokens_revoked", {"type": "tokens_revoked", "tokens": {"oauth": ["U1"], "bot": []}}),
        event("function_executed", "f_run", {**function, "function": {"id": "Fn1", "callback_id": "f_run"}}),
        event("function_unknown", None, {**function, "function": {"id": "Fn2", "callback_id": "f_unknown"}}),
        event("event_unknown", None, {"type": "channel_created", "channel": {"id": "C2", "name": "new", "creator": "U1"}}),
        event("message_1_2_mb", "message", message("x" * 1_200_000)),
        Request("app_rate_limited", "events_api", rate, None),
    ]


def interactivity() -> list:
    action = {"type": "button", "block_id": "b1", "value": "über 5 > 3", "action_ts": "1700000000.1"}
    container = {"type": "message", "message_ts": "1700000000.000100", "channel_id": "C1"}
    click = {"container": container, "channel": CHANNEL, "response_url": RESPONSE_URL}

    def clicked(name: str, listener: Optional[str]) -> Request:
        actions = [{**action, "action_id": name}]
        return interactive(name, "block_actions", listener, actions=actions, trigger_id=f"1.2.{name}", **click)

    on_message = {"message": message("~*´`"), "message_ts": "1.0", "channel": CHANNEL, "response_url": RESPONSE_URL}
    return [
        clicked("a_click", "a_click"),
        clicked("a_unknown", None),
        suggestion("o_menu", "o_menu"),
        suggestion("o_groups", "o_groups"),
        suggestion("o_unknown", None),
        *(view(callback_id) for callback_id in ("v_errors", "v_update", "v_push", "v_clear", "v_close")),
        view("v_unknown", listener=None),
        view("v_closed", kind="view_closed"),
        interactive("s_global", "shortcut", "s_global", callback_id="s_global", trigger_id="1.2.s_global", action_ts="1.0"),
        interactive("s_message", "message_action", "s_message", callback_id="s_message", trigger_id="1.2.s_message", **on_message),
    ]


def legacy() -> list:
    pressed = {"actions": [{"name": "size", "type": "button", "value": "m"}], "channel": CHANNEL, "response_url": RESPONSE_URL}
    dialog = {"channel": CHANNEL, "state": "s", "response_url": RESPONSE_URL}
    submission = {"size": "größer als 9", "note": "a=b&c"}
    return [
        interactive("l_buttons", "interactive_message", "l_buttons", callback_id="l_buttons", action_ts="2.1", **pressed),
        interactive("l_menu", "interactive_message", "l_menu", callback_id="l_menu", action_ts="2.2", name="size", value="mün"),
        interactive("d_errors", "dialog_submission", "d_errors", callback_id="d_errors", action_ts="2.3", submission=submission, **dialog),
        interactive("d_close", "dialog_submission", "d_close", callback_id="d_close", action_ts="2.4", submission=submission, **dialog),
        interactive("d_cancelled", "dialog_cancellation", "d_cancelled", callback_id="d_close", action_ts="2.5", **dialog),
        interactive("d_menu", "dialog_suggestion", "d_menu", callback_id="d_menu", action_ts="2.6", name="size", value="mün", **dialog),
    ]


def commands() -> list:
    answering = ["/blocks", "/silent", "/slow", "/late", "/never", "/throw", "/big"]
    return [
        command("/echo", "two words & 100% ~*-._ <@U1> Grüße 🚀"),
        *(command(name) for name in answering),
        command("/unknown", listener=None),
    ]


def all_requests() -> list:
    """Every request that may come over the socket."""
    return [*events(), *commands(), *interactivity(), *legacy()]
