"""What the listeners saw: each call adds `{listener, id}`, and GET /record reads the list back as JSON."""

import json
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

# Entries; the oldest go first. A test that needs more should read the record more often.
ENTRIES_MAX = 100_000


def id_of(body: dict):
    """What tells this request from any other of its kind."""
    candidates = (
        body.get("event_id"),
        body.get("trigger_id"),
        (body.get("view") or {}).get("id"),
        body.get("action_ts"),
        body.get("value"),
    )
    return next((candidate for candidate in candidates if candidate is not None), None)


class Record:
    """The list and the server that shows it; listeners may add from any thread."""

    def __init__(self) -> None:
        self._entries = deque(maxlen=ENTRIES_MAX)
        self._lock = Lock()

    def add(self, listener: str, body: dict) -> None:
        with self._lock:
            self._entries.append({"listener": listener, "id": id_of(body)})

    def _as_json(self) -> bytes:
        with self._lock:
            return json.dumps(list(self._entries)).encode()

    def serve(self, port: int) -> int:
        """Serves the record on loopback from a thread of its own and returns the port."""
        record = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/record"
                body = record._as_json() if found else b""
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port
