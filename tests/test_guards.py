"""Conditions that only show when two things happen at once, or in the wrong order.

Each of these guards could be taken out without any other test noticing.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connections, transaction
from django.http import UnreadablePostError
from django.test import RequestFactory
from django.utils import timezone

from gemini_webhooks import (
    GiveUp,
    RetryLater,
    backoff,
    ciphers,
    clock,
    conf,
    deliveries,
    dispatch,
    events,
    processing,
    receivers,
    replay,
    results,
    signals,
    tasks,
    views,
)
from gemini_webhooks.deliveries import recording
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    ResultFile,
    SigningSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.processing import draining
from tests.celery_app import app
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender
from tests.test_receivers import Recorder

sqlite = pytest.mark.django_db(transaction=True)
ACME = "/webhooks/gemini/acme/"
FILE = "gs://not-allowed/rows.jsonl"


def the_delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def the_run() -> ReceiverRun:
    return ReceiverRun.objects.get()


def planned(sender: StaticSender, **data: Any) -> WebhookDelivery:
    """A delivery that has just been taken into processing."""
    sender.post(sender.envelope(**data))
    processing.plan(the_delivery().pk)
    return the_delivery()


def messages_sent(queue: str = "celery") -> int:
    """How many messages are with the broker; takes them away."""
    dispatch.flush()
    with app.connection_for_read() as connection:
        return int(connection.default_channel.queue_purge(queue) or 0)


def ago(**period: float) -> Any:
    return timezone.now() - timedelta(**period)


@pytest.fixture
def broken_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("celery.app.task.Task.apply_async", refused)


@pytest.fixture
def longest_delay(configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait ten minutes, twenty, and so on: the jitter is none."""
    configured["RETRY_BASE_SECONDS"] = 600
    monkeypatch.setattr("random.uniform", lambda _low, high: high)


@pytest.fixture
def acme(static: StaticSender, configured: dict[str, Any]) -> SigningSecret:
    """A secret of the endpoint “acme”, the one that ``static`` signs with."""
    configured["SIGNING_SECRETS"] = []
    endpoint = WebhookEndpoint.objects.create(slug="acme")
    return endpoint.signing_secrets.create(ciphertext=ciphers.encrypt(static.secret), hint="w")


# What is accepted --------------------------------------------------------------------------


@sqlite
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"expires_at": timedelta(hours=1)}, 200),
        ({"expires_at": timedelta(seconds=-1)}, 401),
        ({"revoked_at": timedelta(0)}, 401),
    ],
)
def test_secret_holds_until_it_expires_or_is_revoked(
    static: StaticSender, acme: SigningSecret, change: dict[str, timedelta], status: int
) -> None:
    times = {name: timezone.now() + period for name, period in change.items()}
    SigningSecret.objects.update(**times)

    assert static.post(path=ACME).status_code == status


@sqlite
def test_endpoint_that_google_disabled_still_takes_what_comes(
    static: StaticSender, acme: SigningSecret
) -> None:
    WebhookEndpoint.objects.update(state=WebhookEndpoint.State.DISABLED_BY_GOOGLE)

    assert static.post(path=ACME).json() == {"status": "accepted"}


@every_database
def test_slug_in_other_letters_is_another_endpoint(
    database: str, static: StaticSender, acme: SigningSecret
) -> None:
    assert static.post(path="/webhooks/gemini/ACME/").status_code == 404
    assert static.post(path=ACME).status_code == 200


@sqlite
def test_delivery_knows_its_endpoint_and_secret(static: StaticSender, acme: SigningSecret) -> None:
    static.post(path=ACME)
    processing.drain()

    delivery = the_delivery()
    assert (delivery.endpoint, delivery.secret) == (acme.endpoint, acme)
    acme.refresh_from_db()
    assert acme.last_used_at == acme.endpoint.last_delivery_at == delivery.received_at


@sqlite
def test_use_of_a_secret_is_not_written_for_every_delivery(
    static: StaticSender, acme: SigningSecret
) -> None:
    for number in range(2):
        static.post(path=ACME, webhook_id=f"m{number}")
        processing.drain()

    acme.refresh_from_db()
    first = WebhookDelivery.objects.get(webhook_id="m0").received_at
    assert acme.last_used_at == acme.endpoint.last_delivery_at == first


@sqlite
def test_forgery_is_undecided_while_a_secret_of_the_settings_cannot_be_read(
    configured: dict[str, Any],
) -> None:
    configured["SIGNING_SECRETS"] = ["whsec_not base64"]

    answer = StaticSender().post()

    assert (answer.status_code, answer.json()) == (503, {"error": "secret_unreadable"})


@sqlite
def test_sender_is_given_time_while_the_site_is_misconfigured(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["JWKS_URL"] = "file:///etc/passwd"

    assert dynamic.post()["Retry-After"] == "60"


@sqlite
def test_one_text_is_no_list_of_audiences(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["AUDIENCES"] = "https://site.example/"
    dynamic.audience = "h"

    assert dynamic.post().status_code == 401


@sqlite
def test_seal_of_somebody_else_does_not_hinder_a_signature(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    metadata = {"tenant": "acme", "gemini_webhooks_seal": "somebody else's"}

    assert static.post(static.envelope(user_metadata=metadata)).status_code == 200
    processing.drain()

    assert the_delivery().user_metadata == {"tenant": "acme"}
    assert recorder.event.user_metadata == {"tenant": "acme"}


@sqlite
def test_unreadable_body_needs_a_seal_like_any_other(dynamic: DynamicSender) -> None:
    dynamic.binding = "body"

    assert dynamic.post(b"{").json() == {"error": "seal_missing"}
    assert not WebhookDelivery.objects.exists()


# What is stored ----------------------------------------------------------------------------


@every_database
def test_duplicate_inside_of_a_transaction_does_not_spoil_it(
    database: str, static: StaticSender
) -> None:
    with transaction.atomic(using=database):  # as in a site's TestCase
        answers = [static.post(webhook_id="m").json()["status"] for _ in range(2)]

    assert answers == ["accepted", "duplicate"]
    assert the_delivery().duplicate_count == 1


@every_database
def test_token_is_not_used_up_by_a_delivery_that_was_not_stored(
    database: str, dynamic: DynamicSender
) -> None:
    body = dynamic.encode(dynamic.envelope())
    headers = dynamic.headers(body, "m", int(time.time()))

    def down(execute: Any, sql: str, *more: Any) -> Any:
        if "gemini_webhooks_webhookdelivery" in sql:
            raise OperationalError
        return execute(sql, *more)

    with connections[database].execute_wrapper(down):
        assert dynamic.post(body, webhook_id="m", headers={**headers}).status_code == 503

    assert dynamic.post(body, webhook_id="m", headers={**headers}).status_code == 200


@sqlite
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_number_that_json_does_not_have_makes_a_body_unreadable(
    static: StaticSender, number: str
) -> None:
    static.post(f'{{"type": "batch.succeeded", "data": {{"n": {number}}}}}'.encode())

    assert the_delivery().state == "unreadable"


@sqlite
def test_conflict_that_is_no_duplicate_is_not_called_one(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(*_: Any, **__: Any) -> None:
        raise IntegrityError

    monkeypatch.setattr(recording, "insert", conflict)

    assert static.post().json() == {"error": "database_unavailable"}


@sqlite
def test_token_of_a_retry_is_used_up_too(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["REQUIRE_SEAL"] = False
    dynamic.binding, dynamic.sealed_for = "unbound", None
    second = {"webhook-signature": dynamic.token({})}

    assert dynamic.post(webhook_id="m").json() == {"status": "accepted"}
    assert dynamic.post(webhook_id="m", headers={**second}).json() == {"status": "duplicate"}
    assert dynamic.post(webhook_id="n", headers={**second}).json() == {"error": "token_reused"}


# Hand-off ----------------------------------------------------------------------------------


@every_database
def test_hand_off_waits_for_the_commit(database: str, static: StaticSender) -> None:
    with transaction.atomic(using=database):
        static.post()
        assert messages_sent() == 0
    assert messages_sent() == 1

    with transaction.atomic(using=database):
        static.post(webhook_id="rolled back")
        transaction.set_rollback(True, using=database)
    assert messages_sent() == 0


@every_database
def test_replay_waits_for_the_commit(database: str, static: StaticSender) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False)
    static.post()
    processing.drain()
    messages_sent()

    with transaction.atomic(using=database):
        replay.replay(the_delivery(), actor="ada")
        assert messages_sent() == 0
    assert messages_sent() == 1


@sqlite
def test_only_what_is_new_and_readable_is_handed_off(static: StaticSender) -> None:
    static.post(b"{")
    assert messages_sent() == 0
    static.post(webhook_id="m")
    static.post(webhook_id="m")
    assert messages_sent() == 1


@sqlite
def test_error_of_an_eager_task_is_not_the_senders(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(draining, "plan", broken)
    monkeypatch.setitem(app.conf.changes, "task_always_eager", True)
    monkeypatch.setitem(app.conf.changes, "task_eager_propagates", True)

    assert static.post().json() == {"status": "accepted"}
    with transaction.atomic():
        assert static.post().json() == {"status": "accepted"}


@sqlite
@pytest.mark.usefixtures("broken_broker")
def test_broker_is_tried_again_after_the_cool_down(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    static.post()
    assert not dispatch.broker_is_up()

    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert dispatch.broker_is_up()


@sqlite
def test_what_goes_wrong_after_a_hand_off_stops_no_other(
    static: StaticSender, broken_broker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(_: Any) -> None:
        raise RuntimeError("secret text")

    with monkeypatch.context() as trouble:
        trouble.setattr(deliveries, "sweep_soon", unusable)
        static.post()
    monkeypatch.undo()  # the broker is back
    dispatch._publisher._cool_until = 0.0
    static.post()

    assert messages_sent() == 1


@sqlite
def test_what_waits_behind_a_silent_broker_is_left_to_the_sweep_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, asked, left = threading.Event(), threading.Event(), list[list[int]]()

    def silent(*_: Any, **__: Any) -> None:
        asked.set()
        answers.wait(30)

    monkeypatch.setattr("gemini_webhooks.dispatch.messages.publish", silent)
    monkeypatch.setattr(deliveries, "sweep_soon", lambda ids: left.append(sorted(ids)))
    try:
        dispatch.hand_off(1)
        assert asked.wait(30)
        for number in range(2, 51):
            dispatch.hand_off(number)
        dispatch._publisher._asked_at -= 60
        dispatch.hand_off(51)
    finally:
        answers.set()

    # In one statement, as it is a request that finds out.
    assert left == [list(range(1, 51)), [51]]


def test_process_that_was_forked_hands_off_too() -> None:
    program = """
import os
import django
django.setup()
from gemini_webhooks import dispatch
from tests.celery_app import app
dispatch.hand_off(1)
assert dispatch.broker_is_up()
child = os.fork()
if not child:
    dispatch.hand_off(2)
    os._exit(0 if dispatch.broker_is_up() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert said_by(program, DJANGO_SETTINGS_MODULE="tests.settings") == "0"


def test_thread_of_a_site_without_settings_module_reaches_its_broker() -> None:
    """Celery makes an app the default of all threads only if that variable is set."""
    program = """
import threading
import django
from celery import Celery
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "gemini_webhooks"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
site = Celery("site", broker="memory://")
django.setup()
from gemini_webhooks import dispatch
thread = threading.Thread(target=dispatch.hand_off, args=(1,))
thread.start()
thread.join()
dispatch.flush()
with site.connection_for_read() as connection:
    print(connection.default_channel.queue_purge("celery"))
"""
    assert said_by(program) == "1"


def said_by(program: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return ended.stdout.strip()


# Claims and attempts -----------------------------------------------------------------------


@sqlite
def test_of_two_workers_that_saw_the_same_run_one_gets_it(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False)
    planned(static)
    ReceiverRun.objects.update(state="running", claim="dead", lease_until=ago(minutes=1))
    rival: list[deliveries.Claim | None] = []
    token = "gemini_webhooks.deliveries.claims.uuid.uuid4"

    class Interrupted:
        """Between the read and the write of one worker comes the other one."""

        @property
        def hex(self) -> str:
            monkeypatch.undo()
            rival.append(deliveries.claim(the_run().pk))
            # Its receiver asks for another turn at once: the run is due again.
            assert rival[0] is not None
            deliveries.postpone(rival[0], 0)
            return "late"

    monkeypatch.setattr(token, Interrupted)

    assert deliveries.claim(the_run().pk) is None
    assert Attempt.objects.filter(outcome="lost").count() == 1


@sqlite
@pytest.mark.usefixtures("longest_delay")
def test_message_that_comes_too_early_does_not_run_a_receiver(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(RetryLater(3600), ValueError()))
    planned(static)

    [later] = processing.run(the_run().pk)
    assert processing.run(the_run().pk) == []
    assert (later.delay, len(recorder.calls)) == (3600, 1)
    assert the_run().next_attempt_at > ago(seconds=-3500)

    ReceiverRun.objects.update(next_attempt_at=timezone.now())
    [retry] = processing.run(the_run().pk)
    assert processing.run(the_run().pk) == []
    assert (retry.delay, len(recorder.calls)) == (600, 2)
    assert the_run().next_attempt_at > ago(seconds=-500)


@sqlite
def test_run_and_its_retry_go_to_the_queue_of_the_receiver(static: StaticSender) -> None:
    @receivers.on("batch.succeeded", queue="nightly")
    def receiver(**_: Any) -> None:
        raise RetryLater(60)

    static.post()
    messages_sent()

    tasks.dispatch(the_delivery().pk)
    assert messages_sent("nightly") == 1
    tasks.run_receiver(the_run().pk)
    assert messages_sent("nightly") == 1
    assert messages_sent() == 0


@sqlite
def test_audit_says_how_each_attempt_came_about(static: StaticSender) -> None:
    begun: list[Any] = []

    def receiver(**_: Any) -> None:
        begun.append(timezone.now())
        if len(begun) == 1:
            raise ValueError("once")

    signals.batch_succeeded.connect(receiver)
    planned(static)
    assert deliveries.claim(the_run().pk)
    ReceiverRun.objects.update(lease_until=ago(seconds=1))
    processing.drain()
    processing.drain()

    told = Attempt.objects.order_by("number")
    assert [(one.trigger, one.outcome) for one in told] == [
        ("delivery", "lost"),
        ("retry", "failed"),
        ("retry", "succeeded"),
    ]
    assert told[1].started <= begun[0] <= told[1].finished


@sqlite
def test_run_that_ended_keeps_nothing_of_its_way_there(static: StaticSender) -> None:
    signals.batch_succeeded.connect(Recorder(ValueError("once")), weak=False)
    planned(static)
    processing.drain()
    processing.drain()

    run = the_run()
    assert (run.state, run.last_error, run.lease_until) == ("succeeded", "", None)
    assert run.next_attempt_at is None
    assert run.finished_at is not None


@sqlite
@pytest.mark.parametrize("error", [GiveUp("no"), None], ids=["gave up", "lost"])
def test_dead_run_says_when_it_ended_and_a_replay_forgets_it(
    static: StaticSender, configured: dict[str, Any], error: GiveUp | None
) -> None:
    configured["MAX_ATTEMPTS"] = 1
    signals.batch_succeeded.connect(Recorder(error), weak=False)
    planned(static)
    if error is None:
        assert deliveries.claim(the_run().pk)
        ReceiverRun.objects.update(lease_until=ago(seconds=1))
    processing.run(the_run().pk)
    assert the_run().state == "dead"
    assert the_run().finished_at is not None

    replay.replay(the_delivery(), actor="ada")
    assert (the_run().state, the_run().finished_at) == ("pending", None)


@sqlite
def test_run_that_is_being_executed_is_not_swept(static: StaticSender) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False)
    planned(static)
    assert deliveries.claim(the_run().pk)

    assert processing.sweep(everything=True).handoffs == ()


@sqlite
def test_lease_of_a_finished_run_is_not_renewed(static: StaticSender) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False)
    planned(static)
    held = deliveries.claim(the_run().pk)
    assert held is not None
    deliveries.succeed(held)

    assert deliveries.renew(held) is False
    with pytest.raises(deliveries.LeaseLost):
        deliveries.retry(held, ValueError(), 0)


@sqlite
def test_last_attempt_is_the_last(static: StaticSender, configured: dict[str, Any]) -> None:
    configured["MAX_ATTEMPTS"] = 2
    signals.batch_succeeded.connect(recorder := Recorder(*[ValueError("always")] * 3))
    planned(static)

    assert [len(processing.run(the_run().pk)) for _ in range(3)] == [1, 0, 0]

    assert (len(recorder.calls), the_run().attempts) == (2, 2)
    assert (the_run().state, the_run().last_error) == ("dead", "ValueError: always")


@sqlite
def test_death_of_every_worker_is_announced(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["MAX_ATTEMPTS"] = 1
    dead: list[str] = []
    signals.batch_succeeded.connect(Recorder(), weak=False)
    signals.delivery_failed.connect(
        lambda run, **_: dead.append(run.state), weak=False, dispatch_uid="t"
    )
    planned(static)
    assert deliveries.claim(the_run().pk)
    ReceiverRun.objects.update(lease_until=ago(seconds=1))
    processing.run(the_run().pk)
    signals.delivery_failed.disconnect(dispatch_uid="t")

    assert dead == ["dead"]


@sqlite
def test_delivery_is_failed_as_soon_as_one_receiver_is_dead(static: StaticSender) -> None:
    for name, error in (("dead", GiveUp("no")), ("waits", RetryLater(60))):
        signals.batch_succeeded.connect(Recorder(error), weak=False, dispatch_uid=name)
    planned(static)
    for run in ReceiverRun.objects.all():
        processing.run(run.pk)

    assert {run.state for run in ReceiverRun.objects.all()} == {"dead", "retrying"}
    assert the_delivery().state == "failed"


@sqlite
def test_run_whose_body_was_pruned_is_not_tried_again(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    planned(static)
    WebhookDelivery.objects.update(body=None)

    assert processing.run(the_run().pk) == []
    assert (the_run().state, recorder.calls) == ("dead", [])


@sqlite
def test_whoever_hears_of_a_failure_is_told_of_the_replay_and_does_no_harm(
    static: StaticSender,
) -> None:
    signals.batch_succeeded.connect(Recorder(GiveUp("no"), GiveUp("no")), weak=False)
    heard: list[bool] = []

    def listener(event: Any, **_: Any) -> None:
        heard.append(event.is_replay)
        raise RuntimeError("pager is down")

    signals.delivery_failed.connect(listener, dispatch_uid="t")
    try:
        planned(static)
        processing.run(the_run().pk)
        replay.replay(the_delivery(), actor="ada")
        processing.run(the_run().pk)
    finally:
        signals.delivery_failed.disconnect(dispatch_uid="t")

    assert heard == [False, True]


# Planning and replay -----------------------------------------------------------------------


@sqlite
def test_delivery_that_was_planned_is_not_planned_again(static: StaticSender) -> None:
    static.post()
    seen_by_both = the_delivery()
    event = events.parse(deliveries.stored(seen_by_both))

    assert deliveries.start(seen_by_both, event, deliveries.Plan()) is not None
    assert deliveries.start(seen_by_both, event, deliveries.Plan()) is None
    deliveries.unreadable(seen_by_both)
    assert the_delivery().state == "ignored"


@sqlite
def test_replay_takes_up_a_run_whose_worker_is_gone(static: StaticSender) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False)
    planned(static)
    assert deliveries.claim(the_run().pk)
    ReceiverRun.objects.update(lease_until=ago(seconds=1))

    assert replay.replay(the_delivery(), actor="ada") == [the_run().pk]


@sqlite
def test_replay_of_one_receiver_hands_on_that_one_alone(static: StaticSender) -> None:
    one, other = Recorder(), Recorder()
    signals.batch_succeeded.connect(one, dispatch_uid="one")
    signals.batch_succeeded.connect(other, dispatch_uid="other")
    static.post()
    processing.drain()
    signals.batch_succeeded.connect(Recorder(), weak=False, dispatch_uid="new")
    messages_sent()

    ids = replay.replay(the_delivery(), receivers=["one"], actor="ada")

    assert ids == [ReceiverRun.objects.get(receiver="one").pk]
    assert messages_sent() == 1
    assert not ReceiverRun.objects.filter(receiver="new").exists()


@sqlite
def test_delivery_stays_failed_while_another_receiver_is_dead(static: StaticSender) -> None:
    for name, error in (("dead", GiveUp("no")), ("fine", None)):
        signals.batch_succeeded.connect(Recorder(error), weak=False, dispatch_uid=name)
    planned(static)
    assert the_delivery().sweep_at is None
    processing.drain()

    replay.replay(the_delivery(), receivers=["fine"], actor="ada")
    assert the_delivery().state == "processing"
    processing.drain()
    assert the_delivery().state == "failed"


# Result files ------------------------------------------------------------------------------


@pytest.fixture
def waiting_for_file(static: StaticSender, configured: dict[str, Any]) -> Recorder:
    """A receiver whose run waits for the file of the delivery that has just come."""
    configured["FETCH_RESULTS"] = True
    signals.result_ready.connect(recorder := Recorder())
    planned(static, output_file_uri=FILE)
    return recorder


@sqlite
def test_run_starts_once_its_file_is_there_and_only_then(waiting_for_file: Recorder) -> None:
    assert processing.run(the_run().pk) == []
    assert processing.sweep(everything=True).settled == 0
    assert waiting_for_file.calls == []

    # The worker that fetched it died before it could hand the run on.
    ResultFile.objects.update(state="complete", next_attempt_at=None)
    [handoff] = processing.sweep().handoffs
    assert (handoff.kind, handoff.id) == ("run", the_run().pk)
    assert processing.sweep().handoffs == ()
    processing.run(the_run().pk)

    assert len(waiting_for_file.calls) == 1
    result = ResultFile.objects.get()
    assert deliveries.release(result.pk) == []
    assert deliveries.bury_waiting(result.pk, "late") == []
    assert (the_run().state, the_delivery().state) == ("succeeded", "processed")


@sqlite
def test_run_whose_file_never_comes_is_dead_and_said_so(waiting_for_file: Recorder) -> None:
    failures: list[str] = []
    signals.delivery_failed.connect(
        lambda run, **_: failures.append(run.state), weak=False, dispatch_uid="t"
    )
    other = ReceiverRun.objects.create(
        delivery=the_delivery(), receiver="other", next_attempt_at=timezone.now()
    )
    ResultFile.objects.update(state="failed", error="not on the list", next_attempt_at=None)
    processing.sweep()
    signals.delivery_failed.disconnect(dispatch_uid="t")

    assert the_delivery().state == "failed"  # although the other one goes on
    other.delete()
    assert the_run().state == "dead"
    assert the_run().finished_at is not None
    assert failures == ["dead"]


@sqlite
def test_replay_with_a_file_that_is_there_starts_at_once(waiting_for_file: Recorder) -> None:
    ResultFile.objects.update(state="complete", next_attempt_at=None)
    processing.drain()

    replay.replay(the_delivery(), actor="ada")
    assert the_run().next_attempt_at is not None


@sqlite
def test_replay_leaves_a_fetch_alone_that_is_under_way(waiting_for_file: Recorder) -> None:
    ResultFile.objects.update(state="fetching", next_attempt_at=None, attempts=1)

    replay.replay(the_delivery(), actor="ada")

    result = ResultFile.objects.get()
    assert (result.state, result.attempts) == ("fetching", 1)
    assert the_run().next_attempt_at is None


@sqlite
@pytest.mark.parametrize(
    ("row", "swept"),
    [
        ({"state": "fetching", "next_attempt_at": None, "lease_until": -1}, True),
        ({"state": "fetching", "next_attempt_at": None, "lease_until": 60}, False),
        ({"state": "pending", "next_attempt_at": -300}, True),
        ({"state": "retrying", "next_attempt_at": -1}, False),
    ],
    ids=["abandoned", "under way", "lost", "handed off just now"],
)
@pytest.mark.usefixtures("waiting_for_file")
def test_sweeper_hands_on_fetches_that_nobody_does(row: dict[str, Any], swept: bool) -> None:
    seconds = {name: value for name, value in row.items() if isinstance(value, int)}
    times = {name: ago(seconds=-value) for name, value in seconds.items()}
    ResultFile.objects.update(**{**row, **times})

    found = [handoff.kind for handoff in processing.sweep().handoffs]

    assert found == (["result"] if swept else [])


@sqlite
@pytest.mark.parametrize(("age", "swept"), [(300, True), (1, False)])
def test_sweeper_leaves_runs_alone_whose_message_is_under_way(
    static: StaticSender, age: int, swept: bool
) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False)
    planned(static)
    ReceiverRun.objects.update(next_attempt_at=ago(seconds=age))

    assert bool(processing.sweep().handoffs) is swept
    assert len(processing.sweep(everything=True).handoffs) == 1


@sqlite
def test_fetch_that_failed_is_tried_again_no_sooner_than_it_says(
    waiting_for_file: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = results.FetchOutcome(state="retrying", retry_in=60)
    monkeypatch.setattr(results, "fetch", lambda _: outcome)

    [handoff] = processing.fetch_result(ResultFile.objects.get().pk)

    assert (handoff.kind, handoff.delay) == ("result", 60)


@sqlite
def test_one_receiver_may_hear_of_the_event_and_of_its_file(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["FETCH_RESULTS"] = True
    signals.batch_succeeded.connect(recorder := Recorder())
    signals.result_ready.connect(recorder)
    planned(static, output_file_uri=FILE)

    assert ReceiverRun.objects.count() == 2


# Requests, signals, values -----------------------------------------------------------------


@sqlite
def test_sender_that_goes_away_is_told_nothing_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    request = RequestFactory().post("/", data=b"{}", content_type="application/json")

    def gone(*_: Any) -> bytes:
        raise UnreadablePostError

    monkeypatch.setattr(request, "read", gone)

    assert views.receive(request).status_code == 400


@sqlite
def test_no_more_is_read_than_the_limit_allows(configured: dict[str, Any]) -> None:
    configured["MAX_BODY_BYTES"] = 10
    sizes: list[int] = []

    class Endless:
        def read(self, size: int) -> bytes:
            sizes.append(size)
            return b"x" * min(size, 4)

    request = RequestFactory().post("/", data=b"", content_type="application/json")
    request.META |= {"CONTENT_LENGTH": "", "wsgi.input": Endless(), "wsgi.input_terminated": True}

    assert views.receive(request).status_code == 413
    assert sizes == [11, 7, 3]


@sqlite
def test_answer_is_not_kept_by_any_cache(static: StaticSender) -> None:
    assert "no-store" in static.post()["Cache-Control"]


@sqlite
def test_listener_that_fails_does_not_turn_a_refusal_into_an_error(static: StaticSender) -> None:
    def listener(**_: Any) -> None:
        raise RuntimeError("pager is down")

    signals.request_rejected.connect(listener, dispatch_uid="t")
    try:
        assert static.post(headers={"webhook-signature": "v1,AAAA"}).status_code == 401
    finally:
        signals.request_rejected.disconnect(dispatch_uid="t")


@sqlite
def test_receiver_of_another_sender_has_no_run(static: StaticSender) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False, sender=ReceiverRun)
    signals.batch_succeeded.connect(Recorder(), weak=False, sender=WebhookDelivery)
    signals.batch_succeeded.connect(Recorder())  # nobody holds it: gone
    planned(static)

    assert ReceiverRun.objects.count() == 1


@sqlite
def test_metadata_that_is_not_there_is_not_none(static: StaticSender) -> None:
    receivers.on("batch.succeeded", metadata={"tenant": None})(lambda **_: None)
    planned(static)

    assert not ReceiverRun.objects.exists()


def test_naive_times_are_local_ones() -> None:
    moment = datetime(2026, 7, 1, 12)  # noqa: DTZ001  # naive on purpose: Berlin, in summer

    assert clock.aware(moment).isoformat() == "2026-07-01T10:00:00+00:00"


@sqlite
def test_bare_file_id_is_one_of_the_files_api(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["FETCH_RESULTS"] = True
    planned(static, file_id="abc")

    assert ResultFile.objects.get().source_uri == "files/abc"


@sqlite
@pytest.mark.parametrize(("sent", "stored"), [(17, "17"), (True, "")])
def test_numbers_are_ids_but_truth_values_are_not(
    static: StaticSender, sent: object, stored: str
) -> None:
    static.post(static.envelope(id=sent))

    assert the_delivery().resource_id == stored


@pytest.mark.usefixtures("configured")
def test_delay_after_very_many_attempts_is_still_a_number() -> None:
    assert 0 <= backoff.retry_delay(5000) <= 3600


def test_retention_that_is_given_in_part_keeps_the_other_defaults(settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"RETENTION_DAYS": {"payloads": 1}}

    defaults = conf.Settings.RETENTION_DAYS
    assert defaults.keys() == {"payloads", "results", "deliveries", "rejections"}
    assert {**defaults, "payloads": 1} == conf.settings.RETENTION_DAYS
