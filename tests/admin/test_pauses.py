"""Pausing and resuming from the admin: what is asked, who may, what is shown."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.urls import reverse

from gemini_webhooks import clock, dispatch, pausing
from gemini_webhooks.models import Pause, ReceiverRun
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import add_url, list_url, page_url, text_of

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "shop.receivers.store_rows"


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """What would go to the broker."""
    handoffs = []
    monkeypatch.setattr(dispatch, "_publish", lambda found: not handoffs.extend(found))
    return handoffs


@pytest.fixture
def ran():
    """A receiver that has run."""
    rows.run(rows.delivery())


def held(by, count=1, start=100):
    return [
        rows.run(
            rows.delivery(number, state="processing"),
            state=ReceiverRun.State.PENDING,
            held_by=by.pk,
            held_at=clock.now(),
        )
        for number in range(start, start + count)
    ]


def resume_url(pause):
    return reverse("admin:gemini_webhooks_pause_resume", args=[pause.pk])


def history():
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def messages_of(response):
    return [str(message) for message in response.context["messages"]]


def with_permissions(user, *codenames):
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return logged_in(user)


def options(text):
    return [unescape(value) for value in re.findall(r'<option value="([^"]*)"', text)]


# Pausing


def test_form_offers_what_is_known_and_not_paused(browser, ran):
    rows.endpoint("orders")
    rows.endpoint("bills")
    rows.run(rows.delivery(2), receiver="result_ready:read")

    offered = options(text_of(browser.get(add_url(Pause))))
    assert offered == [
        "",
        "receiver:result_ready:read",
        f"receiver:{RECEIVER}",
        "root",
        "endpoint:bills",
        "endpoint:orders",
    ]

    for paused in ({"receiver": RECEIVER}, {"endpoint": "bills"}, {"root": True}):
        pausing.pause(**paused, actor="ada")
    assert options(text_of(browser.get(add_url(Pause)))) == [
        "",
        "receiver:result_ready:read",
        "endpoint:orders",
    ]


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (f"receiver:{RECEIVER}", RECEIVER),
        ("endpoint:orders", "Orders"),
        ("root", "root endpoint"),
    ],
)
def test_pausing(browser, ran, what, name):
    rows.endpoint("orders")
    answer = browser.post(add_url(Pause), {"what": what, "reason": "down"}, follow=True)

    pause = Pause.objects.get()
    assert answer.redirect_chain == [(page_url(pause), 302)]
    assert messages_of(answer) == [f"“{name}” is paused. What becomes due is held."]
    assert (str(pause), pause.paused_by, pause.reason) == (name, "root", "down")
    assert history() == ["Paused."]


@pytest.mark.parametrize(
    "what", ["", "receiver:unheard-of", "endpoint:nowhere", "nonsense", "a\0b"]
)
def test_what_is_not_offered_is_refused(browser, ran, what):
    text = text_of(browser.post(add_url(Pause), {"what": what, "reason": "kept"}))

    assert "This field is required" in text or "Select a valid choice" in text
    assert 'value="kept"' in text
    assert not Pause.objects.exists()


def test_what_was_paused_meanwhile_is_told(browser, ran, monkeypatch):
    real = pausing.pause

    def meanwhile(**what):
        real(**{**what, "actor": "eve"})
        return real(**what)

    monkeypatch.setattr(pausing, "pause", meanwhile)
    answer = browser.post(add_url(Pause), {"what": "root"})

    assert "“root endpoint” is paused already, since " in text_of(answer)
    assert "by eve." in text_of(answer)
    assert history() == []


# Resuming


def test_resuming(browser, sent):
    pause = rows.pause()
    [run] = held(pause)
    text = text_of(browser.get(resume_url(pause)))
    assert "1 run is held." in text

    answer = browser.post(resume_url(pause), {"rate": ""}, follow=True)

    assert answer.redirect_chain == [(page_url(pause), 302)]
    assert messages_of(answer) == ["Resumed, as fast as the workers can."]
    assert [handoff.id for handoff in sent] == [run.pk]
    pause.refresh_from_db()
    assert pause.resumed_by == "root"
    assert pause.ended_at
    assert history() == ["Resumed, as fast as the workers can."]
    assert "This pause has ended" in text_of(browser.get(resume_url(pause)))
    late = text_of(browser.post(resume_url(pause), {}))
    assert "This pause has ended" in late


def test_resuming_at_a_rate_that_is_changed(browser):
    pause = rows.pause()
    held(pause, 400)
    assert messages_of(browser.post(resume_url(pause), {"rate": "60"}, follow=True)) == [
        "Resumed, 60 runs per minute."
    ]
    assert "letting go: 60 of 400" in text_of(browser.get(page_url(pause)))

    text = text_of(browser.get(resume_url(pause)))
    assert "340 runs are held." in text
    assert 'name="rate" value="60"' in text
    assert "Go on at this rate" in text
    browser.post(resume_url(pause), {"rate": "1"})
    assert history() == ["Resumed, 60 runs per minute.", "Resumed, 1 run per minute."]


@pytest.mark.parametrize("rate", ["0", "-5", "1000001", "fast", "1.5", "9" * 99])
def test_rate_that_is_none(browser, rate):
    pause = rows.pause()
    text = text_of(browser.post(resume_url(pause), {"rate": rate}))

    assert "errornote" in text
    pause.refresh_from_db()
    assert pause.resumed_at is None


def test_pause_that_ends_while_it_is_resumed(browser, monkeypatch):
    pause = rows.pause()
    monkeypatch.setattr(pausing.pauses, "lift", lambda *_, **__: False)

    assert "has ended before" in text_of(browser.post(resume_url(pause), {}))


def test_pause_that_is_not_there(browser):
    assert browser.get("/admin/gemini_webhooks/pause/77/resume/").status_code == 404


# What is shown


def test_list_shows_what_is_paused_first(browser):
    now = clock.now()
    for name, values in {
        "long-ago": {"resumed_at": now, "ended_at": clock.after(-99), "released": 3},
        "lately": {"resumed_at": now, "ended_at": now, "released": 3},
        "going": {"resumed_at": now, "released": 1},
        "first": {"paused_at": clock.after(-99)},
        "second": {},
    }.items():
        rows.pause(name, **values)
    held(Pause.objects.get(receiver="going"), 2)

    text = text_of(browser.get(list_url(Pause)))

    shown = re.findall(r'pause/\d+/change/">([\w-]+)<', text)
    assert shown == ["second", "first", "going", "lately", "long-ago"]
    assert "letting go: 1 of 3" in text
    assert "The ledger is down." in text


def test_page_leads_to_the_runs_that_are_held(browser):
    pause = rows.pause()
    one, other = held(pause, 2)
    rows.run(rows.delivery(7), receiver="somebody.else")

    url = re.search(r'href="([^"]*held_by__exact[^"]*)"', text_of(browser.get(page_url(pause))))[1]
    text = text_of(browser.get(unescape(url)))

    assert one.delivery.webhook_id in text
    assert other.delivery.webhook_id in text
    assert "somebody.else" not in text
    assert "once it is let go: a pause holds it" in text


def test_page_offers_what_can_be_done(browser):
    pause = rows.pause()
    text = text_of(browser.get(page_url(pause)))
    assert resume_url(pause) in text
    assert "Pause again" not in text

    held(pause, 2)
    browser.post(resume_url(pause), {"rate": "1"})
    going = text_of(browser.get(page_url(pause)))
    assert "Change the rate" in going
    again = unescape(re.search(r'href="([^"]*)">Pause again', going)[1])
    form = text_of(browser.get(again))
    assert f'value="receiver:{RECEIVER}" selected' in form

    pausing.resume(pause, actor="ada")
    ended = text_of(browser.get(page_url(pause)))
    assert "ended" in ended
    assert resume_url(pause) not in ended
    assert "Pause again" in ended


def test_endpoint_s_page_tells_of_its_pause(browser):
    endpoint = rows.endpoint("orders")
    offer = re.search(r'href="([^"]*)">Pause processing', text_of(browser.get(page_url(endpoint))))
    form = text_of(browser.get(unescape(offer[1])))
    assert 'value="endpoint:orders" selected' in form

    pause = pausing.pause(endpoint="orders", actor="ada", reason="Spring <clean>")
    held(pause, 3)
    text = text_of(browser.get(page_url(endpoint)))
    assert "Processing is paused since" in text
    assert "3 runs are held." in text
    assert "Reason: Spring &lt;clean&gt;" in text
    assert resume_url(pause) in text
    assert page_url(pause) in text
    assert "Pause processing" not in text

    pausing.resume(pause, rate=1, actor="ada")
    going = text_of(browser.get(page_url(endpoint)))
    assert "Processing is resumed; 2 runs are still held." in going
    assert "Change the rate" in going
    assert "Pause processing" in going

    pausing.resume(pause, actor="ada")
    assert "Processing is" not in text_of(browser.get(page_url(endpoint)))


# Who may


def test_who_may_only_look(viewer, client):
    endpoint = rows.endpoint("orders")
    pause = pausing.pause(endpoint="orders", actor="ada")
    client.force_login(viewer)

    text = text_of(client.get(page_url(endpoint)))
    assert "Processing is paused since" in text
    assert page_url(pause) in text
    assert resume_url(pause) not in text
    assert resume_url(pause) not in text_of(client.get(page_url(pause)))
    for url in (add_url(Pause), resume_url(pause)):
        assert client.get(url).status_code == 403
        assert client.post(url, {"what": "root"}).status_code == 403
    assert Pause.objects.get().resumed_at is None


def test_each_has_its_permission(viewer, ran):
    pauser = with_permissions(viewer, "add_pause")
    pauser.post(add_url(Pause), {"what": f"receiver:{RECEIVER}"})
    pause = Pause.objects.get()
    assert pauser.post(resume_url(pause), {}).status_code == 403

    viewer.user_permissions.remove(Permission.objects.get(codename="add_pause"))
    resumer = with_permissions(viewer, "change_pause")
    assert resumer.post(add_url(Pause), {"what": "root"}).status_code == 403
    assert resumer.post(resume_url(pause), {}).status_code == 302
    pause.refresh_from_db()
    assert pause.ended_at


def test_who_may_pause_and_not_look_goes_home(django_user_model, ran):
    user = django_user_model.objects.create_user("pauser", is_staff=True)
    answer = with_permissions(user, "add_pause").post(add_url(Pause), {"what": "root"})

    assert (answer.status_code, answer.url) == (302, "/admin/")
    assert Pause.objects.get().paused_by == "pauser"
