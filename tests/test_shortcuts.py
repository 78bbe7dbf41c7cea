"""What receiving and handling save themselves, where it must make no difference."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from django.db import connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gemini_webhooks import ciphers, deliveries, leases, processing, receivers
from gemini_webhooks.deliveries import inserting
from gemini_webhooks.dispatch import messages, publisher
from gemini_webhooks.dispatch.publisher import Publisher
from gemini_webhooks.models import (
    ReceiverRun,
    ResultFile,
    SigningSecret,
    TokenUse,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.observe import observers
from gemini_webhooks.processing import Handoff
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender, envelope
from tests.test_drain import wait_for
from tests.test_pauses import at_endpoint

database = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _put_together_anew() -> Iterator[None]:
    """Statements that depend on what the database can do."""

    inserting._statements.clear()
    yield
    inserting._statements.clear()


@database
@pytest.mark.usefixtures("_put_together_anew")
def test_a_database_that_returns_nothing_tells_duplicates_too(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.features, "can_return_columns_from_insert", False)

    with CaptureQueriesContext(connection) as asked:
        answers = [static.post(webhook_id="m").json()["status"] for _ in range(3)]

    assert answers == ["accepted", "duplicate", "duplicate"]
    assert not any("RETURNING" in one["sql"] for one in asked.captured_queries)
    assert WebhookDelivery.objects.get().duplicate_count == 2


@every_database
@pytest.mark.usefixtures("_put_together_anew")
def test_conflicts_are_errors_where_a_statement_does_not_see_what_others_commit(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fail otherwise, as PostgreSQL has it, and the duplicate would be put off."""
    connection = connections[database]
    if connection.vendor == "postgresql":
        repeatable = import_module("psycopg").IsolationLevel.REPEATABLE_READ
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", repeatable)
        connection.close()

    with CaptureQueriesContext(connection) as asked:
        answers = [static.post(webhook_id="m").json()["status"] for _ in range(2)]

    connection.close()
    assert answers == ["accepted", "duplicate"]
    is_asked = any("ON CONFLICT" in one["sql"] for one in asked.captured_queries)
    assert is_asked == (connection.vendor == "sqlite")


@every_database
def test_who_repeats_himself_takes_one_statement_as_long_as_he_does(
    database: str, static: StaticSender
) -> None:
    def post(name: str) -> tuple[str, list[str]]:
        with CaptureQueriesContext(connections[database]) as asked:
            status = static.post(envelope(id=name), webhook_id=name).json()["status"]
        words = [one["sql"].split()[0] for one in asked]
        return status, [word for word in words if word in ("INSERT", "UPDATE")]

    # MariaDB's driver does not say what it was that failed.
    conflict = [] if connections[database].vendor == "mysql" else ["INSERT"]
    assert [post(one) for one in "aaabb"] == [
        ("accepted", ["INSERT"]),
        ("duplicate", [*conflict, "UPDATE"]),
        ("duplicate", ["UPDATE"]),
        ("accepted", ["UPDATE", "INSERT"]),
        ("duplicate", [*conflict, "UPDATE"]),
    ]
    counts = WebhookDelivery.objects.order_by("pk").values_list("webhook_id", "duplicate_count")
    assert list(counts) == [("a", 2), ("b", 1)]


@every_database
def test_an_endpoint_is_looked_up_with_its_secrets(database: str) -> None:
    """Each time anew: what is revoked, or switched off, holds at once."""
    endpoint, sender = at_endpoint()

    with CaptureQueriesContext(connections[database]) as asked:
        assert sender.post(webhook_id="a").status_code == 200
    assert [one["sql"].split()[0] for one in asked] == ["SELECT", "INSERT"]

    SigningSecret.objects.update(revoked_at=timezone.now())
    assert sender.post(webhook_id="b").json() == {"error": "signature_mismatch"}
    SigningSecret.objects.update(revoked_at=None)
    endpoint.state = WebhookEndpoint.State.DISABLED
    endpoint.save()
    assert sender.post(webhook_id="c").json() == {"error": "endpoint_disabled"}


@every_database
def test_a_token_is_written_with_its_delivery(database: str, dynamic: DynamicSender) -> None:
    with CaptureQueriesContext(connections[database]) as asked:
        assert dynamic.post().json() == {"status": "accepted"}

    writes = [one["sql"] for one in asked if "INSERT" in one["sql"]]
    assert len(writes) == (1 if connections[database].vendor == "postgresql" else 2)
    assert TokenUse.objects.get().webhook_id == WebhookDelivery.objects.get().webhook_id


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.server("postgres")
@pytest.mark.usefixtures("_put_together_anew")
def test_the_server_logs_no_payload_because_of_a_conflict(
    database: str, dynamic: DynamicSender
) -> None:
    """An error would have it write down the statement, with all that is in it."""
    body = dynamic.encode(dynamic.envelope())
    headers = dynamic.headers(body, "m", int(time.time()))
    failed: list[str] = []

    def watch(execute: Any, sql: str, *more: Any) -> Any:
        try:
            return execute(sql, *more)
        except Exception:
            failed.append(sql)
            raise

    with connections[database].execute_wrapper(watch):
        answers = [
            dynamic.post(body, webhook_id="m", headers={**headers}).json(),
            dynamic.post(body, webhook_id="m", headers={**headers}).json(),
            dynamic.post(body, webhook_id="m").json(),
            dynamic.post(body, webhook_id="n", headers={**headers, "webhook-id": "n"}).json(),
        ]

    again = {"status": "duplicate"}
    assert answers == [{"status": "accepted"}, again, again, {"error": "token_reused"}]
    assert failed == []
    assert WebhookDelivery.objects.get().duplicate_count == 2
    assert TokenUse.objects.count() == 2  # a retry's token is used up as well


@every_database
def test_a_token_that_was_used_takes_its_delivery_back_and_no_more(
    database: str, dynamic: DynamicSender
) -> None:
    """Also in somebody's transaction, which goes on."""
    body = dynamic.encode(dynamic.envelope())
    headers = dynamic.headers(body, "m", int(time.time()))
    with transaction.atomic(using=database):
        answers = [
            dynamic.post(body, webhook_id=one, headers={**headers, "webhook-id": one}).json()
            for one in ("m", "n", "m")
        ]

    assert answers == [{"status": "accepted"}, {"error": "token_reused"}, {"status": "duplicate"}]
    assert WebhookDelivery.objects.get().duplicate_count == 1


def test_words_that_are_no_choice_are_parameters() -> None:
    column = next(one for one in inserting._columns(WebhookDelivery) if one.name == "signing")

    assert column.text("hmac") == "'hmac'"
    assert column.text("'; DROP TABLE x; --") == "%s"


def test_eager_is_what_celery_says_whenever_it_is_changed() -> None:
    app = Celery("eager", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")

    assert not messages.is_eager(app)
    with override_settings(CELERY_TASK_ALWAYS_EAGER=True):
        assert messages.is_eager(app)
    assert not messages.is_eager(app)
    app.conf.task_always_eager = True
    assert messages.is_eager(app)


def test_a_key_that_is_taken_away_opens_nothing_more(settings: Any) -> None:
    ciphertext = ciphers.encrypt("whsec_x")
    assert ciphers.decrypt_again(ciphertext) == "whsec_x"

    settings.SECRET_KEY = "another"

    with pytest.raises(ciphers.ConfigurationError):
        ciphers.decrypt_again(ciphertext)


@database
def test_a_claim_brings_all_that_the_receiver_gets(static: StaticSender) -> None:
    """Nothing is read later, where a router might ask a replica that is behind."""
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    static.post(webhook_id="m")
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)
    delivery = WebhookDelivery.objects.get()
    result = ResultFile.objects.create(delivery=delivery, source_uri="gs://b/o")
    ReceiverRun.objects.update(result=result)

    held = deliveries.claim(handoff.id)

    assert held is not None
    with CaptureQueriesContext(connection) as asked:
        assert held.run.result == result
        assert held.run.delivery == delivery
    assert len(asked) == 0


@database
def test_a_thread_that_cannot_be_started_is_one_attempt_s_trouble(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    static.post(webhook_id="m")
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        processing.run(handoff.id)

    assert ReceiverRun.objects.get().state == "retrying"
    assert not leases._watch._leases
    ReceiverRun.objects.update(next_attempt_at="2026-01-01T00:00Z")
    processing.run(handoff.id)
    assert ReceiverRun.objects.get().state == "succeeded"
    assert leases._watch._thread is not None
    assert leases._watch._thread.is_alive()


def test_a_renewal_that_gets_no_thread_gets_one_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.0)
    renewed = threading.Event()
    monkeypatch.setattr(leases, "_renew_until", lambda *_: renewed.set())
    lease = leases._Lease(deliveries.Claim(run=ReceiverRun(pk=1), token="t", number=1))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        lease.start_if_due()
    assert not renewed.is_set()

    lease.start_if_due()

    assert renewed.wait(10)
    lease.end()


def test_a_hand_off_gathers_longer_as_long_as_many_come(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    pauses: list[float] = []
    goes_on = threading.Semaphore(0)
    now = [0.0]

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        goes_on.acquire()

    monkeypatch.setattr(publisher, "time", SimpleNamespace(sleep=pause, monotonic=lambda: now[0]))
    monkeypatch.setattr(messages, "publish", lambda handoffs, **_: sent.append(len(handoffs)))
    hands_off = Publisher(lost=lambda _: None)

    def come(number: int, *, later: float = 0.0) -> float:
        """So many events; returns how long it gathers."""
        already = len(sent), len(pauses)
        now[0] += later
        for n in range(number):
            assert hands_off.post(Handoff(kind="delivery", id=n))
        wait_for(lambda: len(pauses) > already[1])
        goes_on.release()
        wait_for(lambda: len(sent) > already[0])
        return pauses[-1]

    short, long = publisher.GATHER_SECONDS, publisher.BUSY_SECONDS
    assert [come(publisher.MANY), come(publisher.STILL_MANY), come(1)] == [short, long, long]
    assert [come(1), come(publisher.MANY), come(1, later=1)] == [short, short, short]
    assert sent == [4, 20, 1, 1, 4, 1]


def test_an_observer_that_cannot_join_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ImportError("half installed")

    monkeypatch.setattr(observers, "_join", fail)
    monkeypatch.setattr(observers, "_awaited", {"opentelemetry"})
    library = observers.Library(observer="x", sign="threading", variable="X")
    monkeypatch.setattr(observers, "LIBRARIES", {"opentelemetry": library})

    observers.tell("refused", "code")

    assert "opentelemetry cannot be used: ImportError" in caplog.text
