#!/usr/bin/env python3
"""A receiver that reads a request as Bolt Java's servlet adapter does, without Java.

It is written from the facts of slackapi/java-slack-sdk (ServletAdapterOps, JsonPayloadExtractor, SlackRequestParser,
SlackSignature, App), because those are the strictest of all Bolts: the body is read as text, line by line, and put
together again before the signature is checked. Bytes that do not survive that are refused here too.

    SLACK_SIGNING_SECRET=... receiver.py [--port 0] [--record-port 0]

Prints `record PORT` and then, once requests are taken, `listening PORT`. `/never` has no counterpart in Java, where a
handler must return a response: it is unknown here.
"""

import argparse
import hashlib
import hmac
import json
import os
import pathlib
import re
import sys
import time
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_plus

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from handlers import Handlers
from record import Record

PATH = "/slack/events"
EVENT_TYPES = ("event_callback", "url_verification")
# Seconds; only the past is checked.
TIMESTAMP_AGE_MAX = 300


@dataclass(frozen=True)
class Answer:
    """A response as Bolt Java builds it: text/plain unless it is JSON."""

    status: int = 200
    content_type: str = "text/plain"
    body: str = ""

    @staticmethod
    def json(status: int, value) -> "Answer":
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return Answer(status, "application/json; charset=utf-8", text)


def rebuilt_body(raw: bytes, content_type: str) -> str:
    """The reader's lines joined by LF: a last line end is lost, CR and CR LF become LF.

    Without a charset in the content type the reader decodes ISO-8859-1, the servlet default.
    """
    charset = Message()
    charset["content-type"] = content_type
    text = raw.decode(charset.get_content_charset("iso-8859-1"), errors="replace")
    lines = re.split(r"\r\n|\r|\n", text)
    if lines[-1] == "":
        lines.pop()
    return "\n".join(lines)


def is_signed(secret: str, headers: Message, body: str) -> bool:
    """v0 over the rebuilt body, as UTF-8; the timestamp may not be older than five minutes."""
    timestamp, given = headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")
    if not re.fullmatch(r"[+-]?[0-9]+", timestamp) or time.time() - int(timestamp) >= TIMESTAMP_AGE_MAX:
        return False
    base = f"v0:{timestamp}:{body}".encode()
    expected = "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def form_pairs(body: str):
    """Split on `&`, then on `=`; what does not split in exactly two is passed over, so an empty value is no value."""
    for pair in body.split("&"):
        fields = pair.split("=")
        while len(fields) > 1 and fields[-1] == "":
            fields.pop()  # String.split drops trailing empty parts
        if len(fields) == 2:
            name = unquote_plus(re.sub(r"\n+", "", fields[0].strip()))
            yield name, unquote_plus(fields[1])


def json_payload(body: str):
    """The JSON text in a body: the body itself where it begins like JSON and is an event, else the field `payload`."""
    if body.strip() == "":
        return None
    if body.strip()[0] in "{[":
        try:
            payload = json.loads(body)
        except ValueError:
            return None
        is_event = isinstance(payload, dict) and payload.get("type") in EVENT_TYPES
        return body if is_event else None
    return next((value for name, value in form_pairs(body) if name == "payload"), None)


class Receiver:
    """One app: what it checks, and which handler takes what."""

    def __init__(self, secret: str, handlers: Handlers) -> None:
        self.secret = secret
        self.handlers = handlers

    def answer(self, headers: Message, raw: bytes) -> Answer:
        body = rebuilt_body(raw, headers.get("Content-Type", ""))
        text = json_payload(body)
        if text is not None:
            payload = json.loads(text)
            if "type" not in payload:
                return Answer(400, body="Invalid Request")
        else:
            payload = dict(form_pairs(body))
            if "command" not in payload:
                return Answer() if payload.get("ssl_check") == "1" else Answer(400, body="Invalid Request")
        if not is_signed(self.secret, headers, body):
            return Answer.json(401, {"error": "invalid request"})
        if payload.get("type") == "url_verification":
            return Answer(body=payload["challenge"])
        try:
            found, answer = self.handlers.run(payload)
        except Exception:
            return Answer(500, "application/json", '{"error":"Something is wrong"}')
        if not found:
            return Answer.json(404, {"error": "no handler found"})
        return Answer() if answer is None else Answer.json(200, answer)


def http_handler(receiver: Receiver) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = receiver.answer(self.headers, raw) if self.path == PATH else Answer(404)
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args) -> None:
            pass

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record-port", type=int, default=0)
    options = parser.parse_args()
    secret = os.environ.get("SLACK_SIGNING_SECRET", "")
    if not secret.strip():
        parser.error("the environment variable SLACK_SIGNING_SECRET is empty")
    record = Record()
    print(f"record {record.serve(options.record_port)}", flush=True)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), http_handler(Receiver(secret, Handlers(record))))
    print(f"listening {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
