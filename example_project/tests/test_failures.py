"""What goes wrong: tried again by policy, told to on-call, or left to people."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from example_project.studio import google as gemini
from example_project.studio.models import Commission
from example_project.tests.steps import replay_all, state
from gemini_webhooks.emulator.scenarios import parse
from gemini_webhooks.models import ReceiverRun

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


def test_a_batch_that_fails_is_tried_again_and_on_call_knows(place, work, page, mailoutbox):
    batch = place("batch", "fail-job")
    work()

    assert state(batch) == State.FAILED
    assert batch.tries == 3
    assert sorted(mail.subject for mail in mailoutbox) == [
        f"[studio] Acme: a batch failed, try {number} of 3" for number in (1, 2, 3)
    ]
    last = next(mail for mail in mailoutbox if "try 3" in mail.subject)
    assert "It is given up." in last.body
    assert batch.get_absolute_url() in last.body
    assert "Submit it again" in page(batch)


def test_on_call_is_told_of_a_failure_once_and_who_wanted_it(place, work, desk, mailoutbox):
    batch = place("batch", "fail-job")
    work()
    replay_all()
    work()
    assert len(mailoutbox) == 3
    assert (state(batch), batch.tries) == (State.FAILED, 3)

    desk.post(f"/studio/acme/{batch.pk}/again/")
    work()
    assert [mail.subject for mail in mailoutbox[3:]] == [
        "[studio] Acme: a batch failed, try 4, by hand"
    ]


def test_on_call_is_told_of_each_job_that_failed(place, work, mailoutbox, monkeypatch):
    start, calls = gemini.start, []

    def times_out_once(commission: Commission) -> str:
        calls.append(resource_id := start(commission))
        if len(calls) == 2:
            raise gemini.NotStarted("no answer")
        return resource_id

    monkeypatch.setattr(gemini, "start", times_out_once)
    monkeypatch.setattr("example_project.studio.receivers.LEAST_PAUSE_SECONDS", 0)
    place("batch", "fail-job")
    work()

    assert len(calls) == 4
    assert all(any(job in mail.body for mail in mailoutbox) for job in calls)


@pytest.mark.parametrize(
    "google",
    [{"scenario": parse({"jobs": [{"times": 1, "outcome": "fail", "error": {"code": 8}}]})}],
    indirect=True,
)
def test_a_batch_that_fails_once_is_mended_by_the_policy(place, work, mailoutbox):
    batch = place("batch", "one")
    work()

    assert state(batch) == State.SUCCEEDED
    assert (batch.tries, batch.error) == (2, "")
    assert [mail.subject[-10:] for mail in mailoutbox] == ["try 1 of 3"]


@pytest.mark.parametrize(
    "google",
    [{"scenario": parse({"jobs": [{"outcome": "fail", "error": {"code": 3, "message": "No."}}]})}],
    indirect=True,
)
def test_what_would_fail_again_is_not_tried_again(place, work, page, mailoutbox):
    batch = place("batch", "one")
    work()

    assert state(batch) == State.FAILED
    assert batch.tries == 1
    assert len(mailoutbox) == 1
    assert "No." in page(batch)


def test_the_policy_waits_without_occupying_a_worker(place, work, settings):
    settings.STUDIO_RETRY_SECONDS = 3600
    batch = place("batch", "fail-job")
    work()

    assert state(batch) == State.RETRYING
    run = ReceiverRun.objects.get(receiver__endswith="try_again")
    assert run.state == "retrying"
    assert 3500 < (run.next_attempt_at - run.delivery.received_at).total_seconds() < 3700


def test_a_retry_that_google_does_not_take_is_put_off(place, work, monkeypatch):
    batch = place("batch", "fail-job")

    def refused(_: Commission) -> str:
        raise gemini.NotStarted("too many requests")

    monkeypatch.setattr(gemini, "start", refused)
    work()

    assert state(batch) == State.RETRYING
    assert batch.tries == 1
    assert ReceiverRun.objects.get(receiver__endswith="try_again").state == "retrying"


@pytest.mark.parametrize(
    "google", [{"scenario": parse({"jobs": [{"times": 1, "outcome": "fail"}]})}], indirect=True
)
def test_a_retry_whose_worker_breaks_off_is_submitted_by_the_next(place, work, monkeypatch):
    batch = place("batch", "one")
    start, calls = gemini.start, []

    def breaks_off_once(commission: Commission) -> str:
        calls.append(commission.tries)
        if len(calls) == 1:
            raise RuntimeError("the worker is gone")
        return start(commission)

    monkeypatch.setattr(gemini, "start", breaks_off_once)
    work()

    assert (state(batch), batch.tries, calls) == (State.SUCCEEDED, 2, [2, 2])


def test_an_interaction_that_fails_is_left_to_people(place, work, desk, mailoutbox):
    asked = place("interaction", "fail-job")
    work()
    assert state(asked) == State.FAILED
    assert mailoutbox == []

    desk.post(f"/studio/acme/{asked.pk}/again/")
    work()
    assert (state(asked), asked.tries) == (State.FAILED, 2)


def test_what_google_does_not_take_says_so_and_can_be_asked_for_again(
    place, work, page, desk, monkeypatch
):
    with monkeypatch.context() as broken:
        broken.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
        asked = {kind: place(kind, "one") for kind in ("batch", "interaction", "video")}

    for commission in asked.values():
        assert state(commission) == State.FAILED
        assert "The Gemini API did not take it" in page(commission)
        desk.post(f"/studio/acme/{commission.pk}/again/")
    work()

    assert {state(commission) for commission in asked.values()} == {State.SUCCEEDED}


def test_a_result_that_cannot_be_had_is_no_success(place, work, page, settings):
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "ALLOWED_BUCKETS": []}
    batch = place("batch", "one")
    work()

    assert state(batch) == State.FAILED
    assert "could not keep what came of it" in page(batch)


def test_who_was_interrupted_while_submitting_can_be_helped(acme, desk, work, page):
    stuck = Commission.objects.create(tenant=acme, kind="batch", prompt="one")
    desk.post(f"/studio/acme/{stuck.pk}/again/")
    assert state(stuck) == State.SUBMITTING

    Commission.objects.update(changed_at=timezone.now() - timedelta(minutes=5))
    assert "Submit it again" in page(stuck)
    desk.post(f"/studio/acme/{stuck.pk}/again/")
    work()
    assert state(stuck) == State.SUCCEEDED
