"""Comparing with Google from the admin, and what a page says of an endpoint switched off."""

from __future__ import annotations

import gc
import re
from html import unescape

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse

from gemini_webhooks import clock, gateway, registration
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.models import WebhookEndpoint
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import add_url, delete_url, list_url, page_url, text_of
from tests.admin.test_endpoints import history, messages_of, url, with_permissions

pytest.importorskip("google.genai", reason="needs the extra [genai]")

pytestmark = pytest.mark.django_db(transaction=True)

KEY, OTHER_KEY = "first-project-key", "second-project-key"
OFF = WebhookEndpoint.State.DISABLED_BY_GOOGLE
SYNC = reverse("admin:gemini_webhooks_webhookendpoint_sync")


@pytest.fixture
def google(settings, monkeypatch):
    options = {"separate_projects": True, "output": "inline", "retry_base": 0, "max_tries": 1}
    with EmulatorServer(job_seconds=0, disable_after=1, **options) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": "http://127.0.0.1:9",
            "API_KEYS": {"default": KEY, "second": OTHER_KEY, "unset": ""},
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def endpoint(google):
    return registration.create("acme", name="Acme", subscribed_events=["batch.succeeded"])


@pytest.fixture
def switched_off(google, endpoint):
    """Google gave its events up; the site has not noticed yet."""
    registration.ping(endpoint)
    assert google.emulator.outbox.wait_idle(20)
    assert google.emulator.webhooks.get(endpoint.remote_id).state == OFF
    return endpoint


def made_elsewhere(key="default", **values):
    values = {"uri": "https://site.example/hooks/videos/", "name": "Videos", **values}
    return gateway.create_webhook(
        api_key_name=key, subscribed_events=["video.generated"], **values
    ).id


def drifted(endpoint, **values):
    gateway.update_webhook(api_key_name="default", webhook_id=endpoint.remote_id, **values)


def page(browser):
    return unescape(text_of(browser.get(SYNC)))


def section(text, key):
    return re.split(r"<h2[^>]*>API key ", text.partition(f"API key “{key}”")[2])[0]


def compared(browser):
    """Press the button of the list, and follow."""
    answer = browser.post(SYNC, follow=True)
    assert answer.redirect_chain == [(SYNC, 302)]
    return answer, unescape(text_of(answer))


def stored():
    return list(WebhookEndpoint.objects.order_by("pk").values())


# The list


def test_list_offers_the_comparison_to_who_may_change(endpoint, browser, viewer):
    assert f'action="{SYNC}"' in text_of(browser.get(list_url(WebhookEndpoint)))
    assert SYNC not in text_of(logged_in(viewer).get(list_url(WebhookEndpoint)))


def test_empty_list_says_what_to_do(google, browser, viewer):
    text = text_of(browser.get(list_url(WebhookEndpoint)))
    assert "No endpoints yet." in text
    assert "registers one at Google" in text
    assert "takes over what is registered there already" in text

    text = text_of(logged_in(viewer).get(list_url(WebhookEndpoint)))
    assert "No endpoints yet." in text
    assert "registers one" not in text

    WebhookEndpoint.objects.create(slug="acme")
    for query in ({}, {"q": "nothing"}, {"state": "disabled"}):
        text = text_of(browser.get(list_url(WebhookEndpoint), query))
        assert "No endpoints yet." not in text


# The page


def test_all_the_same(endpoint, browser):
    _, text = compared(browser)

    assert "1 endpoint is known on both sides." in section(text, "default")
    assert "All the same." in section(text, "default")
    assert "there is none on either side" in section(text, "second")
    assert "unset" not in text
    endpoint.refresh_from_db()
    assert clock.now() - endpoint.last_synced_at < clock.now() - clock.after(-60)


def test_what_only_google_has_is_taken_over_and_gets_a_secret_by_rotation(google, browser):
    made_elsewhere("second")
    looked = section(page(browser), "second")
    assert "Only Google has: videos." in looked
    assert not WebhookEndpoint.objects.exists()

    answer, text = compared(browser)

    adopted = WebhookEndpoint.objects.get()
    assert adopted.api_key_name == "second"
    assert messages_of(answer) == ["Compared. 1 endpoint was taken over from Google: videos."]
    assert history() == ["Taken over from Google."]
    assert "All the same" not in section(text, "second")
    assert url("rotate", adopted) in section(text, "second")
    assert page_url(adopted) in section(text, "second")
    registration.rotate(adopted)
    assert "All the same." in section(page(browser), "second")


def test_what_google_lost_is_to_be_deleted_here(endpoint, browser):
    gateway.delete_webhook(api_key_name="default", webhook_id=endpoint.remote_id)

    _, text = compared(browser)

    assert "was deleted at Google" in text
    assert delete_url(endpoint) in text
    assert url("rotate", endpoint) not in text
    browser.post(delete_url(endpoint))
    assert "there is none on either side" in page(browser)


def test_what_was_never_registered_is_to_be_deleted_or_taken_over(google, browser):
    bare = WebhookEndpoint.objects.create(slug="bare", state_changed_at=clock.now())

    text = section(page(browser), "default")

    assert "was never registered at Google, or its creation broke off" in text
    assert delete_url(bare) in text
    assert "All the same" not in text


def test_differences_stand_side_by_side_and_saving_mends_them(endpoint, browser):
    drifted(endpoint, name="Renamed <there>", subscribed_events=["batch.failed"])

    _, text = compared(browser)

    cells = re.findall(r"<td>(.*?)</td>", text)
    assert "name" in cells
    assert cells[cells.index("name") + 1 : cells.index("name") + 3] == ["Acme", "Renamed <there>"]
    assert cells[cells.index("subscribed_events") + 1] == "batch.succeeded"
    assert "<there>" not in text_of(browser.get(SYNC))
    assert text.count(url("edit", endpoint)) == 2
    values = {"name": "Acme", "uri": endpoint.uri, "subscribed_events": ["batch.succeeded"]}
    browser.post(url("edit", endpoint), values)
    assert "All the same." in page(browser)


@pytest.mark.parametrize(("here", "word"), [("disabled", "Disable"), ("enabled", "Enable")])
def test_state_that_differs_is_mended_by_its_button(endpoint, browser, here, word):
    registration.disable(endpoint)
    if here == "enabled":
        registration.enable(endpoint)
    drifted(endpoint, state="enabled" if here == "disabled" else "disabled")

    text = page(browser)
    [(action, label)] = re.findall(r'<td><form[^>]*action="([^"]*)">.*value="([^"]*)"', text)
    assert label == f"{word} at Google"
    browser.post(action)

    assert "All the same." in page(browser)
    endpoint.refresh_from_db()
    assert endpoint.state == here


def test_switched_off_is_explained_and_taken_up_again(google, switched_off, browser):
    rows.rejection(endpoint_slug="acme", diagnosis="The timestamp is <old>.")
    _, text = compared(browser)

    assert "Google switched “Acme” off at " in text
    assert "400 <code>timestamp_out_of_tolerance</code>" in text
    assert "Set the clock of this machine" in text
    assert "The newest: The timestamp is <old>." in text
    assert url("enable", switched_off) in text

    browser.post(url("enable", switched_off))

    assert "All the same." in page(browser)
    assert google.emulator.webhooks.get(switched_off.remote_id).state == "enabled"


def test_key_that_fails_is_explained_and_the_others_show(google, endpoint, browser, settings):
    WebhookEndpoint.objects.create(slug="lost", remote_id="webhook_1", api_key_name="removed")
    google.emulator.faults.fail_next(method="GET", path_contains="webhooks", status=403, times=1)

    text = page(browser)  # “default” is asked first

    assert "Fails on request with status 403." in section(text, "default")
    assert "known on both sides" not in section(text, "default")
    assert "there is none on either side" in section(text, "second")
    assert "There is no API key “removed” in API_KEYS." in section(text, "removed")
    assert KEY not in text


def test_site_without_a_key_is_told_so(google, browser, settings):
    settings.GEMINI_WEBHOOKS["API_KEYS"] = {"default": ""}

    assert "No key in API_KEYS has a value" in page(browser)


def test_loading_the_page_again_changes_nothing(google, switched_off, browser):
    made_elsewhere()
    drifted(switched_off, name="there")
    before, hooks = stored(), [hook.as_json() for hook in google.emulator.webhooks]

    first, second = (
        re.sub(r'csrfmiddlewaretoken" value="\w+"', "", page(browser)) for _ in range(2)
    )
    assert first == second

    assert stored() == before
    assert [hook.as_json() for hook in google.emulator.webhooks] == hooks
    assert history() == []


def test_comparing_needs_the_permission_to_change(google, endpoint, viewer, superuser):
    looking = with_permissions(viewer, "add_webhookendpoint", "delete_webhookendpoint")
    assert looking.get(SYNC).status_code == looking.post(SYNC).status_code == 403
    changing = with_permissions(viewer, "change_webhookendpoint")
    gateway.delete_webhook(api_key_name="default", webhook_id=endpoint.remote_id)
    assert changing.post(SYNC).status_code == 302
    assert delete_url(endpoint) in page(changing)

    careful = Client(enforce_csrf_checks=True)
    careful.force_login(superuser)
    assert careful.post(SYNC).status_code == 403
    assert "/login/?next=" in Client().post(SYNC).url


def test_google_is_never_asked_inside_a_transaction(google, endpoint, browser, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    listed, inside = gateway.list_webhooks, []

    def spied(**words):
        inside.append(connection.in_atomic_block)
        return listed(**words)

    monkeypatch.setattr(gateway, "list_webhooks", spied)
    compared(browser)

    assert inside == [False] * 4


@pytest.mark.parametrize("use_tz", [True, False])
def test_pages_need_no_inline_code(google, switched_off, browser, settings, use_tz):
    settings.USE_TZ = use_tz
    made_elsewhere()
    drifted(switched_off, name="there")
    gone = registration.create("gone")
    gateway.delete_webhook(api_key_name="default", webhook_id=gone.remote_id)
    rows.rejection(endpoint_slug="acme")
    compared(browser)

    for text in (text_of(browser.get(SYNC)), text_of(browser.get(page_url(switched_off)))):
        assert "Google switched" in text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<[^>]*\s(style|on\w+)=", text)
        assert KEY not in text


def test_hostile_rows_are_shown_and_run_nothing(google, browser):
    hostile = rows.hostile_family()[0]
    WebhookEndpoint.objects.filter(pk=hostile.pk).update(
        state=OFF, api_key_name="default", slug="hostile"
    )
    rows.rejection(endpoint_slug="hostile", reason=rows.MARKUP[:60], diagnosis=rows.MARKUP * 9)

    for address in (SYNC, page_url(hostile)):
        text = text_of(browser.get(address))
        assert "<script>alert" not in text
        assert 'href="javascript:' not in text


# The page of an endpoint


def test_page_of_an_endpoint_says_since_when_and_why(switched_off, browser, viewer):
    registration.sync()
    refused = rows.rejection(
        endpoint_slug="acme", reason="body_too_large", status=413, diagnosis="Too large."
    )
    rows.rejection(endpoint_slug="other", diagnosis="Of somebody else.")
    rows.delivery(endpoint=switched_off)

    text = unescape(text_of(browser.get(page_url(switched_off))))

    assert "Google switched “Acme” off at " in text
    assert "The last delivery that was accepted came at " in text
    assert "413 <code>body_too_large</code>" in text
    assert "Raise MAX_BODY_BYTES." in text
    assert "Too large." in text
    assert text.count('value="Take up again"') == 1
    [link] = re.findall(r'href="([^"]*endpoint_slug__exact[^"]*)"', text)
    listed = text_of(browser.get(link))
    assert page_url(refused) in listed
    assert "Of somebody else." not in listed
    text = unescape(text_of(logged_in(viewer).get(page_url(switched_off))))
    assert "Raise MAX_BODY_BYTES." in text
    assert "Take up again" not in text


def test_refusals_are_quoted_to_those_who_may_see_them(switched_off, viewer):
    registration.sync()
    rows.rejection(endpoint_slug="acme", diagnosis="Quoted.")
    assert "Quoted." in text_of(logged_in(viewer).get(page_url(switched_off)))

    viewer.user_permissions.remove(*viewer.user_permissions.filter(codename__endswith="request"))

    text = text_of(logged_in(viewer).get(page_url(switched_off)))
    assert "Quoted." not in text
    assert "timestamp_out_of_tolerance" in text


def test_page_says_that_nothing_was_refused(switched_off, browser):
    registration.sync()

    text = text_of(browser.get(page_url(switched_off)))

    assert "This site recorded no refusal" in text
    assert "No delivery was accepted here before." in text


def test_endpoint_that_google_does_not_have_says_so(google, browser):
    google.emulator.faults.drop_answer(method="POST", path_contains="webhooks", times=9)
    google.emulator.faults.fail_next(method="GET", status=503, times=9)
    asked = {
        "slug": "acme",
        "subscribed_events": ["batch.succeeded"],
        "api_key_name": "default",
        "_confirm": "1",
    }

    text = unescape(text_of(browser.post(add_url(WebhookEndpoint), asked)))

    assert "the endpoint “acme” stays here, disabled: delete it" in text
    google.emulator.faults.clear()
    left = WebhookEndpoint.objects.get()
    assert "is not registered at Google" in text_of(browser.get(page_url(left)))
    browser.post(delete_url(left))
    assert not list(google.emulator.webhooks)
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("name", ["enable", "disable", "edit", "delete"])
def test_database_that_fails_after_google_agreed_is_no_server_error(endpoint, browser, name):
    def run(execute, sql, *rest):
        if sql.startswith(("UPDATE", "DELETE")) and "webhookendpoint" in sql.partition("WHERE")[0]:
            raise OperationalError("row was (payload)")
        return execute(sql, *rest)

    values = {"name": "New", "uri": endpoint.uri, "subscribed_events": ["batch.failed"]}
    with connection.execute_wrapper(run):
        answer = browser.post(url(name, endpoint), values, follow=True)

    text = unescape(text_of(answer))
    assert "could not be written down here (OperationalError): do the same again." in text
    assert "payload" not in text
    assert history() == []
