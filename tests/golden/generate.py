#!/usr/bin/env python3
"""Writes the golden requests: for one payload as the socket brings it, the bytes a handler must receive.

    generate.py            write every NAME.payload.json, NAME.request and index.tsv
    generate.py --check    write nothing; exit 1 if a file differs from what would be written

The rules, each in one function below, come from Slack's public documentation
(docs.slack.dev/authentication/verifying-requests-from-slack, /apis/events-api/using-http-request-urls,
/interactivity/implementing-slash-commands) and from taut's own promise to leave payload bytes alone. Nothing here
shares code with taut: an error would have to be made twice to go unseen.
"""

import hashlib
import hmac
import json
import pathlib
import re
import sys
from json.decoder import scanstring

from cases import Case, all_cases

HERE = pathlib.Path(__file__).resolve().parent
FORM_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")


def ascii_single_line(payload: bytes) -> bytes:
    """Non-ASCII becomes `\\uxxxx` (lower-case hex, surrogate pairs) and raw line breaks go; nothing else changes.

    JSON strings cannot hold a raw CR or LF, so every one that is found stands between tokens.
    """
    out = bytearray()
    for char in payload.decode("utf-8"):
        code = ord(char)
        if char in "\r\n":
            continue
        if code < 0x80:
            out.append(code)
        elif code < 0x10000:
            out += b"\\u%04x" % code
        else:
            high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)
            out += b"\\u%04x\\u%04x" % (high, low)
    return bytes(out)


def form_encode(text: bytes) -> bytes:
    """WHATWG application/x-www-form-urlencoded of UTF-8 bytes: space is `+`, the rest upper-case `%XX`."""
    return b"".join(
        b"+" if byte == 0x20 else bytes([byte]) if byte in FORM_SAFE else b"%%%02X" % byte for byte in text
    )


def usv(text: str) -> bytes:
    """UTF-8 of a decoded JSON string; a lone surrogate has none and becomes U+FFFD, as WHATWG forms have it."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text).encode("utf-8")


def form_value(raw: str):
    """The form's spelling of one JSON value, given its own bytes; None where a form has no spelling for it."""
    if raw == "null":
        return None
    if raw[0] == '"':
        return usv(scanstring(raw, 1)[0])
    return ascii_single_line(raw.encode("utf-8"))  # numbers and words literally, objects and arrays as JSON text


def top_level_pairs(payload: bytes):
    """(key, text of the value) for each member of a JSON object, in order; the text is a slice of the input."""
    text = payload.decode("utf-8")
    decoder, at = json.JSONDecoder(), text.index("{") + 1
    space = re.compile(r"[ \t\r\n]*")
    while True:
        at = space.match(text, at).end()
        if text[at] == "}":
            return
        key, at = scanstring(text, at + 1)
        at = space.match(text, at).end() + 1  # the colon
        start = space.match(text, at).end()
        _, end = decoder.raw_decode(text, start)
        yield key, text[start:end]
        at = space.match(text, end).end()
        at += text[at] == ","


def command_form(payload: bytes) -> bytes:
    """A slash command's flat form: one field for each top-level member that is not null."""
    fields = ((usv(key), form_value(raw)) for key, raw in top_level_pairs(payload))
    return b"&".join(form_encode(key) + b"=" + form_encode(value) for key, value in fields if value is not None)


def body_of(case: Case) -> tuple[str, bytes]:
    """Content type (exactly so: Bolt JS compares the whole string) and body."""
    if case.envelope_type == "events_api":
        return "application/json", ascii_single_line(case.payload)
    if case.envelope_type == "interactive":
        return "application/x-www-form-urlencoded", b"payload=" + form_encode(ascii_single_line(case.payload))
    if case.envelope_type == "slash_commands":
        return "application/x-www-form-urlencoded", command_form(case.payload)
    raise ValueError(f"no rule for envelope type {case.envelope_type!r}")


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Slack's v0 signature over the bytes that are sent."""
    base = b"v0:%d:" % timestamp + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


def request_of(case: Case) -> bytes:
    """Request line, the headers Slack's shape fixes (sorted, LF), an empty line, the body without a line end."""
    content_type, body = body_of(case)
    headers = {
        "Accept": "application/json,*/*",
        "Content-Length": str(len(body)),
        "Content-Type": content_type,
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "X-Slack-Request-Timestamp": str(case.timestamp),
        "X-Slack-Signature": signature(case.secret, case.timestamp, body),
    }
    if case.retry_attempt > 0:  # a first delivery has neither header
        headers["X-Slack-Retry-Num"] = str(case.retry_attempt)
        headers["X-Slack-Retry-Reason"] = case.retry_reason
    lines = ["POST /slack/events HTTP/1.1", *(f"{name}: {headers[name]}" for name in sorted(headers))]
    return "\n".join(lines).encode("ascii") + b"\n\n" + body


# Published or independently measured signatures: the generator must agree with them before it may write.
KNOWN_SIGNATURES = {
    "command_docs_vector": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    "event_vector": "v0=ff30a90ceaa8b132ab2d15ecc8530e905c89689d97cbb5cd8c5aaa13d82abed9",
    "interactive_vector": "v0=6342e2ca66c789389ccef75b48d4191974f111028e6713b9fccdba4ed36c6b45",
    "command_vector": "v0=9a65111e633be3a6b27e5bffafee8e121f7da83bc12ae5524d43e095548ec2da",
}


def outputs() -> dict[str, bytes]:
    """File name to content, for everything this directory generates."""
    files, index = {}, ["name\tenvelope_type\tsecret\ttimestamp\tretry_attempt\tretry_reason"]
    for case in all_cases():
        json.loads(case.payload)  # a payload that is no JSON would prove nothing
        request = request_of(case)
        known = KNOWN_SIGNATURES.get(case.name)
        if known is not None and f"X-Slack-Signature: {known}\n".encode() not in request:
            raise SystemExit(f"{case.name}: the signature is not the published one")
        files[f"{case.name}.payload.json"] = case.payload
        files[f"{case.name}.request"] = request
        row = (case.name, case.envelope_type, case.secret, case.timestamp, case.retry_attempt, case.retry_reason)
        index.append("\t".join(map(str, row)))
    files["index.tsv"] = "\n".join(index).encode() + b"\n"
    return files


def main() -> int:
    files = outputs()
    generated = {*HERE.glob("*.payload.json"), *HERE.glob("*.request"), HERE / "index.tsv"}
    stale = sorted(path.name for path in generated if path.name not in files and path.exists())
    if sys.argv[1:] == ["--check"]:
        differing = [name for name, data in files.items() if not (HERE / name).exists() or (HERE / name).read_bytes() != data]
        for name in differing + stale:
            print(f"differs: tests/golden/{name}; run tests/golden/generate.py", file=sys.stderr)
        return 1 if differing or stale else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    for name in stale:
        (HERE / name).unlink()
    for name, data in files.items():
        (HERE / name).write_bytes(data)
    print(f"{len(files)} files written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
