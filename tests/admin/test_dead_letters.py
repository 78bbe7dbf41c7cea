"""Dead letters in the admin: seen in groups, retried, muted; and by whom not."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gemini_webhooks import clock, failures
from gemini_webhooks.models import FailureGroup, ReceiverRun, Replay, WebhookDelivery
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import add_url, delete_url, list_url, page_url, text_of
from tests.admin.test_looking import INLINE_SCRIPT, STYLE_ATTRIBUTE
from tests.test_dead_letters import STORE, TELL, dead

pytestmark = pytest.mark.django_db

LIST = "/admin/gemini_webhooks/failuregroup/"
PAGES = ["group", "retry", "mute", "unmute"]
LONG = (rows.MARKUP * 20)[:255]


def url(name, receiver=STORE, error_class="KeyError"):
    path = reverse(f"admin:gemini_webhooks_failuregroup_{name}")
    return f"{path}?{urlencode({'receiver': receiver, 'error_class': error_class})}"


def said(response, client):
    """What the page says on which a POST ends."""
    assert response.status_code == 302, response.status_code
    return text_of(client.get(response.url))


def give(user, *permissions):
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    return type(user).objects.get(pk=user.pk)


# --- looking


def test_nothing_has_failed_for_good(anyone):
    assert "Nothing has failed for good." in text_of(anyone.get(LIST))


def test_the_index_leads_to_the_list(anyone):
    text = text_of(anyone.get("/admin/"))

    assert re.search(rf'<a href="{LIST}"[^>]*>Dead letters</a>', text)


def test_each_group_is_a_row(anyone):
    dead(STORE, count=3, at=clock.now() - timedelta(minutes=5))
    dead(TELL, "", count=2)
    dead(TELL, "Muted")
    failures.mute(TELL, "Muted", actor="ada")

    text = text_of(anyone.get(LIST))

    cells = [
        [cell for cell in re.split(r"\s*<[^>]*>\s*", row) if cell]
        for row in re.findall(r"<tr><td.*?</tr>", text, re.DOTALL)
    ]
    assert [row[:-2] for row in cells] == [
        [TELL, "error class not known", "2", "open"],
        [STORE, "KeyError", "3", "open"],
        [TELL, "Muted", "1", "muted"],
    ]
    folded = text.partition("<details")[2]
    assert "1 muted group" in folded
    assert "Muted</span>" in folded
    assert STORE not in folded


def test_all_is_muted(anyone):
    dead()
    failures.mute(STORE, "KeyError", actor="ada")

    assert "Nothing has failed for good but what is muted." in text_of(anyone.get(LIST))


def test_a_list_that_is_too_long_says_so(browser, monkeypatch):
    monkeypatch.setattr("gemini_webhooks.admin.failures.LIMIT", 2)
    for error_class in ("A", "B"):
        dead(error_class=error_class)
    assert "are shown" not in text_of(browser.get(LIST))
    dead(error_class="C")

    text = text_of(browser.get(LIST))

    assert "The 2 groups that failed last are shown." in text
    assert text.count("<tr><td") == 2


def test_the_page_of_a_group(browser):
    runs = dead(count=22, attempts=8)
    other = dead(TELL)[0]

    text = text_of(browser.get(url("group")))

    assert "KeyError: the payload says hunter2" in text  # as on the page of the run
    assert "Retry all 22" in text
    assert text.count("8 attempts</a>") == 20
    assert page_url(runs[-1]) in text
    assert page_url(runs[-1].delivery) in text
    assert page_url(runs[0]) not in text
    assert page_url(other) not in text


@pytest.mark.parametrize("error_class", ["KeyError", "", "a&b=c d\"'"])
def test_show_all_leads_to_the_runs_of_the_group(browser, error_class):
    runs = dead(error_class=error_class, count=2)
    dead(error_class="Other")
    dead(TELL, error_class)
    dead(error_class=error_class, state="succeeded")

    text = text_of(browser.get(url("group", error_class=error_class)))
    [address] = re.findall(r'href="([^"]*receiverrun/\?[^"]*)"', text)
    listed = text_of(browser.get(address.replace("&amp;", "&")))

    assert listed.count('class="field-delivery_link') == 2
    assert all(page_url(run) in listed for run in runs)


def test_links_are_only_for_who_may_follow_them(viewer):
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_webhookdelivery"))
    [run] = dead()

    text = text_of(logged_in(viewer).get(url("group")))

    assert run.delivery.webhook_id in text
    assert page_url(run.delivery) not in text
    assert page_url(run) in text


def test_an_error_that_is_gone_is_said_to_be(browser):
    dead(last_error="")

    assert "retention or an erasure removed it" in text_of(browser.get(url("group")))


def test_hostile_names_are_shown_and_do_nothing(browser):
    dead(LONG, LONG, last_error=rows.MARKUP)
    pages = [LIST, *(url(name, LONG, LONG) for name in ("group", "retry", "mute"))]
    failures.mute(LONG, LONG, actor=rows.MARKUP, reason=rows.MARKUP)

    for address in pages:
        text = text_of(browser.get(address))
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert not INLINE_SCRIPT.search(text)
        assert not STYLE_ATTRIBUTE.search(text)
        assert "gemini_webhooks/admin.css" in text


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "query",
    ["", "receiver=", "receiver=a%00b", "receiver=a&error_class=%00", "receiver=" + "a" * 256],
)
def test_an_address_that_names_no_group_is_not_found(browser, name, query):
    dead("a")
    address = f"{LIST}{name}/?{query}"

    assert (browser.post(address) if name == "unmute" else browser.get(address)).status_code == 404


@pytest.mark.parametrize("name", PAGES)
def test_a_group_that_is_gone_leads_to_the_list(browser, name):
    response = browser.post(url(name)) if name == "unmute" else browser.get(url(name))

    assert "Nothing of that group is left" in said(response, browser)
    assert not FailureGroup.objects.exists()


def test_bytes_that_are_no_text_are_no_group(browser):
    assert browser.get(f"{LIST}group/?receiver=%ff%fe").status_code == 302


def test_a_list_and_a_page_take_few_queries(browser):
    dead()
    addresses = [LIST, url("group")]
    first = [queries(browser, address) for address in addresses]
    for number in range(30):
        dead(error_class=f"Error{number}")
    dead(count=30)

    assert [queries(browser, address) for address in addresses] == first


def queries(browser, address):
    with CaptureQueriesContext(connection) as captured:
        text_of(browser.get(address))
    assert not [query for query in captured if '"user_metadata"' in query["sql"]]
    return len(captured)


def test_it_works_without_time_zones(browser, settings):
    settings.USE_TZ = False
    dead(at=clock.now())

    assert "KeyError" in text_of(browser.get(LIST))
    assert "KeyError" in text_of(browser.get(url("group")))
    until = (clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    said(browser.post(url("mute"), {"until": until}), browser)
    assert FailureGroup.objects.get().muted_until.strftime("%Y-%m-%dT%H:%M") == until


# --- retrying


def test_a_group_is_retried_after_it_was_confirmed(browser):
    runs = dead(count=3)
    dead(error_class="Other")
    dead(TELL)

    page = text_of(browser.get(url("retry")))
    assert "3 deliveries" in page
    assert 'value="Retry all 3"' in page
    assert not Replay.objects.exists()

    response = browser.post(url("retry"), {"rate": "60", "reason": "mended"})

    replay = Replay.objects.get()
    assert response.url == page_url(replay)
    assert "3 deliveries are being retried." in said(response, browser)
    assert (replay.total, replay.rate, replay.reason) == (3, 60, "mended")
    assert (replay.actor, replay.what, replay.receivers) == ("root", "receivers", [STORE])
    assert replay.selection == {"receiver": STORE, "error_class": "KeyError"}
    assert {run.state for run in runs} == {"dead"}


def test_of_a_delivery_that_failed_twice_only_the_group_is_meant(browser):
    [run] = dead()
    rows.run(run.delivery, TELL, state="dead", error_class="KeyError", finished_at=clock.now())

    browser.post(url("retry"))

    assert Replay.objects.get().receivers == [STORE]


def test_without_a_class_whatever_failed_in_the_receiver_is_meant(browser):
    dead(error_class="")
    dead(error_class="KeyError")

    page = text_of(browser.get(url("retry", error_class="")))
    assert "whatever else failed in this receiver runs again as well" in page
    browser.post(url("retry", error_class=""))

    replay = Replay.objects.get()
    assert (replay.selection, replay.total) == ({"receiver": STORE}, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", "0"), ("rate", "-1"), ("rate", "1e9"), ("rate", "9" * 30), ("reason", "x" * 501)],
)
def test_what_cannot_be_is_refused_in_words(browser, field, value):
    dead()

    page = text_of(browser.post(url("retry"), {field: value}))

    assert "Please correct the error below." in page
    assert not Replay.objects.exists()


def test_what_the_replay_refuses_is_shown(browser, monkeypatch):
    dead()

    def refuse(*_, **__):
        raise failures.NoSuchGroup("It cannot be done.")

    monkeypatch.setattr("gemini_webhooks.replay.start", refuse)

    assert "It cannot be done." in text_of(browser.post(url("retry")))


def test_a_muted_group_without_failures_has_nothing_to_retry(browser):
    [run] = dead()
    failures.mute(STORE, "KeyError", actor="ada")
    ReceiverRun.objects.filter(pk=run.pk).update(state="succeeded")

    page = text_of(browser.get(url("group")))

    assert "Nothing of this group fails now." in page
    assert "Retry" not in page
    assert browser.get(url("retry")).status_code == 302
    assert browser.post(url("retry")).status_code == 302
    assert not Replay.objects.exists()


def test_who_may_not_see_replays_is_led_to_the_list(viewer):
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_replay"))
    client = logged_in(give(viewer, "replay_webhookdelivery"))
    dead()

    response = client.post(url("retry"))

    assert response.url == LIST
    assert "1 delivery is being retried." in said(response, client)
    assert Replay.objects.get().actor == "viewer"


# --- muting


def test_a_group_is_muted_and_unmuted(browser):
    dead(count=2)
    assert 'value="Mute"' in text_of(browser.get(url("mute")))

    text = said(browser.post(url("mute"), {"reason": "known <b>"}), browser)

    assert "Muted by root since" in text
    assert "known &lt;b&gt;" in text
    assert failures.group(STORE, "KeyError").mute.by == "root"

    text = said(browser.post(url("unmute")), browser)
    assert "Not muted any more." in text
    assert 'value="Unmute"' not in text
    assert failures.group(STORE, "KeyError").mute is None
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")] == [
        "Muted.",
        "Unmuted.",
    ]
    row = FailureGroup.objects.get()
    history = reverse("admin:gemini_webhooks_failuregroup_history", args=[row.pk])
    assert history in text
    assert "Unmuted." in text_of(browser.get(history))


def test_a_mute_with_an_end(browser):
    dead()
    until = clock.now() + timedelta(days=1)
    local = f"{clock.aware(until).astimezone():%Y-%m-%dT%H:%M}"

    text = said(browser.post(url("mute"), {"until": local}), browser)

    assert "Muted by root until" in text
    assert failures.group(STORE, "KeyError").mute.until is not None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"until": "2020-01-01T00:00"}, "Choose a time in the future."),
        ({"until": "0001-01-01T00:00"}, "There is no such time."),
        ({"until": "soon"}, "Enter a valid date/time."),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"reason": "a\0b"}, "Null characters are not allowed."),
    ],
    ids=str,
)
def test_a_mute_that_cannot_be_is_refused_in_words(browser, data, error):
    dead()

    assert error in text_of(browser.post(url("mute"), data))
    assert not FailureGroup.objects.exists()


@pytest.mark.parametrize("emails", [False, ["ops@site.example"]])
def test_the_page_says_whether_e_mails_are_sent(browser, settings, emails):
    settings.GEMINI_WEBHOOKS = {"FAILURE_EMAILS": emails}
    dead()

    page = text_of(browser.get(url("mute")))

    assert ("FAILURE_EMAILS is not set" in page) == (not emails)


def test_unmuting_what_is_not_muted_changes_nothing(browser):
    dead()

    text = said(browser.post(url("unmute")), browser)

    assert "Not muted any more." not in text
    assert not LogEntry.objects.exists()


def test_unmuting_a_group_without_failures_leads_to_the_list(browser):
    [run] = dead()
    failures.mute(STORE, "KeyError", actor="ada")
    ReceiverRun.objects.filter(pk=run.pk).update(state="succeeded")

    assert browser.post(url("unmute")).url == LIST


# --- who may


def test_who_may_not_see_runs_sees_no_dead_letters(viewer):
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_receiverrun"))
    client = logged_in(give(viewer, "replay_webhookdelivery", "change_failuregroup"))
    dead()

    assert client.get(LIST).status_code == 403
    for name in PAGES:
        assert client.post(url(name)).status_code == 403
    assert LIST not in client.get("/admin/").content.decode()
    assert not Replay.objects.exists()
    assert not FailureGroup.objects.exists()


def test_who_may_only_look_has_no_buttons(viewer):
    client = logged_in(viewer)
    dead()

    page = text_of(client.get(url("group")))

    assert "Retry all" not in page
    assert "Retry it" not in page
    assert ">Mute<" not in page
    for name in ("retry", "mute", "unmute"):
        assert client.get(url(name)).status_code in (403, 405)
        assert client.post(url(name)).status_code == 403
    assert not Replay.objects.exists()
    assert not FailureGroup.objects.exists()


@pytest.mark.parametrize(
    ("permission", "may", "may_not"),
    [("replay_webhookdelivery", "retry", "mute"), ("change_failuregroup", "mute", "retry")],
)
def test_each_button_has_a_permission_of_its_own(viewer, permission, may, may_not):
    client = logged_in(give(viewer, permission))
    dead()

    page = text_of(client.get(url("group")))

    assert reverse(f"admin:gemini_webhooks_failuregroup_{may}") in page
    assert reverse(f"admin:gemini_webhooks_failuregroup_{may_not}") not in page
    assert client.get(url(may)).status_code == 200
    assert client.get(url(may_not)).status_code == 403
    assert client.post(url(may_not)).status_code == 403


def test_a_change_is_a_post(browser):
    dead()

    assert browser.get(url("unmute")).status_code == 405
    browser.get(url("retry"))
    browser.get(url("mute"))
    assert not Replay.objects.exists()
    assert not FailureGroup.objects.exists()


def test_a_post_needs_the_token(superuser):
    from django.test import Client  # noqa: PLC0415  # the only one that checks it

    client = Client(enforce_csrf_checks=True)
    client.force_login(superuser)
    dead()

    for name in ("retry", "mute", "unmute"):
        assert client.post(url(name)).status_code == 403


def test_the_admin_s_own_pages_lead_to_ours(browser):
    dead()
    row = failures.mute(STORE, "KeyError", actor="ada")

    assert browser.get(page_url(row)).url == url("group")
    assert browser.post(page_url(row)).url == url("group")
    assert browser.get(add_url(FailureGroup)).status_code == 403
    assert browser.post(delete_url(row), {"post": "yes"}).status_code == 403
    asked = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    browser.post(list_url(FailureGroup), asked)
    assert FailureGroup.objects.get() == row
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.parametrize("key", ["99", "x", "%00"])
def test_a_row_that_is_not_there_leads_to_the_list(browser, key):
    assert browser.get(f"{LIST}{key}/change/").url == LIST
