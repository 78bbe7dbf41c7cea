"""The page “From polling to webhooks”, followed step by step against the emulator."""

from __future__ import annotations

import gc
import io
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import isolate_apps

from gemini_webhooks import gateway, processing
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.models import Job, WebhookDelivery
from gemini_webhooks.reconcile import reconcile
from tests.senders import StaticSender, envelope
from tests.test_docs import BLOCKS, python_of, with_extras

pytestmark = [with_extras, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """The app of the page: its model, and a function that makes its other modules."""
    with isolate_apps("tests.site"):

        class Report(models.Model):
            batch = models.CharField(max_length=100, unique=True)
            answers = models.JSONField(null=True)
            ended = models.BooleanField(default=False)

            class Meta:
                app_label = "tests_site"

            def __str__(self) -> str:
                return self.batch

    blocks = {code.partition("\n")[0]: code for code in python_of("polling")}

    def module(name: str) -> ModuleType:
        made = ModuleType(f"reports.{name}")
        monkeypatch.setitem(sys.modules, made.__name__, made)
        if name == "models":
            made.Report = Report
        else:
            exec(blocks[f"# reports/{name}.py"], made.__dict__)
        return made

    monkeypatch.setitem(sys.modules, "reports", ModuleType("reports"))
    module("models")
    with connection.schema_editor() as editor:
        editor.create_model(Report)
    yield module
    with connection.schema_editor() as editor:
        editor.delete_model(Report)


@pytest.fixture
def serve(
    settings: Any, tmp_path: Path, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., EmulatorServer]]:
    servers: list[EmulatorServer] = []

    def start(**options: Any) -> EmulatorServer:
        server = EmulatorServer(**{"job_seconds": 0, "output": "inline", **options})
        servers.append(server.__enter__())
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "emulator")
        settings.MEDIA_ROOT = tmp_path
        settings.GEMINI_WEBHOOKS = {"PUBLIC_BASE_URL": live_server.url}
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)
    gateway._client.cache_clear()
    gc.collect()


def console(fragment: str) -> list[str]:
    """Command lines of the page and what they print, one after the other."""
    [block] = [b.text for b in BLOCKS if b.page == "polling" and fragment in b.text]
    return block.splitlines()


def manage(*words: str) -> str:
    call_command(*words, stdout=(out := io.StringIO()), stderr=out)
    return out.getvalue()


def delivered(server: EmulatorServer) -> None:
    assert server.emulator.outbox.wait_idle(20)


def noting_ends(done: list[str]) -> Callable[..., None]:
    def save(row: Any, **given: Any) -> None:
        done.extend([row.batch] * row.ended)
        models.Model.save(row, **given)

    return save


def test_no_end_is_lost_and_none_is_done_twice(
    reports: Callable[[str], Any],
    serve: Callable[..., EmulatorServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve()
    Report = reports("models").Report  # noqa: N806  # a class
    monkeypatch.setattr(time, "sleep", lambda _: None)
    done: list[str] = []
    polling = reports("polling")
    early = polling.start(["early"])  # ends before anything is registered
    by_loop = polling.start(["by the loop alone"])
    delivered(server)

    polling.wait(by_loop)
    assert Report.objects.get(pk=by_loop.pk).answers == ["Echo: by the loop alone"]

    ending = reports("ending")
    monkeypatch.setattr(Report, "save", noting_ends(done))
    manage("gemini_webhooks", "create", "reports")
    reports("receivers")
    both = polling.start(["both"])
    delivered(server)
    processing.drain()
    assert Report.objects.get(pk=both.pk).answers == ["Echo: both"]
    ending.end(both.batch, ["of the loop"])  # as its last line is now
    assert Report.objects.get(pk=both.pk).answers == ["Echo: both"]

    new = reports("starting").start(["new"])
    delivered(server)
    processing.drain()
    assert Report.objects.get(pk=new.pk).answers == ["Echo: new"]
    assert Job.objects.get().user_metadata == {"group": "nightly"}

    line = console("--metadata group=nightly")[-1].removeprefix("$ python manage.py ")
    printed = manage(*shlex.split(line), "--ended", "--yes")
    assert "adopted: 2" in printed  # of these the loop has ended one
    assert len(reconcile().found) == 2
    processing.drain()
    assert Report.objects.get(pk=early.pk).answers == ["Echo: early"]
    assert Report.objects.get(pk=by_loop.pk).answers == ["Echo: by the loop alone"]

    assert sorted(done) == sorted([early.batch, both.batch, new.batch])
    assert not Report.objects.filter(ended=False).exists()
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}
    assert "adopted: 0" in manage(*shlex.split(line), "--ended", "--yes")


def test_what_adopt_prints(
    reports: Callable[[str], Any], serve: Callable[..., EmulatorServer]
) -> None:
    serve(job_seconds=600)
    manage("gemini_webhooks", "create", "reports")
    batch = reports("polling").start(["running"]).batch
    line, *shown = console("--metadata group=nightly")[:-1]

    printed = manage(*shlex.split(line.removeprefix("$ python manage.py ")))

    printed = printed.replace(batch, "batches/4f1kq2")
    printed = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", "2026-11-20T14:00Z", printed)
    assert [line.split() for line in printed.splitlines()] == [line.split() for line in shown]


def test_receivers_for_interactions(
    reports: Callable[[str], Any], static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Mock()
    monkeypatch.setitem(sys.modules, "reports.chat", chat)
    reports("conversations")
    for word in ("requires_action", "completed", "failed", "cancelled"):
        static.post(envelope(f"interaction.{word}", id=word))
    processing.drain()

    chat.call_function.assert_called_once_with("requires_action")
    chat.keep_reply.assert_called_once_with("completed")
    assert sorted(call.args for call in chat.report_failure.call_args_list) == [
        ("cancelled", "interaction.cancelled"),
        ("failed", "interaction.failed"),
    ]
