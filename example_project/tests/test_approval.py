"""A model that may not act alone: it waits until a person has said yes or no."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from example_project.studio import google as gemini
from example_project.studio.models import Approval, Commission
from example_project.tests.steps import replay, state
from gemini_webhooks.models import WebhookDelivery

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


def test_granted(asked, decide, work, page, read, ada, bo, client):
    assert state(asked) == State.WAITING
    assert "The model wants to publish" in page(asked)

    decide(asked, "grant")
    work()

    assert state(asked) == State.SUCCEEDED
    assert "Echo: Published." in page(asked)
    approval = Approval.objects.get()
    assert (approval.verdict, approval.decided_by, approval.function) == ("granted", ada, "publish")
    published = read("/studio/acme/published/")
    assert approval.arguments["text"] in published
    assert asked.get_absolute_url() in published
    client.force_login(bo)
    assert "Nothing yet." in client.get("/studio/globex/published/").content.decode()


def test_refused_by_the_first_of_two(asked, decide, work, page, read):
    decide(asked, "refuse")
    late = decide(asked, "grant")
    work()

    assert "It has been decided already" in late.content.decode()
    assert Approval.objects.get().verdict == "refused"
    assert state(asked) == State.SUCCEEDED
    assert "A person has refused this." in page(asked)
    assert "publishing refused" in read("/studio/acme/")
    assert "Nothing yet." in read("/studio/acme/published/")


def test_an_answer_that_google_does_not_take_can_be_given_again(
    asked, decide, work, read, monkeypatch
):
    assert "waits for approval" in read("/studio/acme/")
    with monkeypatch.context() as broken:
        broken.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
        answer = decide(asked, "grant").content.decode()

    assert "did not take the answer" in answer
    assert state(asked) == State.UNTOLD
    listed = read("/studio/acme/")
    assert "answer not confirmed" in listed
    assert "waits for approval" not in listed
    assert "Send the answer again" in answer
    assert "Refuse" not in answer
    assert "granted by ada" in read("/studio/acme/published/")
    decide(asked, "refuse")
    decide(asked, "again")
    work()
    assert state(asked) == State.SUCCEEDED
    assert Approval.objects.get().verdict == "granted"


def test_an_answer_that_google_took_without_saying_so(asked, decide, work, page, read, monkeypatch):
    go_on = gemini.go_on

    def timed_out(*args):
        go_on(*args)
        raise gemini.NotStarted("no answer")

    monkeypatch.setattr(gemini, "go_on", timed_out)
    decide(asked, "grant")
    work()

    assert state(asked) == State.SUCCEEDED
    assert "Granted by ada" in page(asked)
    assert "Send the answer again" not in page(asked)
    assert "granted by ada" in read("/studio/acme/published/")


def test_who_was_interrupted_while_answering_can_be_helped(
    asked, decide, desk, work, page, monkeypatch
):
    desk.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr(gemini, "go_on", lambda *_: 1 / 0)
        assert decide(asked, "grant").status_code == 500
    decide(asked, "again")
    assert state(asked) == State.SUBMITTING

    Commission.objects.update(changed_at=timezone.now() - timedelta(minutes=5))
    assert "Send the answer again" in page(asked)
    assert "Submit it again" not in page(asked)
    decide(asked, "again")
    work()
    assert state(asked) == State.SUCCEEDED


def test_nothing_is_answered_before_somebody_has_decided(asked, decide):
    decide(asked, "again")

    assert state(asked) == State.WAITING
    assert Approval.objects.get().verdict == "open"


def test_a_refusal_is_forgotten_when_a_later_one_is_granted(asked, decide, work, read, ada):
    decide(asked, "refuse")
    work()
    Approval.objects.create(
        commission=asked, interaction_id="later", call_id="1", function="publish",
        verdict="granted", decided_by=ada, decided_at=timezone.now(),
    )  # fmt: skip

    assert "publishing refused" not in read("/studio/acme/")


def test_the_request_for_approval_coming_again_asks_nobody_twice(asked, decide, work):
    decide(asked, "grant")
    work()
    replay(WebhookDelivery.objects.get(event_type="interaction.requires_action"))
    work()

    assert Approval.objects.count() == 1
    assert state(asked) == State.SUCCEEDED


def test_what_was_not_seen_is_not_granted(asked, decide):
    late = decide(asked, "grant", interaction="an-earlier-one")

    assert "It has been decided already" in late.content.decode()
    assert state(asked) == State.WAITING
    assert Approval.objects.get().verdict == "open"
