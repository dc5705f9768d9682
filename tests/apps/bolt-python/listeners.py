"""One listener for each kind of request and each kind of answer that Bolt has. None of them calls Slack.

Bolt Python wants plain functions for `App` and coroutines for `AsyncApp`, so what differs (how to wait, how to ack) is
in the two `register_*` functions at the end, and what a listener does is said once, by `LISTENERS`.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Callable

# Just over Slack's limit for an ack over Socket Mode (20,480 bytes); fine over HTTP.
BIG_ANSWER_BYTES = 30_000
NO_ACK = object()


def plain(text: str) -> dict:
    return {"type": "plain_text", "text": text}


def section(text: str) -> dict:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def modal(title: str) -> dict:
    return {"type": "modal", "title": plain(title), "blocks": [section("Grüße aus dem *Modal*")]}


def option(text: str, value: str) -> dict:
    return {"text": plain(text), "value": value}


@dataclass(frozen=True)
class Listener:
    """What is registered (`app.KIND(MATCH)`), and how it acks."""

    kind: str
    match: Any
    name: str
    answer: Callable[[dict], Any] = lambda body: ""
    wait_seconds: float = 0


def _throw(body: dict):
    raise RuntimeError("this listener throws before it acks")


def _command(name: str, answer: Callable[[dict], Any], wait_seconds: float = 0) -> Listener:
    return Listener("command", name, name, answer, wait_seconds)


def _events() -> list:
    types = ["app_mention", "reaction_added", "app_home_opened", "app_uninstalled", "tokens_revoked"]
    return [
        Listener("message", "", "message"),
        Listener("event", "message", "event_message"),  # what `message` does not take: edits and other subtypes
        *(Listener("event", name, name) for name in types),
        Listener("function", "f_run", "f_run"),
    ]


def _commands() -> list:
    blocks = {"response_type": "ephemeral", "text": "blocks", "blocks": [section("*Grüße*")]}
    return [
        _command("/echo", lambda body: f"echo: {body.get('text', '')}"),
        _command("/blocks", lambda body: blocks),
        _command("/silent", lambda body: ""),
        _command("/slow", lambda body: "slow", wait_seconds=1.5),
        _command("/late", lambda body: "late", wait_seconds=4),
        _command("/never", lambda body: NO_ACK),
        _command("/throw", _throw),
        _command("/big", lambda body: "x" * BIG_ANSWER_BYTES),
    ]


def _interactivity() -> list:
    sizes = {"options": [option("Größe M", "m"), option("Größe L", "l")]}
    groups = {"option_groups": [{"label": plain("Sizes"), "options": [option("M", "m")]}]}
    errors = {"response_action": "errors", "errors": {"b1": "zu kurz für uns"}}
    return [
        Listener("action", "a_click", "a_click"),
        Listener("options", "o_menu", "o_menu", lambda body: sizes),
        Listener("options", "o_groups", "o_groups", lambda body: groups),
        Listener("view", "v_errors", "v_errors", lambda body: errors),
        Listener("view", "v_update", "v_update", lambda body: {"response_action": "update", "view": modal("Updated")}),
        Listener("view", "v_push", "v_push", lambda body: {"response_action": "push", "view": modal("Pushed")}),
        Listener("view", "v_clear", "v_clear", lambda body: {"response_action": "clear"}),
        Listener("view", "v_close", "v_close"),
        Listener("view_closed", "v_closed", "v_closed"),
        Listener("global_shortcut", "s_global", "s_global"),
        Listener("message_shortcut", "s_message", "s_message"),
    ]


def _legacy() -> list:
    """Attachments' buttons, and dialogs: what came before Block Kit and still arrives."""
    replacement = {"replace_original": True, "text": "gewählt: ✓"}
    errors = {"errors": [{"name": "size", "error": "zu groß"}]}
    choices = {"options": [{"label": "Größe M", "value": "m"}]}
    return [
        Listener("attachment_action", "l_buttons", "l_buttons", lambda body: replacement),
        Listener("dialog_submission", "d_errors", "d_errors", lambda body: errors),
        Listener("dialog_submission", "d_close", "d_close"),
        Listener("dialog_cancellation", "d_close", "d_cancelled"),
        Listener("dialog_suggestion", "d_menu", "d_menu", lambda body: choices),
    ]


LISTENERS = [*_events(), *_commands(), *_interactivity(), *_legacy()]


def register_sync(app, record) -> None:
    def bind(listener: Listener) -> None:
        def run(ack, body):
            record.add(listener.name, body)
            time.sleep(listener.wait_seconds)
            answer = listener.answer(body)
            if answer is not NO_ACK:
                ack(answer)

        getattr(app, listener.kind)(listener.match)(run)

    for listener in LISTENERS:
        bind(listener)


def register_async(app, record) -> None:
    def bind(listener: Listener) -> None:
        async def run(ack, body):
            record.add(listener.name, body)
            await asyncio.sleep(listener.wait_seconds)
            answer = listener.answer(body)
            if answer is not NO_ACK:
                await ack(answer)

        getattr(app, listener.kind)(listener.match)(run)

    for listener in LISTENERS:
        bind(listener)
