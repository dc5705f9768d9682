#!/usr/bin/env python3
"""Sends every kind of signed request straight to the apps, as Slack would, and prints what they answer.

    selftest.py            compare with ANSWERS.md and cases.json; exit 1 on a difference or if a listener did not run
    selftest.py --write    write both anew

Needs what tests/apps/install installs, and no network. Takes about half a minute: some listeners are slow on purpose.
"""

import json
import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import RemoteDisconnected

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
sys.path[:0] = [str(GOLDEN), str(HERE / "java-adapter")]

from cases import Case
from cases import all_cases as golden_cases
from generate import body_of, signature
from payloads import Request, all_requests
from receiver import rebuilt_body
from record import id_of
from running import APPS, PATH, SECRET, RunningApp

# Listeners that a library cannot register, by family (the first word of an app's name).
ABSENT = {
    "js": {"d_cancelled"},
    "py": {"l_menu"},
    "java": {"/never", "l_menu", "event_message"},
}
# (app, request): over the server's own size limit, so that no listener sees it.
TOO_LARGE = {("py-aiohttp", "message_1_2_mb")}
FAMILY_SIZE = {"js": 2, "py": 3, "java": 1}
FAMILY_NAME = {"js": "Bolt JS", "py": "Bolt Python", "java": "Java adapter"}


def signed(content_type: str, body: bytes, timestamp: int = 0, secret: str = SECRET) -> dict:
    """Slack's headers for a body; `timestamp` 0 means now."""
    timestamp = timestamp or int(time.time())
    return {
        "Content-Type": content_type,
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "Accept": "application/json,*/*",
        "X-Slack-Request-Timestamp": str(timestamp),
        "X-Slack-Signature": signature(secret, timestamp, body),
    }


def encoded(request: Request) -> tuple:
    """(content type, body) as Slack has them."""
    payload = json.dumps(request.payload, ensure_ascii=False, separators=(",", ":")).encode()
    return body_of(Case(request.name, request.envelope_type, payload))


def other_requests() -> dict:
    """Name to (headers, body, path): what a receiver must refuse, and what never comes over a socket."""
    by_name = {request.name: request for request in all_requests()}
    kind, body = encoded(by_name["app_mention"])
    form, form_body = encoded(by_name["command_silent"])
    raw_utf8 = json.dumps(by_name["app_mention"].payload, ensure_ascii=False).encode()
    upper = signed(kind, body)
    upper["X-Slack-Signature"] = "v0=" + upper["X-Slack-Signature"][3:].upper()
    challenge = b'{"token":"tok","challenge":"3eZbrw1aB1","type":"url_verification"}'
    now = int(time.time())
    return {
        "url_verification": (signed(kind, challenge), challenge, PATH),
        "ssl_check, unsigned": ({"Content-Type": form}, b"ssl_check=1&token=tok", PATH),
        "unsigned": ({"Content-Type": kind}, body, PATH),
        "another secret": (signed(kind, body, secret="another"), body, PATH),
        "upper-case signature": (upper, body, PATH),
        "timestamp 6 min old": (signed(kind, body, now - 360), body, PATH),
        "timestamp 6 min ahead": (signed(kind, body, now + 360), body, PATH),
        "another path": (signed(kind, body), body, "/elsewhere"),
        "event, charset=utf-8": (signed(f"{kind}; charset=utf-8", body), body, PATH),
        "command, charset=utf-8": (signed(f"{form}; charset=utf-8", form_body), form_body, PATH),
        "event in raw UTF-8": (signed(kind, raw_utf8), raw_utf8, PATH),
        "event ending in a line break": (signed(kind, body + b"\n"), body + b"\n", PATH),
        "event cut short": (signed(kind, body[:-9]), body[:-9], PATH),
    }


def observe(app_name: str) -> dict:
    """Everything one app answers: `answers` by request name, `framing`, and `faults` of listeners."""
    app = RunningApp(app_name)
    seen = {"answers": {}, "framing": set(), "faults": []}
    absent = ABSENT[app_name.partition("-")[0]]
    try:
        for request in all_requests():
            content_type, body = encoded(request)
            answer = app.send(signed(content_type, body), body)
            seen["answers"][request.name] = answer.shown()
            seen["framing"].add(answer.framing)
            unseen = request.listener in absent or (app_name, request.name) in TOO_LARGE
            expected = None if unseen else request.listener
            ran = app.listeners_of(id_of(request.payload), expected is not None)
            if (expected not in ran) if expected else ran:
                seen["faults"].append(f"{app_name}: {request.name}: expected {expected or 'no listener'}, ran {sorted(ran)}")
        for name, (headers, body, path) in other_requests().items():
            try:
                seen["answers"][name] = app.send(headers, body, path).shown()
            except RemoteDisconnected:
                seen["answers"][name] = "connection closed without an answer"
    finally:
        app.stop()
    return seen


def by_whom(app_names: list) -> str:
    """The apps in words; a family by its name where all of it is meant."""
    words = []
    for family, size in FAMILY_SIZE.items():
        members = [name for name in app_names if name.partition("-")[0] == family]
        variants = ", ".join(name.partition("-")[2] for name in members)
        if members:
            words.append(FAMILY_NAME[family] if len(members) == size else f"{FAMILY_NAME[family]} ({variants})")
    return "all" if len(app_names) == len(APPS) else "; ".join(words)


def rows_of(name: str, observed: dict):
    """(request, answer, by whom), one for each different answer, in the order of the apps."""
    groups = {}
    for app_name in APPS:
        groups.setdefault(observed[app_name]["answers"][name], []).append(app_name)
    for position, (answer, app_names) in enumerate(groups.items()):
        yield (name if position == 0 else "", answer.replace("|", "\\|"), by_whom(app_names))


def markdown(observed: dict) -> str:
    def table(names, head: str) -> list:
        lines = [f"| {head} | answer | given by |", "|---|---|---|"]
        return lines + [f"| {' | '.join(row)} |" for name in names for row in rows_of(name, observed)]

    framing = [f"| {name} | {'; '.join(sorted(observed[name]['framing']))} |" for name in APPS]
    return "\n".join([
        "# What the handler apps answer",
        "",
        "Written by `selftest.py --write`, which sends each request straight to the apps, signed as Slack signs. A test that",
        "sends the same request through taut compares with the app's own answer, which this page only shows. Times are in half",
        "seconds, rounded down, and left out below 1.5 s. Listeners that a library has no way to register: "
        + "; ".join(f"{FAMILY_NAME[family]} {', '.join(sorted(names))}" for family, names in ABSENT.items()) + ".",
        "",
        "## What comes over a socket (`cases.json`)",
        *table([request.name for request in all_requests()], "request"),
        "",
        "## What does not, or must be refused",
        *table(other_requests(), "request"),
        "",
        "## How HTTP carries the answers",
        "| app | seen |",
        "|---|---|",
        *framing,
        "",
    ])


def cases_json() -> str:
    """The requests for tests in other languages; the large one is left out, any test can make it."""
    absent = {name: [family for family in ABSENT if name in ABSENT[family]] for name in set().union(*ABSENT.values())}
    cases = [
        {**request.as_json(), "listener_absent_in": absent.get(request.listener, [])}
        for request in all_requests()
        if request.name != "message_1_2_mb"
    ]
    return json.dumps(cases, ensure_ascii=False, indent=1) + "\n"


def golden_faults() -> list:
    """The golden requests, read as Bolt Java reads: the bytes must survive it, and the signature with them."""
    faults = []
    for path in sorted(GOLDEN.glob("*.request")):
        head, _, body = path.read_bytes().partition(b"\n\n")
        headers = dict(line.split(": ", 1) for line in head.decode("ascii").split("\n")[1:])
        rebuilt = rebuilt_body(body, headers["Content-Type"]).encode()
        secret = next(case.secret for case in golden_cases() if f"{case.name}.request" == path.name)
        expected = signature(secret, int(headers["X-Slack-Request-Timestamp"]), rebuilt)
        if rebuilt != body or expected != headers["X-Slack-Signature"]:
            faults.append(f"tests/golden/{path.name} does not survive Bolt Java's way of reading")
    return faults


def main() -> int:
    if sys.argv[1:] not in ([], ["--write"]):
        print(__doc__, file=sys.stderr)
        return 2
    with ThreadPoolExecutor(len(APPS)) as pool:
        observed = dict(zip(APPS, pool.map(observe, APPS)))
    outputs = {"ANSWERS.md": markdown(observed), "cases.json": cases_json()}
    print(outputs["ANSWERS.md"])
    faults = golden_faults() + [fault for seen in observed.values() for fault in seen["faults"]]
    for name, text in outputs.items():
        path = HERE / name
        if sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            faults.append(f"tests/apps/{name} differs; look at the difference, then run selftest.py --write")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
