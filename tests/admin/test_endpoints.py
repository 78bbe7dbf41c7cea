"""Endpoints run from the admin, against the emulator: registered, changed, pinged, deleted."""

from __future__ import annotations

import gc
import re
import time
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse

from gemini_webhooks import ciphers, clock, gateway, registration
from gemini_webhooks.admin.events import SENTENCES
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import add_url, delete_url, list_url, page_url, text_of
from tests.senders import StaticSender

pytest.importorskip("google.genai", reason="needs the extra [genai]")

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "test-key-that-is-shown-nowhere"
State = WebhookEndpoint.State
#: What Google and its emulator answer to a wrong key.
GOOGLES_WORDS = re.compile("API key (is )?not valid")


@pytest.fixture
def google(settings, live_server, monkeypatch):
    with EmulatorServer(job_seconds=0, api_key=KEY, retry_base=0.01, output="inline") as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": live_server.url,
            "API_KEYS": {"default": KEY, "unset": "", "refused": "wrong-key"},
            "FETCH_RESULTS": False,
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def endpoint(google):
    return registration.create("acme", name="Acme", subscribed_events=["batch.succeeded"])


@pytest.fixture
def refusing(settings, endpoint):
    """Google refuses every call about the endpoint."""
    settings.GEMINI_WEBHOOKS["API_KEYS"]["default"] = "wrong-key"


def url(name, row, *args):
    return reverse(f"admin:gemini_webhooks_webhookendpoint_{name}", args=[row.pk, *args])


def filled(**values):
    return {
        "slug": "acme",
        "name": "Acme",
        "subscribed_events": ["batch.succeeded", "video.generated"],
        "api_key_name": "default",
        "audiences": "first\n\n second \r\nfirst",
        **values,
    }


def values_of(endpoint):
    return {"name": endpoint.name, "uri": endpoint.uri, "subscribed_events": ["batch.failed"]}


def remote(endpoint):
    return gateway.get_webhook(api_key_name="default", webhook_id=endpoint.remote_id)


def messages_of(response):
    return [str(message) for message in response.context["messages"]]


def history():
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def with_permissions(user, *codenames):
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return logged_in(user)


# Creating


def test_every_event_of_the_catalogue_has_its_sentence():
    assert list(SENTENCES) == list(CATALOGUE)


def test_form_offers_all_events_and_the_names_of_keys_that_have_a_value(google, browser):
    text = text_of(browser.get(add_url(WebhookEndpoint)))

    for name, sentence in SENTENCES.items():
        assert f"<code>{name}</code>" in text
        assert str(sentence) in text
    assert text.count(" checked") == len(CATALOGUE)
    assert re.findall(r'<option value="(\w+)"', text) == ["default", "refused"]
    assert KEY not in text


def test_address_is_shown_before_anything_is_sent(google, browser, live_server):
    text = text_of(browser.post(add_url(WebhookEndpoint), filled()))
    assert f"{live_server.url}/webhooks/gemini/acme/" in text
    assert "batch.succeeded" in text
    assert "This is not HTTPS" in text
    assert not WebhookEndpoint.objects.exists()
    assert gateway.list_webhooks(api_key_name="default") == []


def test_confirming_what_was_shown_registers_it(google, browser, live_server):
    preview = text_of(browser.post(add_url(WebhookEndpoint), filled()))
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', preview)
    sent = {}
    for name, value in hidden:
        sent.setdefault(name, []).append(unescape(value))

    answer = browser.post(add_url(WebhookEndpoint), {**sent, "_confirm": "1"}, follow=True)

    endpoint = WebhookEndpoint.objects.get()
    assert answer.redirect_chain == [(page_url(endpoint), 302)]
    assert "registered at Google" in messages_of(answer)[0]
    assert endpoint.audiences == ["first", "second"]
    there = remote(endpoint)
    assert there.uri == endpoint.uri == f"{live_server.url}/webhooks/gemini/acme/"
    assert there.subscribed_events == ("batch.succeeded", "video.generated")
    assert history() == ["Registered at Google."]


def test_going_back_keeps_the_input_and_sends_nothing(google, browser):
    text = text_of(browser.post(add_url(WebhookEndpoint), filled(_back="1")))

    assert 'name="slug" value="acme"' in text
    assert text.count(" checked") == 2
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"slug": "not a slug"}, "Enter a valid “slug”"),
        ({"subscribed_events": []}, "This field is required"),
        ({"subscribed_events": ["batch.invented"]}, "Select a valid choice"),
        ({"api_key_name": "unset"}, "Select a valid choice"),
    ],
)
def test_input_that_is_not_valid_is_refused_and_kept(google, browser, values, words):
    text = unescape(text_of(browser.post(add_url(WebhookEndpoint), filled(**values, _confirm="1"))))

    assert words in text
    assert 'name="name" value="Acme"' in text
    assert not WebhookEndpoint.objects.exists()


def test_slug_that_is_taken_is_refused(endpoint, browser):
    assert "this slug already" in text_of(browser.post(add_url(WebhookEndpoint), filled()))


def test_what_google_says_is_shown_and_nothing_is_left(google, browser):
    asked = filled(api_key_name="refused", _confirm="1")
    text = unescape(text_of(browser.post(add_url(WebhookEndpoint), asked)))

    assert "Google did not register the webhook: " in text
    assert GOOGLES_WORDS.search(text)
    assert 'name="slug" value="acme"' in text
    assert "wrong-key" not in text
    assert not WebhookEndpoint.objects.exists()
    assert history() == []


def test_missing_base_url_is_shown_with_the_form(google, browser, settings):
    settings.GEMINI_WEBHOOKS["PUBLIC_BASE_URL"] = None
    text = unescape(text_of(browser.post(add_url(WebhookEndpoint), filled())))

    assert 'Set GEMINI_WEBHOOKS["PUBLIC_BASE_URL"]' in text
    assert 'name="slug" value="acme"' in text


def test_site_without_a_key_is_told_so(google, browser, settings):
    settings.GEMINI_WEBHOOKS["API_KEYS"] = {"default": ""}

    assert "No key in API_KEYS has a value" in text_of(browser.get(add_url(WebhookEndpoint)))


# Editing


def test_form_shows_what_is_and_says_when_the_uri_is_not_ours(endpoint, browser):
    assert "is not the URI" not in text_of(browser.get(url("edit", endpoint)))
    WebhookEndpoint.objects.update(
        uri="https://elsewhere.example/", subscribed_events=["batch.succeeded", "music.generated"]
    )

    text = text_of(browser.get(url("edit", endpoint)))

    assert "is not the URI" in text
    assert "<code>music.generated</code>" in text
    assert text.count(" checked") == 2


def test_form_opens_while_the_base_url_is_missing(endpoint, browser, settings):
    settings.GEMINI_WEBHOOKS["PUBLIC_BASE_URL"] = None

    assert endpoint.uri in text_of(browser.get(url("edit", endpoint)))


def test_edit_changes_both_sides(endpoint, browser):
    values = {**values_of(endpoint), "name": "", "uri": "https://new.example/hook/"}

    answer = browser.post(url("edit", endpoint), values, follow=True)

    endpoint.refresh_from_db()
    there = remote(endpoint)
    assert messages_of(answer) == ["Saved here and at Google."]
    assert (endpoint.name, there.name) == ("acme", "acme")
    assert endpoint.uri == there.uri == "https://new.example/hook/"
    assert there.subscribed_events == ("batch.failed",)
    assert history() == ["Changed Name, URI and Events."]


@pytest.mark.parametrize("typed", ["two\r\n\r\n one \r\ntwo", ""])
def test_edit_of_audiences_alone_does_not_need_google(endpoint, browser, refusing, typed):
    WebhookEndpoint.objects.update(audiences=["one"])
    form = text_of(browser.get(url("edit", endpoint)))
    assert re.search(r"<textarea[^>]*>\s*one</textarea>", form)
    values = {"name": "Acme", "uri": endpoint.uri, "subscribed_events": ["batch.succeeded"]}

    answer = browser.post(url("edit", endpoint), {**values, "audiences": typed}, follow=True)

    assert messages_of(answer) == [
        "Saved here. Google is not told the audiences, so it was not called."
    ]
    endpoint.refresh_from_db()
    assert endpoint.audiences == (["two", "one"] if typed else [])
    assert history() == ["Changed Audiences."]


def test_edit_that_google_refuses_changes_nothing_and_keeps_the_input(endpoint, browser, refusing):
    values = {**values_of(endpoint), "name": "Other"}
    text = unescape(text_of(browser.post(url("edit", endpoint), values)))

    assert GOOGLES_WORDS.search(text)
    assert 'name="name" value="Other"' in text
    endpoint.refresh_from_db()
    assert (endpoint.name, endpoint.subscribed_events) == ("Acme", ["batch.succeeded"])
    assert history() == []


def test_page_says_what_each_subscribed_event_means(endpoint, browser):
    WebhookEndpoint.objects.update(subscribed_events=["video.generated", "music.generated", 7])
    text = text_of(browser.get(page_url(endpoint)))

    assert re.findall("<li><code>(.*?)</code>", text) == ["video.generated", "music.generated"]
    assert "A video is ready to be fetched." in text
    assert "A type that this version does not know" in text

    WebhookEndpoint.objects.update(subscribed_events={"not": "a list"})
    assert '<span class="gw-note">None.</span>' in text_of(browser.get(page_url(endpoint)))


# Switching


def test_disable_and_enable(endpoint, browser):
    browser.post(url("disable", endpoint))
    endpoint.refresh_from_db()
    assert endpoint.state == remote(endpoint).state == State.DISABLED
    text = text_of(browser.get(page_url(endpoint)))
    assert 'value="Enable"' in text
    assert 'value="Ping"' not in text

    browser.post(url("enable", endpoint))
    endpoint.refresh_from_db()
    assert endpoint.state == remote(endpoint).state == State.ENABLED
    assert 'value="Disable"' in text_of(browser.get(page_url(endpoint)))
    assert history() == ["Disabled.", "Enabled."]


def test_endpoint_that_google_switched_off_can_be_taken_up_again(endpoint, browser):
    WebhookEndpoint.objects.update(state=State.DISABLED_BY_GOOGLE)
    text = text_of(browser.get(page_url(endpoint)))
    assert "Google switched “Acme” off" in text
    assert text.count('value="Take up again"') == 1

    browser.post(url("enable", endpoint))

    endpoint.refresh_from_db()
    assert endpoint.state == State.ENABLED


@pytest.mark.parametrize("name", ["enable", "ping"])
def test_button_that_google_refuses_changes_nothing(endpoint, browser, refusing, name):
    answer = browser.post(url(name, endpoint), follow=True)

    assert GOOGLES_WORDS.search(messages_of(answer)[0])
    endpoint.refresh_from_db()
    assert endpoint.state == State.ENABLED
    assert history() == []


# Pinging


def test_page_waits_for_the_ping_until_it_came_back(google, endpoint, browser):
    before = StaticSender(
        path="/webhooks/gemini/acme/",
        secret=ciphers.decrypt(endpoint.signing_secrets.get().ciphertext),
    )
    before.post(webhook_id="came-before")

    answer = browser.post(url("ping", endpoint))
    assert google.emulator.outbox.wait_idle(20)

    text = text_of(browser.get(answer.url))
    assert "The ping came back." in text
    assert 'http-equiv="refresh"' not in text
    assert page_url(WebhookDelivery.objects.exclude(webhook_id="came-before").get()) in text
    assert history() == ["Pinged."]


def test_page_refreshes_itself_for_twenty_seconds_then_says_what_to_check(endpoint, browser):
    now = int(time.time())

    waiting = text_of(browser.get(url("pinged", endpoint, now, 0, 0)))
    over = text_of(browser.get(url("pinged", endpoint, now - 21, 0, 0)))

    assert '<meta http-equiv="refresh" content="2">' in waiting
    assert 'http-equiv="refresh"' not in over
    assert "Nothing was accepted so far." in over
    assert endpoint.uri in over


def test_page_shows_that_the_ping_was_refused_here(google, endpoint, browser):
    SigningSecret.objects.update(revoked_at=clock.now())

    answer = browser.post(url("ping", endpoint))

    deadline = time.monotonic() + 20
    text = text_of(browser.get(answer.url))
    while "was refused meanwhile" not in text and time.monotonic() < deadline:
        text = text_of(browser.get(answer.url))
    assert "was refused meanwhile" in text
    assert "/rejectedrequest/" in text


def test_delivery_at_another_endpoint_is_no_answer(endpoint, browser):
    rows.delivery(endpoint=rows.endpoint("other"))

    text = text_of(browser.get(url("pinged", endpoint, int(time.time()), 0, 0)))

    assert "The ping came back." not in text


def test_find_of_the_reconciler_is_no_answer(endpoint, browser):
    rows.delivery(endpoint=endpoint, source=WebhookDelivery.Source.RECONCILER)

    text = text_of(browser.get(url("pinged", endpoint, int(time.time()), 0, 0)))

    assert "waiting for it to arrive" in text


def test_event_about_a_job_is_shown_until_the_ping_came(endpoint, browser):
    page = url("pinged", endpoint, int(time.time()), 0, 0)
    job = rows.delivery(endpoint=endpoint, event_type="batch.succeeded")
    text = text_of(browser.get(page))
    assert "An event arrived and was accepted; the ping itself did not come yet." in text
    assert "The ping came back." not in text
    assert page_url(job) in text
    assert "Look again" in text

    ping = rows.delivery(2, endpoint=endpoint, event_type="")
    text = text_of(browser.get(page))
    assert "The ping came back." in text
    assert page_url(ping) in text


HUGE = 10**400


@pytest.mark.parametrize("sent", [HUGE, 0, None], ids=["huge", "long ago", "in the future"])
def test_page_with_an_address_that_no_ping_made(endpoint, browser, sent):
    sent = int(time.time()) + 1000 if sent is None else sent

    text = text_of(browser.get(url("pinged", endpoint, sent, HUGE, 2**63)))

    assert "Nothing was accepted so far." in text
    assert 'http-equiv="refresh"' not in text


def test_page_of_an_endpoint_whose_id_no_database_can_hold(endpoint, browser):
    page = url("pinged", endpoint, 0, 0, 0).replace(f"/{endpoint.pk}/", f"/{HUGE}/")

    assert browser.get(page).status_code == 404


# Deleting


def test_delete_says_what_will_happen_and_then_does_it(endpoint, browser):
    rows.delivery(endpoint=endpoint)
    text = text_of(browser.get(delete_url(endpoint)))
    assert endpoint.remote_id in text
    assert "1 delivery that came in here is kept." in text
    assert WebhookEndpoint.objects.exists()

    answer = browser.post(delete_url(endpoint), follow=True)

    assert answer.redirect_chain == [(list_url(WebhookEndpoint), 302)]
    assert messages_of(answer) == ["“Acme” is deleted, here and at Google."]
    assert gateway.list_webhooks(api_key_name="default") == []
    assert not WebhookEndpoint.objects.exists()
    assert WebhookDelivery.objects.get().endpoint is None
    entry = LogEntry.objects.get()
    assert (entry.is_deletion(), entry.object_id, entry.object_repr) == (
        True,
        str(endpoint.pk),
        "Acme",
    )


def test_delete_that_google_refuses_deletes_nothing(endpoint, browser, refusing):
    answer = browser.post(delete_url(endpoint))

    assert GOOGLES_WORDS.search(messages_of(answer)[0])
    assert SigningSecret.objects.filter(endpoint=endpoint).exists()
    assert history() == []


def test_endpoint_whose_key_is_gone_can_be_removed_here_only(endpoint, browser, refusing):
    button = 'name="_only_here"'
    assert button not in text_of(browser.get(delete_url(endpoint)))
    assert button in text_of(browser.post(delete_url(endpoint)))

    answer = browser.post(delete_url(endpoint), {"_only_here": "1"}, follow=True)

    assert messages_of(answer) == [
        "“Acme” is removed here; at Google it stays until you delete it there."
    ]
    assert not WebhookEndpoint.objects.exists()
    assert LogEntry.objects.get().is_deletion()


def test_passing_trouble_at_google_is_no_reason_to_remove_it_here_only(google, endpoint, browser):
    google.emulator.faults.fail_next(method="DELETE", status=503, times=5)

    assert 'name="_only_here"' not in text_of(browser.post(delete_url(endpoint)))


def test_endpoint_whose_key_is_gone_is_closed_here(endpoint, browser, refusing):
    answer = browser.post(url("disable", endpoint), follow=True)

    [message] = answer.context["messages"]
    assert (message.level_tag, str(message)[:14]) == ("warning", "Disabled here:")
    endpoint.refresh_from_db()
    assert endpoint.state == State.DISABLED
    assert history() == ["Disabled here only."]


def test_delete_of_one_that_google_does_not_know_is_no_obstacle(endpoint, browser):
    gateway.delete_webhook(api_key_name="default", webhook_id=endpoint.remote_id)

    browser.post(delete_url(endpoint))

    assert not WebhookEndpoint.objects.exists()


# Who may do what

CHANGING = ["edit", "rotate", "enable", "disable", "ping"]


def stored():
    return list(WebhookEndpoint.objects.values()), list(SigningSecret.objects.values())


@pytest.mark.parametrize("name", [*CHANGING, "delete"])
def test_who_may_only_look_can_do_nothing(endpoint, viewer, name):
    before, there = stored(), remote(endpoint)
    looking = with_permissions(viewer, "add_webhookendpoint")

    assert looking.post(url(name, endpoint), values_of(endpoint)).status_code == 403
    assert stored() == before
    assert remote(endpoint) == there
    text = text_of(looking.get(page_url(endpoint)))
    assert url(name, endpoint) not in text


def test_who_may_only_look_cannot_add(google, viewer):
    looking = logged_in(viewer)

    assert looking.get(add_url(WebhookEndpoint)).status_code == 403
    assert looking.post(add_url(WebhookEndpoint), filled(_confirm="1")).status_code == 403
    assert "addlink" not in text_of(looking.get(list_url(WebhookEndpoint)))


def test_add_change_and_delete_are_permissions_of_their_own(endpoint, django_user_model):
    def user(name, *codenames):
        staff = django_user_model.objects.create_user(name, is_staff=True)
        return with_permissions(staff, "view_webhookendpoint", *codenames)

    adds, changes, deletes = (
        user(verb, f"{verb}_webhookendpoint") for verb in ("add", "change", "delete")
    )
    assert adds.get(add_url(WebhookEndpoint)).status_code == 200
    assert changes.get(add_url(WebhookEndpoint)).status_code == 403
    assert changes.get(url("edit", endpoint)).status_code == 200
    assert changes.get(delete_url(endpoint)).status_code == 403
    assert deletes.get(url("edit", endpoint)).status_code == 403
    assert deletes.get(delete_url(endpoint)).status_code == 200


@pytest.mark.parametrize("name", [*CHANGING, "delete"])
def test_strangers_are_sent_to_the_login(endpoint, name):
    answer = Client().post(url(name, endpoint))

    assert answer.status_code == 302
    assert "/login/?next=" in answer.url


def test_looking_changes_nothing(endpoint, browser):
    before, there = stored(), remote(endpoint)
    for name in ["enable", "disable", "ping"]:
        assert browser.get(url(name, endpoint)).status_code == 405
    for name in ["edit", "rotate", "delete", "verified"]:
        assert browser.get(url(name, endpoint)).status_code == 200

    assert (stored(), remote(endpoint), history()) == (before, there, [])


def test_post_without_the_csrf_token_is_refused(endpoint, superuser):
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(superuser)

    for name in [*CHANGING, "delete"]:
        assert careful.post(url(name, endpoint)).status_code == 403
    assert careful.post(add_url(WebhookEndpoint), filled(_confirm="1")).status_code == 403


def test_endpoint_that_is_gone_is_not_found(endpoint, browser):
    endpoint.pk += 1
    for name in ["edit", "rotate", "delete"]:
        assert browser.get(url(name, endpoint)).status_code == 404


# What every page promises


def test_google_is_never_called_inside_a_transaction(google, browser, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    called = []

    def spied(name):
        original = getattr(gateway, name)

        def call(**values):
            called.append((name, connection.in_atomic_block))
            return original(**values)

        monkeypatch.setattr(gateway, name, call)

    calls = [
        "create_webhook", "update_webhook", "rotate_secret", "ping_webhook", "delete_webhook",
    ]  # fmt: skip
    for name in calls:
        spied(name)
    browser.post(add_url(WebhookEndpoint), filled(_confirm="1"))
    endpoint = WebhookEndpoint.objects.get()
    browser.post(url("edit", endpoint), values_of(endpoint))
    browser.post(url("disable", endpoint))
    browser.post(url("enable", endpoint))
    browser.post(url("rotate", endpoint), {"when": "grace"})
    browser.post(url("ping", endpoint))
    assert google.emulator.outbox.wait_idle(20)
    browser.post(delete_url(endpoint))

    names = [name for name, _ in called]
    assert names == [calls[0], calls[1], calls[1], calls[1], *calls[2:]]
    assert not any(inside for _, inside in called)


@pytest.mark.parametrize("use_tz", [True, False])
def test_no_page_or_history_shows_a_secret_or_needs_inline_code(
    google, endpoint, browser, settings, use_tz
):
    settings.USE_TZ = use_tz
    shown = [
        text_of(browser.post(url("rotate", endpoint), {"when": when}, follow=True))
        for when in ("grace", "at-once")
    ]
    pages = ["change", "edit", "rotate", "delete", "verified", "history"]
    shown += [text_of(browser.get(url(name, endpoint))) for name in pages]
    shown += [text_of(browser.get(add_url(WebhookEndpoint)))]
    shown += [text_of(browser.post(add_url(WebhookEndpoint), filled(slug="other")))]
    shown += [text_of(browser.get(url("pinged", endpoint, int(time.time()), 0, 0)))]
    hidden = [KEY]
    for secret in SigningSecret.objects.all():
        hidden += [secret.ciphertext, ciphers.decrypt(secret.ciphertext)]

    assert len(hidden) == 7
    for text in [*shown, *history()]:
        assert not [value for value in hidden if value in text]
        assert not re.search(r"<script(?![^>]*\bsrc=)|<[^>]*\s(style|on\w+)=", text)


def test_hostile_rows_are_shown_and_run_nothing(google, browser):
    endpoint = rows.hostile_family()[0]
    for name in ["change", "edit", "rotate", "delete", "verified"]:
        text = text_of(browser.get(url(name, endpoint)))
        assert "<script>alert" not in text
        assert 'href="javascript:' not in text
