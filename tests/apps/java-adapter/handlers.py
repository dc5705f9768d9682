"""The receiver's handlers: the same names as in the Bolt apps, with Bolt Java's spelling of the answers."""

import time

# Just over Slack's limit for an ack over Socket Mode (20,480 bytes); fine over HTTP.
BIG_ANSWER_BYTES = 30_000
BOT_USER_ID = "U_BOT"

EVENTS = {
    "message",
    "app_mention",
    "reaction_added",
    "app_home_opened",
    "app_uninstalled",
    "tokens_revoked",
    "function_executed:f_run",
}


def plain(text: str) -> dict:
    return {"type": "plain_text", "text": text}


def section(text: str) -> dict:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def modal(title: str) -> dict:
    return {"type": "modal", "title": plain(title), "blocks": [section("Grüße aus dem *Modal*")]}


def option(text: str, value: str) -> dict:
    return {"text": plain(text), "value": value}


def _throw() -> dict:
    raise RuntimeError("this handler throws")


def _after(seconds: float, answer: dict) -> dict:
    time.sleep(seconds)
    return answer


# `ack("text")` of a Java command handler is JSON, unlike in the other Bolts.
COMMANDS = {
    "/echo": lambda body: {"text": f"echo: {body.get('text', '')}"},
    "/blocks": lambda body: {"response_type": "ephemeral", "text": "blocks", "blocks": [section("*Grüße*")]},
    "/silent": lambda body: None,
    "/slow": lambda body: _after(1.5, {"text": "slow"}),
    "/late": lambda body: _after(4, {"text": "late"}),
    "/throw": lambda body: _throw(),
    "/big": lambda body: {"text": "x" * BIG_ANSWER_BYTES},
}

# (payload type, id) -> answer; None is a bare ack.
INTERACTIVE = {
    ("block_actions", "a_click"): None,
    ("block_suggestion", "o_menu"): {"options": [option("Größe M", "m"), option("Größe L", "l")]},
    ("block_suggestion", "o_groups"): {"option_groups": [{"label": plain("Sizes"), "options": [option("M", "m")]}]},
    ("view_submission", "v_errors"): {"response_action": "errors", "errors": {"b1": "zu kurz für uns"}},
    ("view_submission", "v_update"): {"response_action": "update", "view": modal("Updated")},
    ("view_submission", "v_push"): {"response_action": "push", "view": modal("Pushed")},
    ("view_submission", "v_clear"): {"response_action": "clear"},
    ("view_submission", "v_close"): None,
    ("view_closed", "v_closed"): None,
    ("shortcut", "s_global"): None,
    ("message_action", "s_message"): None,
    ("interactive_message", "l_buttons"): {"replace_original": True, "text": "gewählt: ✓"},
    ("dialog_submission", "d_errors"): {"errors": [{"name": "size", "error": "zu groß"}]},
    ("dialog_submission", "d_close"): None,
    ("dialog_cancellation", "d_close"): None,
    ("dialog_suggestion", "d_menu"): {"options": [{"label": "Größe M", "value": "m"}]},
}


def event_key(event: dict) -> str:
    """Type, and subtype where there is one; a function is known by its callback id."""
    suffix = event.get("subtype") or (event.get("function") or {}).get("callback_id")
    return f"{event.get('type')}:{suffix}" if suffix else str(event.get("type"))


def interactive_id(payload: dict) -> str:
    """What a handler of this payload was registered under."""
    if payload["type"] == "block_actions":
        actions = payload.get("actions") or []
        return actions[0].get("action_id", "") if len(actions) == 1 else ""
    if payload["type"] == "block_suggestion":
        return payload.get("action_id", "")
    if payload["type"] in ("view_submission", "view_closed"):
        return (payload.get("view") or {}).get("callback_id", "")
    return payload.get("callback_id", "")


def is_own(payload: dict) -> bool:
    """What the app's own bot user caused."""
    return payload.get("type") == "event_callback" and (payload.get("event") or {}).get("user") == BOT_USER_ID


class Handlers:
    """Finds a request's handler, notes that it ran, and runs it."""

    def __init__(self, record) -> None:
        self.record = record

    def run(self, payload: dict) -> tuple:
        """(a handler was found, its answer or None for a bare ack)."""
        if "command" in payload:
            name, known = payload["command"], payload["command"] in COMMANDS
            answer = COMMANDS.get(name, lambda body: None)
        elif is_own(payload):
            return True, None  # acked by a middleware, before any handler
        elif payload.get("type") == "event_callback":
            key = event_key(payload.get("event") or {})
            name, known = key.rpartition(":")[2], key in EVENTS
            answer = lambda body: None
        else:
            name = interactive_id(payload)
            known = (payload.get("type"), name) in INTERACTIVE
            value = INTERACTIVE.get((payload.get("type"), name))
            name = "d_cancelled" if payload.get("type") == "dialog_cancellation" else name
            answer = lambda body: value
        if not known:
            return False, None
        self.record.add(name, payload)
        return True, answer(payload)
