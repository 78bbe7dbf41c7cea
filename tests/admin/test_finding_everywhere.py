"""Filters, search and pages of long lists, the same on every database."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connections
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import clock
from gemini_webhooks.admin import paging, searching
from gemini_webhooks.models import (
    Attempt,
    Job,
    ReceiverRun,
    RejectedRequest,
    ResultFile,
    WebhookDelivery,
)
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import list_url, text_of
from tests.admin.test_finding import found
from tests.conftest import every_database

HOUR, DAY = 3600, 86_400
BY_TIME = (WebhookDelivery, RejectedRequest)
HOSTILE = [
    "\x00",
    "%",
    "__",
    "\\",
    "'",
    '"',
    "' OR 1=1 --",
    "=",
    "==",
    "a=",
    "tenant=\x00",
    "a..b=c",
    "tenant[*]=acme",
    '["a"]=b',
    '["\\x"]=b',
    "=\udcff",
    "x" * 5000,
    "9" * 400,
    "1e99999",
    "\U0010ffff",
    "\u202e",
    "builtins:print=x",
]


@pytest.fixture
def browser(database):
    return logged_in(get_user_model().objects.create_superuser("root"))


@pytest.fixture
def deliveries(browser):
    at = rows.endpoint()
    came = {
        "new": rows.delivery(1, endpoint=at, user_metadata={"tenant": "acme", "n": 7}),
        "hours": rows.delivery(
            2,
            received_at=clock.after(-2 * HOUR),
            duplicate_count=3,
            resource_id="batches/b2",
            user_metadata={"of": ["acme"]},
        ),
        "days": rows.delivery(
            3, received_at=clock.after(-2 * DAY), signing="jwt", resource_id="b2", state="failed"
        ),
        "weeks": rows.delivery(
            4, received_at=clock.after(-20 * DAY), event_type="agent.finished", resource_id=""
        ),
        "old": rows.delivery(5, received_at=clock.after(-99 * DAY), event_type=""),
    }
    rows.run(came["days"], state="dead")
    rows.run(came["weeks"], state="retrying")
    rows.run(came["new"])
    rows.result(came["old"], state="failed")
    return came


@every_database
def test_deliveries_are_found(browser, deliveries):
    def names(**query):
        pks = found(browser, WebhookDelivery, **query)
        return {name for name, row in deliveries.items() if row.pk in pks}

    everything = set(deliveries)
    expected = [
        ({}, everything),
        ({"received": "hour"}, {"new"}),
        ({"received": "day"}, {"new", "hours"}),
        ({"received": "week"}, {"new", "hours", "days"}),
        ({"received": "month"}, everything - {"old"}),
        ({"failures": "dead"}, {"days"}),
        ({"failures": "retrying"}, {"weeks"}),
        ({"failures": "result"}, {"old"}),
        ({"duplicates": "yes"}, {"hours"}),
        ({"duplicates": "no"}, everything - {"hours"}),
        ({"type": "other"}, {"weeks"}),
        ({"type": "none"}, {"old"}),
        ({"type": "batch.succeeded"}, {"new", "hours", "days"}),
        ({"at": "root"}, everything - {"new"}),
        ({"at": deliveries["new"].endpoint_id}, {"new"}),
        ({"signing__exact": "jwt"}, {"days"}),
        ({"state__exact": "failed", "received": "week"}, {"days"}),
        ({"resource": "b2"}, {"hours", "days"}),
        ({"resource": "batches/b2"}, {"hours", "days"}),
        ({"resource": "b"}, set()),
        ({"q": "evt_000"}, everything),
        ({"q": " evt_0001 "}, {"new"}),
        ({"q": "b2"}, {"hours", "days"}),
        ({"q": "batches/b2"}, {"hours", "days"}),
        ({"q": "batches/"}, {"hours"}),
        ({"q": "tches/b2"}, {"hours", "days"}),
        ({"q": "acme"}, {"new", "hours"}),
        ({"q": "=acme"}, {"new", "hours"}),
        ({"q": "tenant=acme"}, {"new"}),
        ({"q": "of[0]=acme"}, {"hours"}),
        ({"q": "n=7"}, {"new"}),
        ({"q": "tenant=nobody"}, set()),
        ({"q": "tenant=acme", "received": "hour"}, {"new"}),
        ({"q": "tenant=acme", "state__exact": "failed"}, set()),
    ]
    assert [names(**query) for query, _ in expected] == [seen for _, seen in expected]


@every_database
def test_hostile_searches_find_nothing(browser, deliveries):
    for model in (WebhookDelivery, ReceiverRun, Attempt, ResultFile, Job, RejectedRequest):
        for words in HOSTILE:
            asked = {"q": words.encode("utf-8", "surrogatepass")}
            answer = browser.get(list_url(model), asked)
            assert answer.status_code == 200, (model, words)
            if "\x00" not in words and words not in ("=", "a=", "=="):
                assert not re.search(r"/\d+/change/", answer.content.decode()), (model, words)
            browser.get("/admin/")  # takes the message about the NUL


@every_database
def test_hostile_filters_are_refused(browser, deliveries):
    for name in ("received", "failures", "duplicates", "type", "at", "state__exact", "resource"):
        for value in ("", "\x00", "x" * 5000, "' OR 1=1 --"):
            answer = browser.get(list_url(WebhookDelivery), {name: value})
            assert answer.status_code in (200, 302), (name, value)


@every_database
def test_many_ids_and_values_are_found_as_few_are(browser, deliveries, monkeypatch):
    for constant in ("MOST_IDS", "MOST_VALUES"):
        monkeypatch.setattr(searching, constant, 0)
    tried = rows.attempt(ReceiverRun.objects.get(delivery=deliveries["new"]))

    assert found(browser, ReceiverRun, q="evt_0001") == {tried.run_id}
    assert len(found(browser, ReceiverRun, q="store_rows")) == 3
    assert found(browser, Attempt, q="store") == {tried.pk}
    assert found(browser, WebhookDelivery, type="other") == {deliveries["weeks"].pk}


@pytest.fixture
def bounded(monkeypatch):
    """Lists with pages of four rows, of which three pages are counted."""
    monkeypatch.setattr(paging, "MOST", 12)
    for model in (WebhookDelivery, ReceiverRun, Attempt, ResultFile, Job, RejectedRequest):
        monkeypatch.setattr(type(admin_of(model)), "list_per_page", 4)
        monkeypatch.setattr(type(admin_of(model)), "list_max_show_all", 4)


def admin_of(model):
    return admin.site.get_model_admin(model)


def many(model, number):
    came = [rows.delivery(n, received_at=clock.after(-n)) for n in range(1, number + 1)]
    runs = [rows.run(row) for row in came]
    for n, row in enumerate(runs):
        rows.attempt(row)
        rows.result(row.delivery)
        rows.job(n)
        rows.rejection(received_at=clock.after(-n))
    newest_first = model.objects.order_by("-pk")
    if model in BY_TIME:
        newest_first = model.objects.order_by("-received_at", "-pk")
    return [row.pk for row in newest_first]


def shown(text, model):
    return [int(pk) for pk in re.findall(rf"/{model._meta.model_name}/(\d+)/change/", text)]


@every_database
@pytest.mark.parametrize("number", [12, 13, 30])
def test_a_list_says_truly_how_many_there_are(browser, bounded, number):
    many(WebhookDelivery, number)
    text = text_of(browser.get(list_url(WebhookDelivery)))

    is_more = "more than 12 deliveries; these pages hold the first 12" in text
    assert is_more == (number > 12)
    assert bool(re.search(rf"^{number} deliveries$", text, re.MULTILINE)) == (number == 12)


@every_database
@pytest.mark.parametrize(
    "model", [WebhookDelivery, ReceiverRun, Attempt, ResultFile, Job, RejectedRequest]
)
def test_whoever_goes_on_sees_every_row_once(browser, bounded, model):
    expected = many(model, 30)
    seen, url = [], list_url(model)
    while url:
        for number in (1, 2, 3):
            answer = browser.get(url, {"p": number}) if "?" not in url else browser.get(
                f"{url}&p={number}"
            )  # fmt: skip
            if answer.status_code == 302:  # no such page any more
                break
            text = text_of(answer)
            page = list(dict.fromkeys(shown(text, model)))
            assert len(page) <= 4
            again = [pk for pk in page if pk in seen]
            # Two of the same moment could be on both sides of it, so by time it begins with it.
            assert not again or model in BY_TIME
            seen += [pk for pk in page if pk not in again]
        onward = re.search(r'<a href="([^"]*)">Go on from here</a>', text)
        url = onward and list_url(model) + html.unescape(onward[1])
        if url:
            assert "Back to the first ones" in text_of(browser.get(url))

    assert seen == expected


@every_database
def test_a_page_that_lies_too_deep_is_none(browser, bounded):
    many(WebhookDelivery, 30)
    for number in ("4", "1000000000", "0", "-1"):
        answer = browser.get(list_url(WebhookDelivery), {"p": number})
        assert answer.status_code == 302
    for word in ("x", ""):
        assert browser.get(list_url(WebhookDelivery), {"p": word}).status_code == 200
    assert (
        len(shown(text_of(browser.get(list_url(WebhookDelivery), {"all": ""})), WebhookDelivery))
        < 9
    )


@every_database
def test_a_list_in_another_order_does_not_offer_to_go_on(browser, bounded):
    many(WebhookDelivery, 30)
    text = text_of(browser.get(list_url(WebhookDelivery), {"o": "1", "p": "3"}))

    assert "more than 12 deliveries" in text
    assert "Go on from here" not in text


@every_database
def test_no_list_counts_to_the_end_or_looks_for_what_is_distinct(browser, deliveries):
    for query in ({}, {"q": "acme"}, {"q": "evt_0"}, {"failures": "dead"}, {"type": "other"}):
        with CaptureQueriesContext(connections[WebhookDelivery.objects.db]) as queries:
            text_of(browser.get(list_url(WebhookDelivery), query))
        asked = [one["sql"] for one in queries if "webhookdelivery" in one["sql"]]
        assert not [sql for sql in asked if "DISTINCT" in sql]
        assert not [sql for sql in asked if "COUNT(" in sql and "LIMIT" not in sql]


@every_database
def test_actions_are_not_offered_for_more_than_was_counted(browser, bounded):
    many(WebhookDelivery, 13)
    assert "Select all 12 " not in text_of(browser.get(list_url(WebhookDelivery)))
