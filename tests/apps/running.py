"""Starts the handler apps and sends them requests, for selftest.py."""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
SECRET = "bridge-test-secret-0001"
PATH = "/slack/events"
# Seconds; the longest answer of an app comes after 5 s.
ANSWER_TIMEOUT = 20
RECORD_TIMEOUT = 2
PYTHON = str(HERE / ".venv/bin/python")
APPS = {
    "js-http": ["node", "bolt-js/app.js", "--receiver", "http"],
    "js-express": ["node", "bolt-js/app.js", "--receiver", "express"],
    "py-builtin": [PYTHON, "bolt-python/app.py", "--server", "builtin"],
    "py-flask": [PYTHON, "bolt-python/app.py", "--server", "flask"],
    "py-aiohttp": [PYTHON, "bolt-python/app.py", "--server", "aiohttp"],
    "java-adapter": [sys.executable, "java-adapter/receiver.py"],
}


@dataclass(frozen=True)
class Answer:
    """What came back, how long it took, and how HTTP carried it."""

    status: int
    content_type: str
    body: bytes
    seconds: float
    framing: str

    def shown(self) -> str:
        """Status, media type, body in short, and the time from 1.5 s on (half seconds, rounded down)."""
        text = " ".join(self.body.decode("utf-8", "replace").split())
        if len(text) > 100:
            text = f"{text[:60]}… ({len(self.body)} bytes)"
        parts = [str(self.status), self.content_type or "no content type", f"`{text}`" if text else "empty"]
        halves = int(self.seconds * 2 + 0.05)
        if halves >= 3:
            parts.append(f"after {halves / 2} s")
        return ", ".join(parts)


class RunningApp:
    """One app as a process of its own, its two ports read from its output."""

    def __init__(self, name: str) -> None:
        self.name = name
        environment = {**os.environ, "SLACK_SIGNING_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            APPS[name], cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        ports = {}
        for line in self.process.stdout:
            word, _, port = line.partition(" ")
            if word in ("listening", "record"):
                ports[word] = int(port)
            if len(ports) == 2:
                break
        else:
            raise SystemExit(f"{name} ended before it listened; run tests/apps/install")
        self.port, self.record_port = ports["listening"], ports["record"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def send(self, headers: dict, body: bytes, path: str = PATH) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_TIMEOUT)
        started = time.monotonic()
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        chunked, closes = response.chunked, response.will_close
        read = response.read()
        seconds = time.monotonic() - started
        connection.close()
        version = "HTTP/1.0" if response.version == 10 else "HTTP/1.1"
        length = "chunked" if chunked else "Content-Length" if "content-length" in response.headers else "until close"
        framing = f"{version}, {length}, {'closes' if closes else 'keeps alive'}"
        return Answer(response.status, response.headers.get("content-type", ""), read, seconds, framing)

    def listeners_of(self, request_id: str, awaited: bool) -> set:
        """The listeners that ran for an id; with `awaited`, asks until there is one."""
        deadline = time.monotonic() + RECORD_TIMEOUT
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.record_port}/record") as response:
                found = {entry["listener"] for entry in json.load(response) if entry["id"] == request_id}
            if found or not awaited or time.monotonic() > deadline:
                return found
            time.sleep(0.02)
