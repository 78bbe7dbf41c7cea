"""The way through real brokers and databases with a real Celery worker, a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery
from django.db import connections

from gemini_webhooks import beat_schedule, clock, processing, signals, tasks
from gemini_webhooks.dispatch import messages
from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery
from tests import servers
from tests.senders import StaticSender
from tests.site.models import Effect
from tests.test_receivers import Recorder

PROJECT = Path(__file__).parent.parent


def site(alias: str, broker: str) -> object:
    """A set-up of servers that a site may have."""
    needed = [pytest.mark.server(broker)]
    if alias != "default":
        needed.append(pytest.mark.server(alias))
    databases = [alias] if alias == "default" or servers.missing(alias) is None else []
    needed.append(pytest.mark.django_db(transaction=True, databases=databases))
    return pytest.param(alias, broker, marks=needed, id=f"{alias}-{broker}")


on_servers = pytest.mark.parametrize(
    ("database", "broker"),
    [site("postgres", "amqp"), site("mariadb", "redis"), site("default", "redis")],
    indirect=["database"],
)
sqlite = pytest.mark.django_db(transaction=True)


class Site:
    """An app on a broker, with queues that nobody else uses, and a worker for it."""

    def __init__(self, alias: str, broker: str) -> None:
        self.database = connections[alias].settings_dict
        self.queue = f"gemini-test-{uuid.uuid4().hex}"
        self.other_queue = f"{self.queue}-other"
        self.broker = servers.URLS[broker]
        self.app = Celery("site", broker=self.broker)
        self.app.conf.task_default_queue = self.queue

    @contextmanager
    def worker(self) -> Iterator[None]:
        command = "celery -A tests.worker_app worker --pool solo --loglevel ERROR --queues"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "WORKER_DATABASE": json.dumps(self.database, default=str),
            "WORKER_BROKER": self.broker,
            "WORKER_QUEUE": self.queue,
            "WORKER_OTHER_QUEUE": self.other_queue,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split(), self.queue], cwd=PROJECT, env=environment
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    def close(self) -> None:
        with self.app.connection_for_write() as connection:
            for queue in (self.queue, self.other_queue):
                connection.default_channel.queue_delete(queue)
        self.app.close()


@pytest.fixture
def a_site(database: str, broker: str) -> Iterator[Site]:
    before = messages.site_app()
    made = Site(database, broker)
    yield made
    made.close()
    before.set_current()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline, "did not come"
        time.sleep(0.05)


def state() -> str:
    return WebhookDelivery.objects.values_list("state", flat=True).get()


def states() -> list[str]:
    return list(WebhookDelivery.objects.values_list("state", flat=True))


@on_servers
def test_delivery_is_processed_by_a_worker(static: StaticSender, a_site: Site) -> None:
    with a_site.worker():
        assert static.post(webhook_id="m").json() == {"status": "accepted"}
        wait_until(lambda: state() == "processed")

    assert [effect.webhook_id for effect in Effect.objects.all()] == ["m"]
    log = Attempt.objects.order_by("number").values_list("trigger", "outcome")
    assert list(log) == [("delivery", "failed"), ("retry", "succeeded")]


@on_servers
def test_runs_go_to_the_queue_of_their_receiver(static: StaticSender, a_site: Site) -> None:
    with a_site.worker():  # takes the default queue only
        static.post(static.envelope("batch.cancelled"), webhook_id="m")
        wait_until(ReceiverRun.objects.exists)

    with a_site.app.connection_for_write() as connection:
        message = connection.default_channel.basic_get(a_site.other_queue, no_ack=True)
    run = ReceiverRun.objects.get()
    assert (run.queue, run.state) == (a_site.other_queue, "pending")
    assert message.headers["task"] == "gemini_webhooks.tasks.run_receiver"
    assert message.headers["argsrepr"] == f"({run.pk},)"


@on_servers
def test_sweep_brings_back_what_a_wiped_broker_lost(static: StaticSender, a_site: Site) -> None:
    static.post(static.envelope("batch.failed"))
    with a_site.app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(a_site.queue) == 1

    with a_site.worker():
        assert tasks.sweep(everything=True)["delivery"] == 1
        wait_until(lambda: state() == "processed")

    assert Effect.objects.count() == 1


@on_servers
def test_sweep_goes_on_until_nothing_is_left(static: StaticSender, a_site: Site) -> None:
    for _ in range(5):
        static.post(static.envelope("batch.failed"))
    with a_site.app.connection_for_write() as connection:
        connection.default_channel.queue_purge(a_site.queue)
    WebhookDelivery.objects.update(sweep_at=clock.after(-1))

    with a_site.worker():
        tasks.sweep.delay(2)
        wait_until(lambda: set(states()) == {"processed"})

    assert Effect.objects.count() == 5


@sqlite
def test_messages_that_come_twice_do_nothing_the_second_time(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()
    delivery = WebhookDelivery.objects.get()

    for _ in range(2):
        tasks.dispatch(delivery.pk)
    for _ in range(2):
        tasks.run_receiver(ReceiverRun.objects.get().pk)

    assert len(recorder.calls) == 1
    assert ReceiverRun.objects.count() == 1
    assert processing.plan(-1) == processing.run(-1) == []


@sqlite
def test_eager_tasks_run_receivers_at_once(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    app = messages.site_app()
    app.conf.task_always_eager = True
    try:
        assert static.post().json() == {"status": "accepted"}
    finally:
        app.conf.task_always_eager = False

    assert len(recorder.calls) == 1
    assert state() == "processed"


def test_beat_schedule_names_tasks_that_exist() -> None:
    registered = set(messages.site_app().tasks)

    assert {entry["task"] for entry in beat_schedule().values()} <= registered
    assert all(entry["schedule"] > 0 for entry in beat_schedule().values())
