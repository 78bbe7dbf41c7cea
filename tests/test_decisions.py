"""One test (or a pointer to it) for each accident under "Decisions already taken" in the design.

1 receipt and processing are separate .. below     8 key set is cached .... tests/verification
2 one INSERT decides ................... below     9 registering leaves no orphan .... below
3 no ATOMIC_REQUESTS, CSRF, login ...... test_http 10 replays replay ................. below
4 hand-off after commit, bounded ....... below     11 reading a bucket is a privilege  results
5 claims have leases ................... below     12 unknown types are stored ....... below
6 poison JSON .......................... below     13 what a token vouches for ....... below
7 aware times, any alias ............... below
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from django.core.management import call_command
from django.db import OperationalError, connections
from django.test import Client
from django.utils import timezone

from gemini_webhooks import (
    deliveries,
    gateway,
    processing,
    registration,
    replay,
    signals,
)
from gemini_webhooks.dispatch import messages
from gemini_webhooks.dispatch.publisher import PUBLISH_SECONDS
from gemini_webhooks.exceptions import GatewayError, RegistrationError
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    SigningSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.receivers import non_atomic
from tests.celery_app import app
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender, envelope, new_secret
from tests.site.models import Effect
from tests.test_receivers import Recorder

sqlite = pytest.mark.django_db(transaction=True)


# 1 -------------------------------------------------------------------------------------------


@sqlite
def test_retry_of_an_event_whose_receiver_failed_is_not_forgotten(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(ValueError("database of theirs down")))
    static.post(webhook_id="m")
    processing.plan(WebhookDelivery.objects.get().pk)
    processing.run(ReceiverRun.objects.get().pk)

    again = static.post(webhook_id="m")
    assert again.json() == {"status": "duplicate"}
    assert WebhookDelivery.objects.get().state == "processing"

    call_command("gemini_webhooks", "drain")

    assert len(recorder.calls) == 2
    assert WebhookDelivery.objects.get().state == "processed"


# 2 -------------------------------------------------------------------------------------------


@every_database
def test_one_id_from_32_threads_is_one_row_and_all_are_accepted(
    database: str, static: StaticSender
) -> None:
    body = json.dumps(envelope()).encode()
    headers = static.headers(body, "msg_once", int(time.time()))
    barrier = threading.Barrier(32)

    def post() -> tuple[int, str]:
        barrier.wait()
        try:
            answer = Client().post(
                "/webhooks/gemini/", data=body, content_type="application/json", headers=headers
            )
            return answer.status_code, answer.json()["status"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(32) as pool:
        answers = [future.result() for future in [pool.submit(post) for _ in range(32)]]

    assert sorted(answers) == [(200, "accepted")] + [(200, "duplicate")] * 31
    delivery = WebhookDelivery.objects.get()
    assert delivery.duplicate_count == 31


# 4 -------------------------------------------------------------------------------------------


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A broker that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}//"


@pytest.fixture
def celery_with() -> Iterator[Any]:
    """Make a Celery app with another broker the current one."""
    apps: list[Celery] = []

    def make(broker: str) -> Celery:
        app = Celery("other", broker=broker)
        apps.append(app)
        return app

    before = messages.site_app()
    yield make
    before.set_current()
    for made in apps:
        made.close()


@sqlite
@pytest.mark.parametrize("kind", ["refused", "black hole"])
def test_broker_that_is_down_costs_one_slow_request_and_no_delivery(
    static: StaticSender,
    celery_with: Any,
    black_hole: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    celery_with(black_hole if kind == "black hole" else "amqp://guest:guest@127.0.0.1:9//")
    signals.batch_succeeded.connect(recorder := Recorder())

    tries: list[Any] = []
    publish = messages.publish

    def counted(*args: Any, **kwargs: Any) -> None:
        tries.append(args)
        publish(*args, **kwargs)

    monkeypatch.setattr(messages, "publish", counted)
    for number in range(5):
        assert static.post(webhook_id=f"m{number}").json() == {"status": "accepted"}

    assert len(tries) == 1  # then it cools down
    assert PUBLISH_SECONDS < 2  # the contract's bound for the one that waits
    assert len(deliveries.to_dispatch(10)) == 5  # due for the sweeper at once, not in a minute
    call_command("gemini_webhooks", "drain")
    assert len(recorder.calls) == 5


@sqlite
def test_hand_off_reaches_the_broker_of_the_site_from_any_thread(static: StaticSender) -> None:
    answers: list[Any] = []

    def post() -> None:
        answers.append(static.post().json())
        connections.close_all()

    thread = threading.Thread(target=post)
    thread.start()
    thread.join()

    assert answers == [{"status": "accepted"}]
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
    assert message is not None
    assert message.headers["task"] == "gemini_webhooks.tasks.dispatch"


@sqlite
def test_what_was_handed_off_but_lost_comes_back_after_a_while(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()

    assert processing.sweep().handoffs == ()  # the message may still be under way
    WebhookDelivery.objects.update(sweep_at=timezone.now() - timedelta(seconds=1))
    [handoff] = processing.sweep().handoffs
    assert (handoff.kind, handoff.id) == ("delivery", WebhookDelivery.objects.get().pk)
    assert processing.sweep().handoffs == ()  # handed off again just now
    assert recorder.calls == []


# 5 -------------------------------------------------------------------------------------------


@every_database
def test_run_of_a_dead_worker_is_taken_up_and_its_writes_are_not_there(
    database: str, static: StaticSender
) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)
    run = ReceiverRun.objects.get()
    dead = deliveries.claim(run.pk)
    assert dead is not None

    assert processing.run(run.pk) == []  # the lease holds: nobody else may run it
    assert recorder.calls == []

    ReceiverRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    processing.run(run.pk)

    assert len(recorder.calls) == 1
    outcomes = Attempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["lost", "succeeded"]
    with pytest.raises(deliveries.LeaseLost):
        deliveries.succeed(dead)  # it was not dead after all: too late
    assert Attempt.objects.count() == 2


@every_database
def test_worker_that_lost_its_lease_commits_nothing(database: str, static: StaticSender) -> None:
    def slow(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver="slow", webhook_id=event.id)
        if Effect.objects.count() == 1 and not taken:
            taken.append(True)
            # Somebody else takes the run over while this one is inside of its receiver.
            ReceiverRun.objects.update(claim="somebody else")

    taken: list[bool] = []
    signals.batch_succeeded.connect(slow)
    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)

    processing.run(ReceiverRun.objects.get().pk)

    assert taken
    assert not Effect.objects.exists()
    assert ReceiverRun.objects.get().state == "running"


@sqlite
def test_long_receiver_renews_its_lease(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = threading.Event()
    renew = deliveries.renew

    def watched(held: deliveries.Claim) -> bool:
        answer = renew(held)
        renewed.set()
        return answer

    monkeypatch.setattr("gemini_webhooks.leases.RENEW_SECONDS", 0.01)
    monkeypatch.setattr(deliveries, "renew", watched)
    leases: list[Any] = []

    @non_atomic
    def receiver(**_: Any) -> None:
        leases.append(ReceiverRun.objects.get().lease_until)
        assert renewed.wait(10)
        leases.append(ReceiverRun.objects.get().lease_until)

    signals.batch_succeeded.connect(receiver)
    static.post()
    call_command("gemini_webhooks", "drain")

    assert leases[1] > leases[0]
    assert ReceiverRun.objects.get().state == "succeeded"


@sqlite
def test_run_that_kills_every_worker_is_buried(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)
    run = ReceiverRun.objects.get()
    for _ in range(8):
        assert deliveries.claim(run.pk)
        ReceiverRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    processing.run(run.pk)

    run.refresh_from_db()
    assert (run.state, run.attempts) == ("dead", 8)
    assert "no worker survived" in run.last_error
    assert recorder.calls == []
    assert WebhookDelivery.objects.get().state == "failed"
    assert Attempt.objects.filter(outcome="lost").count() == 8


@sqlite
def test_worker_that_died_before_settling_is_mended_by_the_sweeper(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()
    call_command("gemini_webhooks", "drain")
    WebhookDelivery.objects.update(state="processing")

    assert len(recorder.calls) == 1
    assert processing.sweep().settled == 1
    assert WebhookDelivery.objects.get().state == "processed"


# 6 -------------------------------------------------------------------------------------------


@every_database
@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "\\u0000", "data": {"id": "\\ud800", "user_metadata": {"\\u0000": "\\udfff"}}}',
        b'{"type": "x", "data": {"user_metadata": {"n": 1e999, "i": 1' + b"0" * 300 + b"}}}",
        b'{"type": 5, "data": [], "timestamp": "0001-01-01T00:00:00+14:00"}',
        b'{"type": "x", "timestamp": 1e999}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type": "x", "data": {"user_metadata": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}}",
        b'{"type": "x", "data": {"user_metadata": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}}",
        b'{"type": NaN}',
        b'{"type": "a", "type": "b"}',
        b'"text"',
        b"",
        b"\xff\xfe{\x00}\x00",
    ],
    ids=range(12),
)
def test_poison_is_stored_processed_and_shown(
    database: str, static: StaticSender, body: bytes, django_user_model: Any
) -> None:
    signals.event_received.connect(recorder := Recorder())

    assert static.post(body).json() == {"status": "accepted"}
    call_command("gemini_webhooks", "drain")

    delivery = WebhookDelivery.objects.get()
    assert bytes(delivery.body) == body
    assert delivery.state == ("processed" if recorder.calls else "unreadable")
    browser = Client()
    browser.force_login(django_user_model.objects.create_superuser("root"))
    page = browser.get(f"/admin/gemini_webhooks/webhookdelivery/{delivery.pk}/change/")
    assert page.status_code == 200


# 7 -------------------------------------------------------------------------------------------


@every_database
@pytest.mark.parametrize("use_tz", [True, False])
def test_times_with_and_without_time_zones(
    database: str, static: StaticSender, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    signals.batch_succeeded.connect(recorder := Recorder(ValueError("once")))

    static.post()
    for _ in range(3):
        call_command("gemini_webhooks", "drain")

    assert len(recorder.calls) == 2
    assert recorder.event.occurred_at.isoformat() == "2026-01-22T12:00:00+00:00"
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == "processed"
    assert timezone.is_aware(delivery.received_at) is use_tz
    assert timezone.is_aware(delivery.occurred_at) is use_tz
    assert delivery.occurred_at.hour == (12 if use_tz else 13)  # TIME_ZONE is Europe/Berlin
    assert abs(delivery.received_at - timezone.now()) < timedelta(minutes=5)


# 9 -------------------------------------------------------------------------------------------


class FakeGoogle:
    """Stands for the remote side where a step is made to fail; the emulator has the rest."""

    def __init__(self) -> None:
        self.webhooks: dict[str, str] = {}
        self.in_transaction: list[bool] = []

    def create(self, *, uri: str, **_: Any) -> gateway.RemoteWebhook:
        self.in_transaction.append(connections["default"].in_atomic_block)
        self.webhooks["wh_1"] = uri
        return gateway.RemoteWebhook(
            id="wh_1",
            name="acme",
            uri=uri,
            subscribed_events=(),
            state="enabled",
            new_signing_secret=new_secret(),
        )

    def delete(self, *, webhook_id: str, **_: Any) -> None:
        del self.webhooks[webhook_id]


@pytest.fixture
def fake_google(monkeypatch: pytest.MonkeyPatch, configured: dict[str, Any]) -> FakeGoogle:
    fake = FakeGoogle()
    monkeypatch.setattr(gateway, "create_webhook", fake.create)
    monkeypatch.setattr(gateway, "delete_webhook", fake.delete)
    return fake


@sqlite
def test_registration(fake_google: FakeGoogle) -> None:
    endpoint = registration.create("acme")

    assert fake_google.webhooks == {"wh_1": endpoint.uri}
    assert endpoint.uri.startswith("https://site.example/webhooks/gemini/acme")
    assert fake_google.in_transaction == [False]
    secret = SigningSecret.objects.get(endpoint=endpoint)
    assert "whsec_" not in secret.ciphertext
    assert secret.hint.startswith("whsec_…")


@sqlite
def test_refused_by_google_leaves_nothing_here(
    fake_google: FakeGoogle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise GatewayError("quota of webhooks is used up", status=429)

    monkeypatch.setattr(gateway, "create_webhook", refuse)

    with pytest.raises(RegistrationError, match="quota of webhooks is used up"):
        registration.create("acme")
    assert not WebhookEndpoint.objects.exists()


@sqlite
def test_secret_that_cannot_be_stored_leaves_nothing_at_google(
    fake_google: FakeGoogle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(SigningSecret, "save", down)

    with pytest.raises(RegistrationError, match="removed again"):
        registration.create("acme")
    assert fake_google.webhooks == {}
    assert not WebhookEndpoint.objects.exists()


@sqlite
def test_what_is_left_at_google_is_said(
    fake_google: FakeGoogle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise OperationalError("down")

    def refuse(**_: Any) -> None:
        raise GatewayError("try later", status=503)

    monkeypatch.setattr(SigningSecret, "save", down)
    monkeypatch.setattr(gateway, "delete_webhook", refuse)

    with pytest.raises(RegistrationError, match="wh_1"):
        registration.create("acme")


@sqlite
def test_taken_slug_never_reaches_google(fake_google: FakeGoogle) -> None:
    WebhookEndpoint.objects.create(slug="acme", remote_id="wh_0")

    with pytest.raises(RegistrationError, match="choose another slug"):
        registration.create("acme")
    assert fake_google.webhooks == {}


# 10 ------------------------------------------------------------------------------------------


@every_database
def test_replay_of_a_processed_delivery_runs(database: str, static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post(webhook_id="m")
    call_command("gemini_webhooks", "drain")

    replay.replay(WebhookDelivery.objects.get(), actor="ada")
    assert WebhookDelivery.objects.get().state == "processing"
    call_command("gemini_webhooks", "drain")

    assert [call["event"].is_replay for call in recorder.calls] == [False, True]
    assert [call["event"].id for call in recorder.calls] == ["m", "m"]
    assert WebhookDelivery.objects.get().state == "processed"
    assert ReceiverRun.objects.get().attempts == 1
    log = Attempt.objects.order_by("number").values_list("trigger", "actor", "outcome")
    assert list(log) == [("delivery", "", "succeeded"), ("replay", "ada", "succeeded")]


@sqlite
def test_replay_of_an_exhausted_run_has_all_its_attempts(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(*[ValueError("no")] * 10))
    static.post()
    for _ in range(9):
        call_command("gemini_webhooks", "drain")
    assert ReceiverRun.objects.get().state == "dead"

    replay.replay(WebhookDelivery.objects.get(), actor="ada")
    for _ in range(4):
        call_command("gemini_webhooks", "drain")

    assert len(recorder.calls) == 11
    assert [call["event"].is_replay for call in recorder.calls] == [False] * 8 + [True] * 3
    assert ReceiverRun.objects.get().state == "succeeded"
    assert WebhookDelivery.objects.get().state == "processed"


@sqlite
def test_replay_of_an_ignored_delivery_finds_new_receivers(static: StaticSender) -> None:
    static.post()
    call_command("gemini_webhooks", "drain")
    assert WebhookDelivery.objects.get().state == "ignored"

    signals.batch_succeeded.connect(recorder := Recorder())
    call_command("gemini_webhooks", "replay", WebhookDelivery.objects.get().webhook_id)
    call_command("gemini_webhooks", "drain")

    assert len(recorder.calls) == 1


@sqlite
def test_replay_of_one_receiver(static: StaticSender) -> None:
    first, second = Recorder(), Recorder()
    signals.batch_succeeded.connect(first, dispatch_uid="first")
    signals.batch_succeeded.connect(second, dispatch_uid="second")
    static.post()
    call_command("gemini_webhooks", "drain")

    replay.replay(WebhookDelivery.objects.get(), receivers=["second"], actor="ada")
    call_command("gemini_webhooks", "drain")

    assert (len(first.calls), len(second.calls)) == (1, 2)
    with pytest.raises(replay.NothingToReplay):
        replay.replay(WebhookDelivery.objects.get(), receivers=["third"], actor="ada")


# 13 ------------------------------------------------------------------------------------------


@sqlite
def test_job_of_a_stranger_is_refused(dynamic: DynamicSender) -> None:
    dynamic.sealed_for = None  # a valid token of Google's, about a job that somebody else started

    answer = dynamic.post()

    assert (answer.status_code, answer.json()) == (401, {"error": "seal_missing"})
    assert not WebhookDelivery.objects.exists()


@sqlite
def test_seal_of_another_endpoint_is_refused(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    WebhookEndpoint.objects.create(slug="acme", audiences=configured["AUDIENCES"])
    WebhookEndpoint.objects.create(slug="bolt", audiences=configured["AUDIENCES"])
    dynamic.sealed_for = "acme"

    assert dynamic.post(path="/webhooks/gemini/bolt/").json() == {"error": "seal_wrong_endpoint"}
    assert dynamic.post(path="/webhooks/gemini/").json() == {"error": "seal_wrong_endpoint"}
    assert dynamic.post(path="/webhooks/gemini/acme/").json() == {"status": "accepted"}


@sqlite
def test_metadata_is_what_the_seal_says(dynamic: DynamicSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    payload = dynamic.envelope()
    payload["data"]["user_metadata"]["tenant"] = "somebody else"

    dynamic.post(payload)
    call_command("gemini_webhooks", "drain")

    assert recorder.event.user_metadata == {"tenant": "acme"}
    delivery = WebhookDelivery.objects.get()
    assert (delivery.user_metadata, delivery.sealed) == ({"tenant": "acme"}, True)


@sqlite
@pytest.mark.parametrize(
    ("binding", "kind"),
    [("event", "event"), ("body", "body"), ("webhook_id", "webhook_id"), ("unbound", "unbound")],
)
def test_kind_of_token_is_shown(dynamic: DynamicSender, binding: str, kind: str) -> None:
    dynamic.binding = binding
    dynamic.post()

    assert WebhookDelivery.objects.get().binding == kind


def repost(dynamic: DynamicSender, token: str, webhook_id: str, payload: Any) -> Any:
    return dynamic.post(payload, webhook_id=webhook_id, headers={"webhook-signature": token}).json()


@sqlite
def test_unbound_and_sealed_token_may_serve_several_deliveries(dynamic: DynamicSender) -> None:
    token = dynamic.token({})
    payload = dynamic.envelope()

    assert repost(dynamic, token, "m1", payload) == {"status": "accepted"}
    assert repost(dynamic, token, "m2", payload) == {"status": "accepted"}


@sqlite
def test_unbound_and_unsealed_token_serves_one_delivery_ever(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["REQUIRE_SEAL"] = False
    dynamic.sealed_for = None
    token = dynamic.token({})
    payload = dynamic.envelope()

    assert repost(dynamic, token, "m1", payload) == {"status": "accepted"}
    assert repost(dynamic, token, "m1", payload) == {"status": "duplicate"}
    assert repost(dynamic, token, "m2", payload) == {"error": "token_reused"}
    assert repost(dynamic, token, "m1", envelope(id="other")) == {"error": "token_reused"}
    # A retry with a new token uses that one up as well.
    second = dynamic.token({})
    assert repost(dynamic, second, "m1", payload) == {"status": "duplicate"}
    assert repost(dynamic, second, "m3", payload) == {"error": "token_reused"}


@sqlite
@pytest.mark.parametrize("binding", ["event", "body"])
def test_bound_token_does_not_serve_a_second_webhook_id(
    dynamic: DynamicSender, binding: str
) -> None:
    dynamic.binding = binding
    payload = dynamic.envelope()
    body = dynamic.encode(payload)
    token = dynamic.token(dynamic.binding_claims(body, "m1"))

    assert repost(dynamic, token, "m1", body) == {"status": "accepted"}
    assert repost(dynamic, token, "m2", body) == {"error": "token_reused"}


@sqlite
def test_bound_token_for_another_webhook_id_is_refused(dynamic: DynamicSender) -> None:
    token = dynamic.token({"webhook_id": "m1"})

    assert repost(dynamic, token, "m2", dynamic.envelope()) == {"error": "webhook_id_mismatch"}
    assert repost(dynamic, token, "m1", dynamic.envelope()) == {"status": "accepted"}


@sqlite
def test_token_without_lifetime_is_refused(dynamic: DynamicSender) -> None:
    token = dynamic.token({"iat": None, "exp": None})

    assert repost(dynamic, token, "m", dynamic.envelope()) == {"error": "token_without_lifetime"}


@sqlite
def test_dynamic_webhooks_are_refused_without_audience(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["AUDIENCES"] = []

    assert dynamic.post().status_code == 401
