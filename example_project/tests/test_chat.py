"""The chat channel of those who approve: told of what waits, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from example_project.studio.models import Commission
from example_project.tests.steps import replay_all, state
from gemini_webhooks.models import Attempt, ReceiverRun

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


class Chat(BaseHTTPRequestHandler):
    """A chat channel's incoming webhook."""

    lines: list[str] = []
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.lines.append(json.loads(body)["text"])
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def chat(settings: Any) -> Iterator[type[Chat]]:
    handler = type("Channel", (Chat,), {"lines": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    settings.STUDIO_CHAT_SECRET_URL = f"http://127.0.0.1:{server.server_port}/services/s3cret"
    yield handler
    server.shutdown()
    server.server_close()


def test_the_chat_is_told_once(chat, asked, work, site):
    replay_all()
    work()

    [line] = chat.lines
    assert line == f"“need-action” waits for your approval: {site}{asked.get_absolute_url()}"
    assert state(asked) == State.WAITING


def test_a_prompt_gives_the_chat_no_orders(place, work, chat):
    orders = "<!channel> <http://evil.example|here> @all [approve](http://evil.example)"
    place("interaction", f"need-action {orders}", may_publish="on")
    work()

    [line] = chat.lines
    assert "‹!channel›" in line
    assert not set("<>@[]") & set(line)


def test_a_chat_that_was_down_is_not_told_of_what_is_decided_by_now(place, decide, work, chat):
    chat.status = 500
    asked = place("interaction", "need-action", may_publish="on")
    work()
    decide(asked, "grant")
    work()
    chat.status = 200
    chat.lines.clear()
    replay_all()
    work()

    assert chat.lines == []


def test_a_chat_that_refuses_stops_nothing_and_its_address_stays_a_secret(place, work, chat):
    chat.status = 500
    asked = place("interaction", "need-action", may_publish="on")
    work()

    assert state(asked) == State.WAITING
    run = ReceiverRun.objects.get(receiver__endswith="tell_the_chat")
    assert run.state == "dead"
    assert run.last_error.endswith("NotTold: The chat channel answered 500.")
    assert not Attempt.objects.filter(traceback__contains="s3cret").exists()
