"""A secret that ends does so in every process at once: measured on several real web workers."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from django.db import connections

from gemini_webhooks import ciphers, clock, gateway, registration
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.verification import secret_hint
from tests.conftest import every_database
from tests.senders import StaticSender, envelope, new_id, new_secret
from tests.test_web_servers import PROJECT, free_port

WORKERS = 3
#: Requests with the old secret after it has ended, at least.
ASKED = 240
#: At a time, so that all workers are busy.
SENDERS = 8
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    webhook_id: str
    sent: float
    status: int


@dataclass(kw_only=True)
class Workers:
    """A web server, and which of its workers answered what, from its access log."""

    port: int
    log: Path
    answers: list[Answer] = field(default_factory=list)

    def post(self, sender: StaticSender) -> Answer:
        """Send one event on a connection of its own."""
        body = json.dumps(envelope()).encode()
        webhook_id, sent = new_id(), time.time()
        headers = sender.headers(body, webhook_id, int(sent))
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            client.request(
                "POST", sender.path, body, {"content-type": "application/json", **headers}
            )
            answer = Answer(webhook_id=webhook_id, sent=sent, status=client.getresponse().status)
        finally:
            client.close()
        self.answers.append(answer)
        return answer

    def by_worker(self, answers: list[Answer]) -> dict[str, Counter[int]]:
        """Statuses of ``answers`` by the worker that gave them."""
        wanted = {answer.webhook_id for answer in answers}
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = [line.split() for line in self.log.read_text().splitlines()]
            seen = [line for line in lines if len(line) == 3 and line[1] in wanted]
            if len(seen) == len(wanted):
                break
            assert time.monotonic() < deadline, "the access log is not complete"
            time.sleep(0.05)
        found: dict[str, Counter[int]] = {}
        for worker, _, status in seen:
            found.setdefault(worker, Counter())[int(status)] += 1
        return found

    def ask_all(self, sender: StaticSender, least: int) -> list[Answer]:
        """Send at least so many events, and until every worker has answered some."""
        asked: list[Answer] = []
        deadline = time.monotonic() + PATIENCE
        with ThreadPoolExecutor(SENDERS) as pool:
            while len(asked) < least or len(self.by_worker(asked)) < WORKERS:
                assert time.monotonic() < deadline, "a worker never answered"
                asked += pool.map(self.post, [sender] * min(least, 40))
        return asked

    @contextmanager
    def under_fire(self, sender: StaticSender) -> Iterator[None]:
        """Send events without a pause before and meanwhile."""
        stop = Event()

        def fire() -> None:
            while not stop.is_set():
                self.post(sender)

        threads = [Thread(target=fire) for _ in range(SENDERS // 2)]
        enough = len(self.answers) + ASKED // 10
        for thread in threads:
            thread.start()
        try:
            while len(self.answers) < enough and any(map(Thread.is_alive, threads)):
                time.sleep(0.01)
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def workers(database: str, tmp_path: Path) -> Iterator[Workers]:
    """Several processes that keep their database connections."""
    running = Workers(port=free_port(), log=tmp_path / "access.log")
    kept = {**connections[database].settings_dict, "CONN_MAX_AGE": 600}
    command = [
        *("gunicorn", "tests.wsgi", "--no-control-socket"),
        *("--workers", str(WORKERS), "--threads", "2", "--bind", f"127.0.0.1:{running.port}"),
        *("--access-logfile", str(running.log)),
        *("--access-logformat", "%(p)s %({webhook-id}i)s %(s)s"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.server_settings",
            "WORKER_DATABASE": json.dumps(kept, default=str),
            "SERVER_SECRET": new_secret(),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_answers(running.port, process)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            client.request("GET", "/webhooks/gemini/")
            client.getresponse().read()
        except OSError:
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        else:
            return
        finally:
            client.close()


@pytest.fixture
def endpoint(workers: Workers) -> WebhookEndpoint:
    return rows(WebhookEndpoint).create(slug="acme", remote_id="wh_1")


def stored(at: WebhookEndpoint) -> tuple[SigningSecret, StaticSender]:
    text = new_secret()
    secret = rows(SigningSecret).create(
        endpoint=at, ciphertext=ciphers.encrypt(text), hint=secret_hint(text)
    )
    return secret, StaticSender(path="/webhooks/gemini/acme/", secret=text)


def rotate_at_once(secret: SigningSecret) -> float:
    registration.rotate(secret.endpoint, revoke_immediately=True)
    return time.time()


def revoke(secret: SigningSecret) -> float:
    registration.revoke(secret)
    return time.time()


def expire(secret: SigningSecret) -> float:
    """Let it end a little later by the clock alone: nothing is written at that time."""
    end = time.time() + 1
    secret.expires_at = clock.after(end - time.time())
    secret.save()
    end = clock.aware(secret.expires_at).timestamp()
    while time.time() <= end:
        time.sleep(0.01)
    return end


@every_database
def test_no_worker_accepts_a_secret_that_has_ended(
    workers: Workers,
    endpoint: WebhookEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database: str,
) -> None:
    monkeypatch.setattr(gateway, "rotate_secret", lambda **_: new_secret())
    for end in (revoke, expire, rotate_at_once):
        workers.answers.clear()
        secret, old = stored(endpoint)
        before = workers.ask_all(old, WORKERS)
        assert {answer.status for answer in before} == {200}

        with workers.under_fire(old):
            ended = end(secret)
            after = workers.ask_all(old, ASKED)

        late = [answer for answer in workers.answers if answer.sent > ended]
        stale = [answer for answer in late if answer.status == 200]
        found = workers.by_worker(after)
        if os.environ.get("SHOW_FIGURES"):
            with capsys.disabled():
                print(  # noqa: T201  # figures for a report, when asked for
                    f"\n{database} {end.__name__}: {len(workers.answers)} requests, {len(late)} "
                    f"after the end, {len(stale)} of them accepted; by worker after it: {found}"
                )
        assert len(late) >= ASKED
        assert len(stale) == 0
        assert len(found) == WORKERS
        assert {status for statuses in found.values() for status in statuses} == {401}
