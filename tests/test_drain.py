"""``drain --forever``: the whole worker of a site that has no broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connections

from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from tests import servers
from tests.senders import StaticSender
from tests.site.models import Effect

PROJECT = Path(__file__).parent.parent
COMMAND = "-m django gemini_webhooks drain --forever --json"

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
    pytest.mark.server("postgres"),
    pytest.mark.parametrize("database", ["postgres"], indirect=True),
]


@contextmanager
def draining(signs: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that drains the database of this test, ready for signals."""
    environment = {
        **os.environ,
        "WORKER_DATABASE": json.dumps(connections["postgres"].settings_dict, default=str),
        "WORKER_SIGNS": str(signs),
        "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
    }
    process = subprocess.Popen(
        [sys.executable, *COMMAND.split()],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        assert "SIGTERM" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_several_processes_share_the_work(
    database: str, static: StaticSender, tmp_path: Path
) -> None:
    with ExitStack() as running:
        processes = [running.enter_context(draining(tmp_path)) for _ in range(3)]
        for number in range(40):
            static.post(static.envelope("batch.failed"), webhook_id=f"m{number}")
        done = WebhookDelivery.objects.using(database).filter(state="processed")
        wait_for(lambda: done.count() == 40)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        reports = [json.loads(process.communicate(timeout=30)[0]) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    effects = Effect.objects.using(database).values_list("webhook_id", flat=True)
    assert sorted(effects) == sorted(f"m{number}" for number in range(40))
    assert sum(report["runs"] for report in reports) >= 40


def test_the_current_run_is_ended_before_the_process_ends(
    database: str, static: StaticSender, tmp_path: Path
) -> None:
    for name in ("m1", "m2"):
        static.post(static.envelope("batch.expired"), webhook_id=name)
    with draining(tmp_path) as process:
        wait_for((tmp_path / "running").exists)
        process.send_signal(signal.SIGTERM)
        (tmp_path / "go on").touch()
        report = json.loads(process.communicate(timeout=30)[0])

    assert process.returncode == 0
    assert report["runs"] == 1
    states = ReceiverRun.objects.using(database).values_list("state", flat=True)
    assert sorted(states) == ["pending", "succeeded"]


def test_waits_for_a_database_that_is_away(
    database: str, static: StaticSender, tmp_path: Path
) -> None:
    name = connections[database].settings_dict["NAME"]

    def let_in(answer: str) -> None:
        with psycopg.connect(servers.URLS["postgres"], autocommit=True) as elsewhere:
            elsewhere.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {answer}')
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            elsewhere.execute(cut, [name])

    with draining(tmp_path) as process:
        assert process.stderr
        let_in("false")
        try:
            assert "OperationalError" in process.stderr.readline()
        finally:
            let_in("true")
        connections[database].close()  # it was cut as well
        static.post(static.envelope("batch.failed"), webhook_id="m1")
        wait_for(Effect.objects.using(database).exists)
