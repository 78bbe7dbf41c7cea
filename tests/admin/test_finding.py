"""Filters and search."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.contrib.admin.utils import unquote

from gemini_webhooks import clock
from gemini_webhooks.models import (
    Attempt,
    Erasure,
    Job,
    Lane,
    ReceiverRun,
    RejectedRequest,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.admin import rows
from tests.admin.pages import list_url, text_of

pytestmark = pytest.mark.django_db

FAR_OFF = str(clock.for_database(datetime(2999, 1, 1, tzinfo=UTC)))


def found(browser, model, **query):
    """Primary keys of the rows that the list shows."""
    text = text_of(browser.get(list_url(model), query))
    shown = re.findall(rf"/{model._meta.model_name}/([^/]+)/change/", text)
    return {model._meta.pk.to_python(unquote(pk)) for pk in shown}


@pytest.fixture
def deliveries():
    at = rows.endpoint()
    return {
        "batch": rows.delivery(1, endpoint=at),
        "video": rows.delivery(2, event_type="video.generated", signing="jwt"),
        "new": rows.delivery(3, event_type="batch.paused", state="ignored"),
        "none": rows.delivery(4, event_type="", state="unreadable", resource_id=""),
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, {"batch", "video", "new", "none"}),
        ({"type": "batch.succeeded"}, {"batch"}),
        ({"type": "batch.failed"}, set()),
        ({"type": "other"}, {"new"}),
        ({"type": "none"}, {"none"}),
        ({"at": "root"}, {"video", "new", "none"}),
        ({"state__exact": "ignored"}, {"new"}),
        ({"signing__exact": "jwt"}, {"video"}),
        ({"received_at__gte": FAR_OFF}, set()),
        ({"q": "evt_0002"}, {"video"}),
        ({"q": "evt_"}, {"batch", "video", "new", "none"}),
        ({"q": "batch-3"}, {"new"}),
        ({"q": "atch-3"}, set()),
    ],
)
def test_deliveries_are_found(browser, deliveries, query, names):
    assert found(browser, WebhookDelivery, **query) == {deliveries[name].pk for name in names}


def test_deliveries_are_found_by_registered_endpoint(browser, deliveries):
    at = WebhookEndpoint.objects.get()
    assert found(browser, WebhookDelivery, at=at.pk) == {deliveries["batch"].pk}


@pytest.mark.parametrize(
    "query",
    [
        {"type": "made.up"},
        {"at": "9" * 40},
        {"at": "' OR 1=1 --"},
        {"received_at__gte": "yesterday"},
        {"id__exact": "x"},
    ],
)
def test_a_filter_that_is_not_offered_is_refused_as_django_does(browser, deliveries, query):
    response = browser.get(list_url(WebhookDelivery), query)
    assert response.status_code == 302
    assert response.url.endswith("?e=1")


@pytest.mark.parametrize("words", ["\x00", "%_\\", "a" * 5000, "\U0010ffff", "' OR 1=1 --"])
@pytest.mark.parametrize("model", [WebhookDelivery, ReceiverRun, Attempt, ResultFile])
def test_a_hostile_search_finds_nothing(browser, deliveries, model, words):
    browser.get(list_url(model), {"q": words})
    assert browser.get(list_url(model), {"q": words}).status_code == 200


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (ReceiverRun, {"state__exact": "dead"}),
        (ReceiverRun, {"q": "send_mail"}),
        (ReceiverRun, {"q": "evt_0002"}),
        (Attempt, {"outcome__exact": "failed"}),
        (Attempt, {"trigger__exact": "replay"}),
        (Attempt, {"q": "send_mail"}),
        (Attempt, {"q": "evt_0002"}),
        (ResultFile, {"state__exact": "failed"}),
        (ResultFile, {"q": "gs://other/"}),
        (ResultFile, {"q": "evt_0002"}),
        (ResultFile, {"q": "batch-2"}),
        (RejectedRequest, {"reason": "bad_signature"}),
        (RejectedRequest, {"status": "401"}),
        (RejectedRequest, {"q": "orders"}),
        (RejectedRequest, {"q": "abcdef"}),
        (RejectedRequest, {"q": "endpoint B"}),
        (WebhookEndpoint, {"state__exact": "disabled"}),
        (WebhookEndpoint, {"q": "second"}),
        (Job, {"state__exact": "failed"}),
        (Job, {"kind__exact": "operation"}),
        (Job, {"q": "batch-2"}),
        (Job, {"q": "evt_0002"}),
        (Lane, {"q": "send_mail"}),
        (Erasure, {"q": "batch-9"}),
        (Erasure, {"kind__exact": "resource"}),
    ],
)
def test_the_other_lists_are_filtered_and_searched(browser, model, query):
    rows.family(1)
    second = second_family()
    assert found(browser, model, **query) == {second[model].pk}


def second_family():
    came = rows.delivery(2)
    handled = rows.run(came, receiver="shop.receivers.send_mail", state=ReceiverRun.State.DEAD)
    return {
        ReceiverRun: handled,
        Attempt: rows.attempt(
            handled, outcome=Attempt.Outcome.FAILED, trigger=Attempt.Trigger.REPLAY
        ),
        ResultFile: rows.result(came, source_uri="gs://other/x", state=ResultFile.State.FAILED),
        RejectedRequest: rows.rejection(
            reason="bad_signature",
            status=401,
            diagnosis="The signature matches endpoint B.",
            endpoint_slug="orders",
            body_digest="abcdef",
        ),
        WebhookEndpoint: rows.endpoint("second", state=WebhookEndpoint.State.DISABLED),
        Job: rows.job(2, delivery=came, state=Job.State.FAILED, kind=Job.Kind.OPERATION),
        Lane: rows.lane("shop.receivers.send_mail"),
        Erasure: rows.erasure(kind=Erasure.Kind.RESOURCE, subject="batch-9"),
    }


@pytest.mark.parametrize("name", ["lane__exact", "receiver__exact", "name"])
def test_a_filter_with_a_nul_is_none(browser, name):
    model = Lane if name == "name" else ReceiverRun
    answer = browser.get(list_url(model), {name: "a\0b"})
    assert answer.status_code == 302
    assert answer.url == f"{list_url(model)}?e=1"
    assert browser.get(answer.url).status_code == 200


def test_nothing_has_a_nul_in_its_name(browser, monkeypatch):
    monkeypatch.setattr(Lane._default_manager, "get_queryset", None)  # not even asked
    answer = browser.get(f"{list_url(Lane)}a%00b/change/")
    assert (answer.status_code, answer.url) == (302, "/admin/")
