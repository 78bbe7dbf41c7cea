"""Replays in the admin: begun from a delivery, the list or conditions; watched and stopped."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gemini_webhooks import clock, processing, receivers, replay
from gemini_webhooks.admin import replay_pages, replays
from gemini_webhooks.deliveries import Selection
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    Replay,
    ReplayedDelivery,
    WebhookDelivery,
)
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import list_url, page_url, text_of

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 24 * 3600


def url(name, *args, model="webhookdelivery"):
    return reverse(f"admin:gemini_webhooks_{model}_{name}", args=args)


def replay_url(of, **query):
    path = url("replay", of.pk)
    return (
        f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}" if query else path
    )


@pytest.fixture
def operator(viewer):
    """May look at everything and replay; the browser of such a user."""
    permission = Permission.objects.get(codename="replay_webhookdelivery")
    viewer.user_permissions.add(permission)
    return logged_in(viewer)


@pytest.fixture
def store():
    """A receiver of batches; returns what it was told of."""
    seen = []
    receivers.on("batch.succeeded", name="store")(lambda event, **_: seen.append(event))
    return seen


@pytest.fixture
def failed(store):
    """A delivery with one receiver that gave up, and one that did not."""
    came = rows.delivery(1, state="failed")
    rows.run(came, "store", state="dead", attempts=8, error_class="KeyError")
    rows.run(came, "other")
    return came


def buttons(text):
    """Names of the buttons and of links that look like one."""
    content = text.partition('<div id="content"')[2]
    links = re.findall(r'<a class="button" href="[^"]*">([^<]*)</a>', content)
    return {*links, *re.findall(r'<input type="submit"[^>]*value="([^"]*)"', content)}


def errors(response):
    return re.findall(r'class="errornote">([^<]*)<', text_of(response)) + [
        error
        for found in re.findall(r'class="errorlist"[^>]*>(.*?)</ul>', text_of(response), re.DOTALL)
        for error in re.findall(r"<li>(.*?)</li>", found)
    ]


# One ------------------------------------------------------------------------------------------


def test_a_page_offers_what_can_be_done(operator, failed):
    rows.result(failed)
    text = text_of(operator.get(page_url(failed)))
    assert buttons(text) >= {
        "Replay everything",
        "Replay what failed",
        "Fetch the result again",
        "Replay some receivers",
    }
    assert f"{replay_url(failed)}?what=receivers&amp;receiver=store" in text

    fine = rows.delivery(2)
    rows.run(fine)
    offered = buttons(text_of(operator.get(page_url(fine))))
    assert {one for one in offered if "eplay" in one or "etch" in one} == {"Replay everything"}


@pytest.mark.parametrize(
    "values",
    [
        {"state": "received"},
        {"state": "unreadable"},
        {"body": None, "emptied_at": clock.now(), "emptied_by": "retention"},
    ],
)
def test_what_cannot_be_replayed_has_no_buttons(operator, values):
    text = text_of(operator.get(page_url(rows.delivery(**values))))
    assert not [one for one in buttons(text) if "eplay" in one]


@pytest.mark.parametrize(
    ("query", "title", "says"),
    [
        ({}, "Replay everything", "All receivers of this event run again"),
        ({"what": "failed"}, "Replay what failed", "Only receivers that gave up"),
        ({"what": "results"}, "Fetch the result again", "is fetched again from Google"),
        ({"what": "receivers", "receiver": "store"}, "Replay some receivers", "that you choose"),
    ],
)
def test_asking_changes_nothing(operator, failed, query, title, says):
    text = text_of(operator.get(replay_url(failed, **query)))
    assert title in buttons(text)
    assert says in text
    assert ('name="receivers"' in text) is (query.get("what") == "receivers")
    assert not Replay.objects.exists()


@pytest.mark.parametrize(
    ("query", "data", "run"),
    [
        ({}, {}, {"store", "other"}),
        ({"what": "failed"}, {}, {"store"}),
        ({"what": "receivers"}, {"receivers": ["other"]}, {"other"}),
    ],
)
def test_a_delivery_is_replayed_with_who_and_why(operator, failed, query, data, run):
    answer = operator.post(replay_url(failed, **query), {**data, "reason": "mended"})

    assert (answer.status_code, answer.url) == (302, page_url(failed))
    noted = Replay.objects.get()
    assert (noted.actor, noted.reason, noted.state) == ("viewer", "mended", "finished")
    assert noted.what == query.get("what", "everything")
    again = ReceiverRun.objects.filter(is_replay=True)
    assert set(again.values_list("receiver", flat=True)) == run
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.username) == (str(failed.pk), "viewer")
    assert "again" in entry.get_change_message()
    text = text_of(operator.get(page_url(failed)))
    assert "mended" in text
    assert page_url(noted) in text


def test_a_replay_from_the_page_runs(operator, failed, store):
    operator.post(replay_url(failed, what="failed"), {"reason": ""})
    processing.drain()

    assert [event.is_replay for event in store] == [True]
    assert Attempt.objects.get().actor == "viewer"
    assert WebhookDelivery.objects.get().state == "processed"


def test_a_result_is_fetched_again(operator, failed):
    result = rows.result(failed, state="failed", error="gone", attempts=8)
    answer = operator.post(replay_url(failed, what="results"), {"reason": ""}, follow=True)

    assert "The result file is fetched again." in text_of(answer)
    result.refresh_from_db()
    assert (result.state, result.attempts) == ("pending", 0)


@pytest.mark.parametrize(
    ("query", "data", "why"),
    [
        ({"what": "results"}, {}, "evt_0001 has no result file"),
        ({"what": "receivers"}, {}, "This field is required."),
        ({"what": "receivers"}, {"receivers": ["nobody"]}, "not one of the available choices"),
        ({}, {"reason": "x" * 501}, "at most 500 characters"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(operator, failed, query, data, why):
    WebhookDelivery.objects.update(body=b'{"type": "batch.failed", "data": {"id": "b1"}}')
    answer = operator.post(replay_url(failed, **query), {"reason": "", **data})
    assert any(why in error for error in errors(answer))
    assert not Replay.objects.exists()


def test_a_body_that_was_removed_meanwhile(operator, failed):
    WebhookDelivery.objects.update(body=None, emptied_by="erasure")
    answer = operator.post(replay_url(failed), {"reason": ""})
    assert any("was erased on request" in error for error in errors(answer))


@pytest.mark.parametrize("query", [{"what": "all"}, {"what": ""}, {"what": "%00"}])
def test_an_address_that_was_made_up(operator, failed, query):
    assert operator.get(replay_url(failed, **query)).status_code == 404
    assert operator.get(url("replay", 10**30)).status_code == 404


# Those that are ticked ------------------------------------------------------------------------


def test_ticked_deliveries_are_replayed(operator, failed, store):
    other, left = rows.delivery(2), rows.delivery(3)
    ticked = {"action": "replay_selected", "_selected_action": [failed.pk, other.pk]}
    page = text_of(operator.post(list_url(WebhookDelivery), ticked))
    assert "2 deliveries are selected." in page
    assert not Replay.objects.exists()

    ids = re.search(r'name="ids" value="([^"]*)"', page)[1]
    assert ids == f"{failed.pk},{other.pk}"
    answer = operator.post(
        url("replay_selected"),
        {
            "ids": ids,
            "what": "receivers",
            "receivers": "store\n",
            "rate": "600",
            "reason": "mended",
        },
    )

    begun = Replay.objects.get()
    assert answer.url == page_url(begun)
    assert (begun.what, begun.receivers, begun.rate) == ("receivers", ["store"], 600)
    assert (begun.actor, begun.reason, begun.total) == ("viewer", "mended", 2)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.is_addition()) == (str(begun.pk), True)
    processing.drain()
    assert [event.id for event in store] == ["evt_0001", "evt_0002"]
    assert not left.replays.exists()


def test_ticked_deliveries_without_a_body_are_counted(operator, failed):
    WebhookDelivery.objects.update(body=None, emptied_at=clock.now())
    ticked = {"action": "replay_selected", "_selected_action": [failed.pk]}
    text = text_of(operator.post(list_url(WebhookDelivery), ticked))
    assert "1 of them cannot be replayed" in text


def test_all_of_a_list_leads_to_the_conditions(operator, failed):
    ticked = {
        "action": "replay_selected", "_selected_action": [failed.pk], "select_across": "1",
    }  # fmt: skip
    answer = operator.post(f"{list_url(WebhookDelivery)}?state__exact=failed", ticked)
    assert answer.url == f"{url('replay_matching')}?state__exact=failed"


def test_more_than_can_be_ticked(operator, failed, monkeypatch):
    rows.delivery(2)
    monkeypatch.setattr(replay_pages, "MAX_IDS", 1)
    every = list(WebhookDelivery.objects.values_list("pk", flat=True))
    ticked = {"action": "replay_selected", "_selected_action": every}
    answer = operator.post(list_url(WebhookDelivery), ticked, follow=True)
    assert "Select 1 at most" in text_of(answer)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"ids": "1;2"}, "ids are whole numbers"),
        ({"ids": "0"}, "ids are whole numbers"),
        ({"ids": "٣"}, "ids are whole numbers"),
        ({"ids": ""}, "correct the error"),
        ({"ids": "4711"}, "There is no such delivery"),
        ({"rate": "0"}, "greater than or equal to 1"),
        ({"rate": "100001"}, "less than or equal to 100000"),
        ({"what": "nonsense"}, "not one of the available choices"),
        ({"what": "receivers"}, "Names of receivers go with"),
        ({"what": "receivers", "receivers": "x" * 256}, "at most 255 characters"),
    ],
)
def test_a_form_that_was_tampered_with(operator, failed, data, why):
    asked = {"ids": str(failed.pk), "what": "everything", "reason": "", "rate": "", **data}
    answer = operator.post(url("replay_selected"), asked)
    assert any(why in error for error in errors(answer))
    assert not Replay.objects.exists()


def test_the_page_of_the_ticked_alone_leads_back(operator):
    assert operator.get(url("replay_selected")).url == list_url(WebhookDelivery)


# All that match -------------------------------------------------------------------------------


ASKED = {"what": "everything", "reason": "mended"}


def test_the_list_offers_what_it_finds(operator, failed):
    text = text_of(operator.get(list_url(WebhookDelivery), {"state__exact": "failed"}))
    assert f'href="{url("replay_matching")}?state__exact=failed"' in text
    assert f'href="{url("replay_matching")}"' in text_of(operator.get(list_url(WebhookDelivery)))


def test_conditions_then_how_many_then_it_begins(operator, failed, store):
    for number in range(2, 9):
        rows.delivery(number)
    asked = {**ASKED, "states": ["failed", "processed"], "rate": "60"}

    page = text_of(operator.post(url("replay_matching"), asked))
    assert "8 deliveries will be replayed." in page
    assert "failed, processed" in re.sub(r"<[^>]+>", " ", page).replace(
        "processed, failed", "failed, processed"
    )
    assert "evt_0008" in page
    assert not Replay.objects.exists()
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert (hidden["reason"], hidden["rate"], hidden["what"]) == ("mended", "60", "everything")

    back = text_of(operator.post(url("replay_matching"), {**asked, "_back": "1"}))
    assert 'value="mended"' in back
    assert not Replay.objects.exists()

    answer = operator.post(url("replay_matching"), {**asked, "_confirm": "1"})
    begun = Replay.objects.get()
    assert answer.url == page_url(begun)
    assert begun.selection == {"states": asked["states"]}
    assert (begun.rate, begun.total) == (60, 8)
    assert LogEntry.objects.get().object_id == str(begun.pk)


def test_every_condition_is_understood(browser, failed):
    at = rows.endpoint("orders")
    WebhookDelivery.objects.update(
        endpoint=at, user_metadata={"tenant": "acme", "n": 7}, event_type="batch.paused"
    )
    asked = {
        **ASKED,
        "states": ["failed"],
        "event_types": ["batch.failed", ""],
        "other_type": "batch.paused",
        "endpoint": "orders",
        "signing": "hmac",
        "since": "2026-01-01T00:00",
        "until": "2999-01-01T00:00",
        "metadata": "tenant=acme\nn = 7",
        "receiver": "store",
        "failed_with": "KeyError",
        "_confirm": "1",
    }
    browser.post(url("replay_matching"), asked)

    begun = Replay.objects.get()
    assert begun.total == 1
    found = Selection.from_json(begun.selection)
    # In the time zone of the site, Europe/Berlin.
    assert found.since == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert found.metadata == {"tenant": "acme", "n": "7"}
    assert found.event_types == ("batch.failed", "", "batch.paused")
    text = text_of(browser.get(page_url(begun)))
    for words in ("failed", "none given", "orders", "static (HMAC)", "acme", "store", "KeyError"):
        assert words in text


def test_the_root_endpoint_is_one_too(browser, failed):
    rows.delivery(2, endpoint=rows.endpoint("orders"))
    browser.post(url("replay_matching"), {**ASKED, "endpoint": "/", "_confirm": "1"})
    assert Replay.objects.get().selection == {"endpoint": ""}
    assert Replay.objects.get().total == 1
    assert "root endpoint" in text_of(browser.get(page_url(Replay.objects.get())))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "Set a condition, or say that all are meant."),
        ({"_confirm": "1"}, "Say which deliveries"),
        ({"states": ["broken"]}, "not one of the available choices"),
        ({"endpoint": "nowhere"}, "not one of the available choices"),
        ({"metadata": "acme"}, "a path and a value are needed"),
        ({"metadata": "ids[*]=7"}, "is not the path of one value"),
        ({"since": "yesterday"}, "valid date/time"),
        ({"since": "0001-01-01T00:00"}, ("no such time", "too far away")),
        ({"since": "2026-01-02T00:00", "until": "2026-01-01T00:00"}, "until is later than since"),
        ({"receiver": "a\0b"}, "Null characters are not allowed."),
        ({"states": ["unreadable"], "_confirm": "1"}, "There is no such delivery"),
    ],
)
def test_conditions_that_make_no_sense(browser, failed, data, why):
    found = errors(browser.post(url("replay_matching"), {**ASKED, **data}))
    whys = (why,) if isinstance(why, str) else why
    assert any(one in error for error in found for one in whys), found
    assert not Replay.objects.exists()


def test_conditions_that_nothing_meets(browser, failed):
    text = text_of(browser.post(url("replay_matching"), {**ASKED, "states": ["ignored"]}))
    assert "No delivery meets these conditions." in text
    assert "Replay" not in buttons(text)


def test_everything_has_to_be_said(browser, failed, monkeypatch):
    rows.delivery(2)
    monkeypatch.setattr(replay, "CEILING", 1)
    page = text_of(browser.post(url("replay_matching"), {**ASKED, "everything": "on"}))
    assert "At least 1 deliveries will be replayed." in page
    assert "every one there is" in page
    browser.post(url("replay_matching"), {**ASKED, "everything": "on", "_confirm": "1"})
    assert Replay.objects.get().total == 2
    assert "every one there was" in text_of(browser.get(page_url(Replay.objects.get())))


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"type": "batch.failed"}, r'value="batch.failed"[^>]* checked'),
        (
            {"type": "none"},
            r'name="event_types" value=""[^>]* checked|name="event_types"[^>]*checked',
        ),
        ({"at": "root"}, r'<option value="/" selected>'),
        ({"state__exact": "failed"}, r'value="failed"[^>]* checked'),
        ({"signing__exact": "jwt"}, r'<option value="jwt" selected>'),
        ({"received": "day"}, r'name="since" value="\d{4}-\d\d-\d\dT\d\d:\d\d"'),
        (
            {"received_at__gte": "2026-01-22 12:00:00+00:00"},
            'name="since" value="2026-01-22T13:00"',
        ),
        ({"received_at__lt": "2026-01-22 12:00"}, 'name="until" value="2026-01-22T12:00"'),
        ({"failures": "dead"}, r'name="what" value="failed"[^>]* checked'),
        ({"q": "tenant=acme"}, r">\s*tenant=acme</textarea>"),
        ({"o": "1", "p": "2"}, "Received since"),
    ],
)
def test_the_form_begins_with_what_the_list_was_narrowed_by(browser, query, shown):
    text = text_of(browser.get(url("replay_matching"), query))
    assert re.search(shown, text)
    assert "Not all that the list was narrowed by" not in text


def test_the_endpoint_of_the_list_is_taken_over(browser):
    at = rows.endpoint("orders")
    text = text_of(browser.get(url("replay_matching"), {"at": at.pk}))
    assert '<option value="orders" selected>' in text


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"type": "other"}, "type"),
        ({"at": "9" * 40}, "at"),
        ({"at": "4711"}, "at"),
        ({"state__exact": "x"}, "state"),
        ({"signing__exact": "x"}, "signing"),
        ({"received": "year"}, "received"),
        ({"received_at__gte": "2026-99-99 12:00"}, "received_at"),
        ({"received_at__gte": "soon"}, "received_at"),
        ({"failures": "retrying"}, "failures"),
        ({"q": "evt_1"}, "search"),
        ({"duplicates": "yes", "resource": "b1"}, "duplicates, resource"),
        ({"<script>": "1"}, "&lt;script&gt;"),
    ],
)
def test_what_cannot_be_taken_over_is_said(browser, query, named):
    text = text_of(browser.get(url("replay_matching"), query))
    assert f"can be used here: {named}." in text


# Watching and stopping ------------------------------------------------------------------------


@pytest.fixture
def running(failed):
    rows.delivery(2)
    return replay.start(
        Selection(states=("failed", "processed")), rate=1, actor="ada", reason="mended"
    )


def test_a_replay_is_watched_and_stopped(operator, running):
    processing.drain()
    text = text_of(operator.get(page_url(running)))
    assert "1 of 2" in text
    assert "running" in text
    assert "ada" in text
    assert "1 deliveries per minute" in text
    assert buttons(text) >= {"Stop", "Refresh"}
    assert "1 of 2" in text_of(operator.get(list_url(Replay)))

    answer = operator.post(url("stop", running.pk, model="replay"), follow=True)
    assert "Stopped. What it has begun goes on." in text_of(answer)
    running.refresh_from_db()
    assert (running.state, running.stopped_by) == ("stopped", "viewer")
    assert LogEntry.objects.get().object_id == str(running.pk)
    assert buttons(text_of(operator.get(page_url(running)))) & {"Stop", "Refresh"} == set()

    again = operator.post(url("stop", running.pk, model="replay"), follow=True)
    assert "It had ended before." in text_of(again)
    assert LogEntry.objects.count() == 1


def test_stopping_is_no_link(operator, running):
    assert operator.get(url("stop", running.pk, model="replay")).status_code == 405
    assert operator.post(url("stop", 10**30, model="replay")).status_code == 404
    running.refresh_from_db()
    assert running.state == "running"


def test_what_was_skipped_is_listed_with_the_reason(browser, monkeypatch):
    monkeypatch.setattr(replays, "MOST", 2)
    for number in range(1, 6):
        rows.delivery(number, body=None, emptied_by="retention")
    begun = replay.start(Selection(endpoint=""), actor="ada")
    processing.drain()

    page = text_of(browser.get(page_url(begun)))
    skipped = url("skipped", begun.pk, model="replay")
    assert f'5 <a href="{skipped}">' in page
    assert "0 of 5, 5 skipped" in page
    seen = []
    following = skipped
    while following:
        text = text_of(browser.get(following))
        seen += re.findall(r">(evt_\d+)</a></td><td>the body of evt_\d+ was removed", text)
        more = re.search(r'href="(\?after=\d+)"', text)
        following = more and f"{skipped}{more[1]}"
    assert seen == [f"evt_{number:04}" for number in range(1, 6)]
    assert "No further delivery" in text_of(browser.get(skipped, {"after": "9" * 19}))
    assert "evt_0001" in text_of(browser.get(skipped, {"after": "x"}))


def test_hostile_values_are_shown_and_run_nothing(browser):
    text = rows.MARKUP
    came = rows.delivery(1)
    begun = Replay.objects.create(
        what=text[:20],
        receivers={"not": "a list"},
        selection={"receiver": text, "metadata": {"tenant": text}},
        actor=text,
        reason=text * 3,
        state=text[:20],
        stopped_by=text,
        skipped=1,
    )
    ReplayedDelivery.objects.create(replay=begun, delivery=came, problem=text)
    odd = Replay.objects.create(
        what="receivers", receivers=[text, 7], actor="a", selection=["not", "a", "selection"]
    )
    for address in (
        list_url(Replay),
        page_url(begun),
        page_url(odd),
        url("skipped", begun.pk, model="replay"),
        page_url(came),
    ):
        page = text_of(browser.get(address))
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert not re.search(r"<[^>]*\sstyle=|<script(?![^>]*\bsrc=)", page)
    assert "cannot be read" in text_of(browser.get(page_url(odd)))


def test_many_ids_are_not_all_named(browser):
    begun = Replay.objects.create(
        what="everything", actor="a", selection={"ids": list(range(1, 101))}
    )
    assert "1, 2, 3, 4, 5 and 95 more" in text_of(browser.get(page_url(begun)))
    Replay.objects.update(selection={"ids": [11, 12]})
    assert "deliveries: 11, 12<" in text_of(browser.get(page_url(begun)))


def test_a_list_takes_as_many_queries_for_thirty_as_for_one(browser):
    def queries():
        with CaptureQueriesContext(connection) as seen:
            text_of(browser.get(list_url(Replay)))
        return len(seen)

    Replay.objects.create(what="everything", actor="a")
    one = queries()
    for _ in range(29):
        Replay.objects.create(what="everything", actor="a")
    assert queries() == one


def test_replays_are_neither_added_nor_changed_by_hand(browser, running):
    assert browser.get(f"{list_url(Replay)}add/").status_code == 403
    assert browser.post(page_url(running), {"actor": "eve"}).status_code == 403
    assert (
        browser.post(f"{list_url(Replay)}{running.pk}/delete/", {"post": "yes"}).status_code == 403
    )
    assert Replay.objects.get().actor == "ada"


@pytest.mark.parametrize("zone", [True, False])
def test_pages_open_whatever_the_time_zones(browser, settings, failed, zone):
    settings.USE_TZ = zone
    text_of(browser.get(url("replay_matching"), {"received": "day"}))
    asked = {**ASKED, "states": ["failed"], "since": "2026-01-01T00:00"}
    assert "1 delivery will be replayed." in text_of(browser.post(url("replay_matching"), asked))
    browser.post(url("replay_matching"), {**asked, "_confirm": "1"})
    text_of(browser.get(page_url(Replay.objects.get())))


# Permissions ----------------------------------------------------------------------------------


def test_who_may_only_look_sees_no_buttons_and_is_refused(viewer, failed, running):
    browser = logged_in(viewer)
    for address in (page_url(failed), list_url(WebhookDelivery), page_url(running)):
        text = text_of(browser.get(address))
        assert not [one for one in buttons(text) if "eplay" in one or one == "Stop"]
        assert "replay_selected" not in text
        assert "Replay this receiver" not in text
    before = Replay.objects.count()
    for address in (
        replay_url(failed),
        url("replay_selected"),
        url("replay_matching"),
        url("stop", running.pk, model="replay"),
    ):
        asked = {**ASKED, "ids": failed.pk, "states": ["failed"], "_confirm": "1"}
        assert browser.post(address, asked).status_code == 403
    for address in (replay_url(failed), url("replay_matching")):
        assert browser.get(address).status_code == 403
    ticked = {"action": "replay_selected", "_selected_action": [failed.pk]}
    browser.post(list_url(WebhookDelivery), ticked)
    assert Replay.objects.count() == before
    running.refresh_from_db()
    assert running.state == "running"


def test_the_permission_to_replay_does_not_let_anybody_look(failed, running):
    user = get_user_model().objects.create_user("blind", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="replay_webhookdelivery"))
    browser = logged_in(user)
    for address in (
        replay_url(failed),
        url("replay_matching"),
        url("stop", running.pk, model="replay"),
        url("skipped", running.pk, model="replay"),
    ):
        assert browser.post(address, ASKED).status_code == 403


def test_who_may_not_see_replays_goes_back_to_the_list(viewer, operator, failed):
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_replay"))
    asked = {**ASKED, "states": ["failed"], "_confirm": "1"}
    answer = operator.post(url("replay_matching"), asked)
    assert answer.url == list_url(WebhookDelivery)
    assert Replay.objects.exists()


def test_metadata_are_for_who_may_see_payloads(viewer, operator, failed):
    begun = Replay.objects.create(
        what="everything", actor="a", selection={"metadata": {"tenant": "acme"}}
    )
    assert "acme" in text_of(operator.get(page_url(begun)))
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_payload"))
    text = text_of(operator.get(page_url(begun)))
    assert "acme" not in text
    assert "metadata tenant" in text

    text = text_of(operator.get(url("replay_matching"), {"q": "tenant=acme"}))
    assert 'name="metadata"' not in text
    assert "can be used here: search." in text
    asked = {**ASKED, "metadata": "tenant=acme", "_confirm": "1"}
    assert errors(operator.post(url("replay_matching"), asked))
    assert Replay.objects.count() == 1


@pytest.mark.parametrize(
    "name", ["selection__metadata__tenant__startswith", "selection__contains", "selection"]
)
def test_metadata_of_a_selection_cannot_be_guessed_by_the_address(operator, failed, name):
    selection = {"metadata": {"tenant": "acme"}}
    Replay.objects.create(what="everything", actor="a", selection=selection)
    assert operator.get(list_url(Replay), {name: "a"}).status_code == 400


def test_receivers_are_for_who_may_see_runs(viewer, operator, failed):
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_receiverrun"))
    assert "what=receivers" not in text_of(operator.get(page_url(failed)))
    assert operator.get(replay_url(failed, what="receivers")).status_code == 403


def test_strangers_are_sent_to_the_login(client, failed):
    for address in (replay_url(failed), url("replay_matching"), url("replay_selected")):
        assert client.get(address).status_code == 302
        assert "login" in client.get(address).url


def test_a_post_needs_a_token(viewer, operator, failed):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(viewer)
    assert strict.post(replay_url(failed), {"reason": ""}).status_code == 403
    assert not Replay.objects.exists()
