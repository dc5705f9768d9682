#!/usr/bin/env python3
"""An HTTP-mode Bolt app as its makers document it: it knows nothing of taut.

Signature verification is on; there is no Slack token and no call to Slack. Only the server is chosen from outside:

    SLACK_SIGNING_SECRET=... app.py --server builtin|flask|aiohttp [--port 0] [--record-port 0]

Prints `record PORT` and then, once requests are taken, `listening PORT`; other lines are the servers' own.
"""

import argparse
import asyncio
import logging
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from listeners import register_async, register_sync
from record import Record
from slack_bolt import App
from slack_bolt.authorization import AuthorizeResult

PATH = "/slack/events"


def say(word: str, port: int) -> None:
    print(f"{word} {port}", flush=True)


def authorized(enterprise_id, team_id) -> AuthorizeResult:
    return AuthorizeResult(
        enterprise_id=enterprise_id, team_id=team_id, bot_token="xoxb-test", bot_id="B_BOT", bot_user_id="U_BOT"
    )


def sync_app(record: Record) -> App:
    def authorize(enterprise_id, team_id):
        return authorized(enterprise_id, team_id)

    app = App(signing_secret=os.environ.get("SLACK_SIGNING_SECRET"), authorize=authorize)
    register_sync(app, record)
    return app


def serve_builtin(record: Record, port: int) -> None:
    """Bolt's own development server: one request at a time, HTTP/1.0, a connection for each request."""
    from slack_bolt.app.app import SlackAppDevelopmentServer

    server = SlackAppDevelopmentServer(port=port, path=PATH, app=sync_app(record), http_server_logger_enabled=False)
    say("listening", server._server.server_port)  # it has no public way to ask which port 0 became
    server.start()


def serve_flask(record: Record, port: int) -> None:
    """Bolt's Flask adapter behind Werkzeug's threaded server."""
    from flask import Flask, request
    from slack_bolt.adapter.flask import SlackRequestHandler
    from werkzeug.serving import make_server

    handler = SlackRequestHandler(sync_app(record))
    flask_app = Flask(__name__)
    flask_app.add_url_rule(PATH, view_func=lambda: handler.handle(request), endpoint="slack", methods=["POST"])
    server = make_server("127.0.0.1", port, flask_app, threaded=True)
    say("listening", server.server_port)
    server.serve_forever()


async def serve_aiohttp(record: Record, port: int) -> None:
    """Bolt's asyncio app behind its own aiohttp application."""
    from aiohttp import web
    from slack_bolt.async_app import AsyncApp

    async def authorize(enterprise_id, team_id):
        return authorized(enterprise_id, team_id)

    app = AsyncApp(signing_secret=os.environ.get("SLACK_SIGNING_SECRET"), authorize=authorize)
    register_async(app, record)
    runner = web.AppRunner(app.web_app(path=PATH))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    say("listening", runner.addresses[0][1])
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=["builtin", "flask", "aiohttp"], default="builtin")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record-port", type=int, default=0)
    options = parser.parse_args()

    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    record = Record()
    say("record", record.serve(options.record_port))
    if options.server == "aiohttp":
        asyncio.run(serve_aiohttp(record, options.port))
    elif options.server == "flask":
        serve_flask(record, options.port)
    else:
        serve_builtin(record, options.port)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
