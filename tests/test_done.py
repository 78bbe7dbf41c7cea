"""When a delivery was done, how long that took, and by which error a run died."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gemini_webhooks import GiveUp, clock, deliveries, processing, replay, retention
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from gemini_webhooks.receivers import on
from tests.admin import rows
from tests.conftest import every_database
from tests.senders import StaticSender

pytestmark = every_database
State = WebhookDelivery.State
AN_HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _on_each_database(database: str) -> None:
    """Each test runs on all of them."""


def received_an_hour_ago(static: StaticSender, **post: Any) -> WebhookDelivery:
    static.post(**post)
    found = deliveries.rows(WebhookDelivery)
    found.update(received_at=clock.after(-AN_HOUR.total_seconds()))
    return found.get()


def done(delivery: WebhookDelivery) -> WebhookDelivery:
    processing.drain()
    delivery.refresh_from_db()
    return delivery


def assert_took_an_hour(delivery: WebhookDelivery) -> None:
    assert AN_HOUR <= delivery.took < AN_HOUR + timedelta(minutes=5)
    since_receipt = delivery.settled_at - delivery.received_at
    assert AN_HOUR <= since_receipt < AN_HOUR + timedelta(minutes=5)


def test_delivery_that_is_processed(static: StaticSender) -> None:
    on("batch.succeeded")(lambda **_: None)
    delivery = received_an_hour_ago(static)
    assert (delivery.settled_at, delivery.took) == (None, None)

    assert done(delivery).state == State.PROCESSED
    assert_took_an_hour(delivery)


def test_delivery_that_nobody_receives(static: StaticSender) -> None:
    delivery = received_an_hour_ago(static)

    assert done(delivery).state == State.IGNORED
    assert_took_an_hour(delivery)


def test_delivery_that_is_unreadable_is_done_at_once(static: StaticSender) -> None:
    static.post(b"no JSON")

    delivery = deliveries.rows(WebhookDelivery).get()
    assert delivery.state == State.UNREADABLE
    assert (delivery.settled_at, delivery.took) == (delivery.received_at, timedelta(0))


def test_delivery_whose_body_went_before_it_was_processed(static: StaticSender) -> None:
    delivery = received_an_hour_ago(static)
    deliveries.rows(WebhookDelivery).update(body=None)

    assert done(delivery).state == State.UNREADABLE
    assert_took_an_hour(delivery)


def test_delivery_that_is_erased_before_it_was_processed(static: StaticSender) -> None:
    on("batch.succeeded")(lambda **_: None)
    delivery = received_an_hour_ago(static)

    retention.erase(retention.about_resource(delivery.resource_id), actor="ada")

    assert done(delivery).state == State.UNREADABLE
    assert_took_an_hour(delivery)


def test_replay_is_done_anew_but_the_first_time_counts(static: StaticSender) -> None:
    on("batch.succeeded")(lambda **_: None)
    delivery = done(received_an_hour_ago(static))
    took = delivery.took
    deliveries.rows(WebhookDelivery).update(settled_at=delivery.received_at)

    replay.replay(delivery, actor="ada")

    assert done(delivery).state == State.PROCESSED
    assert_took_an_hour(delivery)
    assert delivery.took == took


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Broken("secret"), f"{__name__}.Broken"),
        (KeyError("secret"), "KeyError"),
        (GiveUp("no such order"), "gemini_webhooks.exceptions.GiveUp"),
    ],
    ids=["own", "built in", "given up"],
)
def test_run_that_dies_keeps_the_class_of_its_error(
    static: StaticSender, settings: Any, error: Exception, told: str
) -> None:
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "MAX_ATTEMPTS": 1}

    @on("batch.succeeded")
    def failing(**_: Any) -> None:
        if failing.is_broken:
            raise error

    failing.is_broken = True
    delivery = received_an_hour_ago(static)

    assert done(delivery).state == State.FAILED
    assert_took_an_hour(delivery)
    run = deliveries.rows(ReceiverRun).get()
    assert (run.state, run.error_class) == (ReceiverRun.State.DEAD, told)

    failing.is_broken = False
    replay.replay(delivery, actor="ada")
    assert done(delivery).state == State.PROCESSED
    run.refresh_from_db()
    assert (run.error_class, run.last_error) == ("", "")


def test_run_that_no_worker_survives(static: StaticSender, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "MAX_ATTEMPTS": 1}
    on("batch.succeeded")(lambda **_: None)
    delivery = received_an_hour_ago(static)
    processing.plan(delivery.pk)
    run = deliveries.rows(ReceiverRun).get()
    deliveries.claim(run.pk)
    deliveries.rows(ReceiverRun).update(lease_until=clock.after(-1))

    assert done(delivery).state == State.FAILED
    run.refresh_from_db()
    assert (run.state, run.error_class) == (ReceiverRun.State.DEAD, "worker lost")


@pytest.mark.parametrize("state", ["pending", "complete"])
def test_run_whose_result_file_is_fetched_again_meanwhile_does_not_die(state: str) -> None:
    came = rows.delivery(state=State.PROCESSING)
    result = rows.result(came, state=state)
    run = rows.run(came, result=result, state=ReceiverRun.State.PENDING, next_attempt_at=None)

    assert deliveries.bury_waiting(result.pk, "gone") == []

    run.refresh_from_db()
    assert run.state == ReceiverRun.State.PENDING


def test_run_whose_result_file_never_comes(settings: Any) -> None:
    came = rows.delivery(state=State.PROCESSING)
    result = rows.result(came, state="failed")
    run = rows.run(came, result=result, state=ReceiverRun.State.PENDING, next_attempt_at=None)

    deliveries.bury_waiting(result.pk, "gone")

    run.refresh_from_db()
    came.refresh_from_db()
    assert run.error_class == "gemini_webhooks.exceptions.ResultError"
    assert came.state == State.FAILED
    assert came.settled_at is not None
