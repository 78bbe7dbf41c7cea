"""What is asked for comes, whatever the order in which Google says so."""

from __future__ import annotations

import pytest

from example_project.studio import google as gemini
from example_project.studio.models import BatchRow, Commission
from example_project.tests.steps import replay, state
from gemini_webhooks.models import WebhookDelivery

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


def test_a_batch(place, work, page, read):
    batch = place("batch", "one\n\n  two fail-row\nthree")
    work()

    assert state(batch) == State.SUCCEEDED
    rows = BatchRow.objects.order_by("key").values_list("key", "text", "tenant")
    assert list(rows) == [
        ("001", "Echo: one", "acme"),
        ("002", "", "acme"),
        ("003", "Echo: three", "acme"),
    ]
    for text in ("Echo: one", "Echo: three", "fail-row", "ada asked for a batch of 3 requests."):
        assert text in page(batch)
    assert "Batch of 3, 1 failed," in read("/studio/acme/")


def test_an_interaction(place, work, page):
    asked = place("interaction", "A post about lighthouses")
    work()

    assert state(asked) == State.SUCCEEDED
    assert "Echo: A post about lighthouses" in page(asked)


def test_an_event_that_is_faster_than_the_answer(place, work, monkeypatch):
    start = gemini.start

    def slow(commission: Commission) -> str:
        resource_id = start(commission)
        work()
        return resource_id

    monkeypatch.setattr(gemini, "start", slow)
    batch = place("batch", "one")

    assert state(batch) == State.SUCCEEDED
    assert batch.resource_id


def test_an_event_that_comes_although_google_did_not_answer(place, work, monkeypatch):
    start = gemini.start

    def timed_out(commission: Commission) -> str:
        start(commission)
        work()
        raise gemini.NotStarted("no answer")

    monkeypatch.setattr(gemini, "start", timed_out)
    batch = place("batch", "one")

    assert state(batch) == State.SUCCEEDED


def test_a_replay_that_fails_spoils_nothing(place, work, monkeypatch):
    asked = place("interaction", "one")
    work()
    monkeypatch.setattr(gemini, "read_interaction", lambda _: 1 / 0)
    replay(WebhookDelivery.objects.get())
    work()

    assert state(asked) == State.SUCCEEDED


def test_a_replay_changes_nothing_that_a_person_sees(place, work, page):
    batch = place("batch", "one")
    work()
    before = Commission.objects.values().get()
    replay(WebhookDelivery.objects.get())
    work()

    assert Commission.objects.values().get() == before
    assert page(batch).count("Its result is here.") == 1
